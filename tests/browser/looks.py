"""Look at a page in a browser: what is wrong with it, kind by kind."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urldefrag

from axe_playwright_python.sync_playwright import Axe

PATIENCE = 400_000  # ms; a busy machine is not at fault
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

LINKS = "[...document.querySelectorAll('a[href], img[src]')].map(e => e.href || e.src)"
NAMES = "[...document.querySelectorAll('[id], [name]')].map(e => e.id || e.name)"
# Of the page's text; the buttons above it have words beside their logos.
PICTURES = """[...document.querySelectorAll('main img')].filter(e => !e.closest('.bd-header-article'))
  .map(e => [e.getAttribute('src').slice(0, 60), e.alt])"""
CODE = "[...document.querySelectorAll('.cell_input pre')].map(e => e.textContent.trim())"
# Of each fold that hides an answer or a help: its class, and whether something behind its first line can be seen.
FOLDS = """[...document.querySelectorAll('main details')].map(e => [e.className,
  [...e.children].slice(1).some(child => child.checkVisibility({contentVisibilityAuto: true}))])"""
# What sticks out to the right, and stands in no box that scrolls by itself.
WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [`the page is ${document.documentElement.scrollWidth} px wide`,
          ...[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > width + 1)
             .slice(0, 3).map(e => e.outerHTML.slice(0, 80))];
}"""


@dataclass
class Look:
    """What a browser found on one page."""

    errors: list = field(default_factory=list)  # of the console, of scripts, and requests that failed
    outside: list = field(default_factory=list)  # what was asked of another server
    links: list = field(default_factory=list)
    names: list = field(default_factory=list)  # what a link may point to
    pictures: list = field(default_factory=list)  # (address, alt text)
    text: str = ""  # what a reader sees, the folds closed
    code: list = field(default_factory=list)  # of a notebook's cells
    folds: list = field(default_factory=list)  # (class, is its content seen?)
    wide: list = field(default_factory=list)  # what scrolls sideways on a phone
    rules: dict = field(default_factory=dict)  # axe's rules that are broken, and where


def open_page(browser, **options):
    """Open an empty page that waits for a busy machine; the options are Playwright's."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE)
    return page


def look(browser, url, *, colours="light", everything=True):
    """Open a page and look at it.

    Args:
        browser: of Playwright.
        url: of the page.
        colours: "light" or "dark", what the reader's system asks for.
        everything: hold formulas and coloured code against axe's rules, too; they take most of its time.

    Returns:
        A ``Look``.
    """
    found = Look()
    page = open_page(browser, viewport=DESK, color_scheme=colours)
    page.on("console", lambda said: said.type == "error" and found.errors.append(f"{said.text} {said.location['url']}"))
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("requestfailed", lambda request: found.errors.append(f"no answer from {request.url}"))
    page.on("request", lambda request: is_outside(request.url) and found.outside.append(request.url))
    page.goto(url, wait_until="load")
    page.wait_for_function("() => !window.MathJax || !MathJax.startup || !MathJax.startup.promise || "
                           "MathJax.startup.promise.then(() => true)")
    found.links, found.names, found.pictures = page.evaluate(LINKS), page.evaluate(NAMES), page.evaluate(PICTURES)
    found.text, found.code, found.folds = page.inner_text("main"), page.evaluate(CODE), page.evaluate(FOLDS)
    found.rules = broken_rules(page, [] if everything else [".highlight", "mjx-container"])
    page.set_viewport_size(PHONE)
    found.wide = page.evaluate(WIDE)
    page.close()
    return found


def is_outside(url):
    """Say whether an address leaves this machine."""
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


def broken_rules(page, but=()):
    """Return axe's rules that a page breaks, each with the first places; ``but`` names what is left out."""
    # Preloading would ask for imported style sheets again, at addresses of its own.
    options = {"resultTypes": ["violations"], "preload": False}
    result = Axe().run(page, {"include": [["html"]], "exclude": [[one] for one in but]}, options)
    return {rule["id"]: [node["html"][:100] for node in rule["nodes"][:3]] for rule in result.response["violations"]}


def broken_links(looks, folder, base):
    """List links within a site that lead nowhere.

    Args:
        looks: name of a page → ``Look``.
        folder: where the site's files lie.
        base: address of that folder.

    Returns:
        "page: link" for each.
    """
    broken = set()
    for name, found in looks.items():
        for link in found.links:
            address, fragment = urldefrag(link)
            if not address.startswith(base):
                continue
            target = unquote(address.removeprefix(base).partition("?")[0]) or "index.html"
            there = (folder / target).is_file()
            if not there or (fragment and target in looks and unquote(fragment) not in looks[target].names):
                broken.add(f"{name}: {link.removeprefix(base)}")
    return sorted(broken)
