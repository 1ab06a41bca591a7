"""The website in a real browser: every page is looked at once, and every look is tried on a page that fails it."""

import json

import pytest
from looks import broken_links, look, open_page

FIRST, LESSON, EXERCISE, TABLES = (
    "index.html", "notebooks/03_dense_block.html", "notebooks/exercises/03_dense_block.html", "measured.html",
)


@pytest.fixture(scope="module")
def base(site, serve):
    return serve(site)


@pytest.fixture(scope="module")
def looks(browser, site, base):
    """What a browser finds on every page."""
    pages = [path.relative_to(site).as_posix() for path in site.rglob("*.html")]
    # Code and formulas look alike on all pages: one lesson stands for them.
    return {name: look(browser, base + name, everything=name in (FIRST, LESSON, TABLES))
            for name in sorted(pages) if not name.startswith("_static/")}


def wrong(looks, kind):
    """Return what one kind of look found, page by page."""
    return {name: found for name, one in looks.items() if (found := getattr(one, kind))}


def books(kind, site):
    """Yield (page of the site, stored notebook) of all lessons or all exercises."""
    for path in sorted((site.parent / "notebooks" / kind).glob("[0-9]*.ipynb")):
        page = path.relative_to(site.parent).with_suffix(".html").as_posix()
        yield page, json.loads(path.read_text(encoding="utf-8"))


def tagged(book, tag):
    """Return a notebook's cells that carry a tag."""
    return [cell for cell in book["cells"] if tag in cell["metadata"].get("tags", ())]


def test_every_lesson_exercise_and_page_is_there(looks, site):
    expected = {page for kind in ("", "exercises") for page, _ in books(kind, site)}
    expected |= {f"{path.stem}.html" for path in (site.parent / "docs").glob("*.md")} | {"search.html"}
    assert len(expected) > 35
    assert expected - set(looks) == set()
    assert not [name for name in looks if "solutions" in name]


def test_no_page_reports_an_error(looks):
    assert wrong(looks, "errors") == {}


def test_no_page_asks_another_server(looks):
    assert wrong(looks, "outside") == {}


def test_every_link_within_the_site_leads_somewhere(looks, site, base):
    assert sum(len(one.links) for one in looks.values()) > 1000
    assert broken_links(looks, site, base) == []


def test_every_picture_says_what_it_shows(looks):
    assert sum(len(one.pictures) for one in looks.values()) > 50
    silent = {name: [source for source, alt in one.pictures if len(alt) < 20] for name, one in looks.items()}
    assert {name: found for name, found in silent.items() if found} == {}


def test_no_page_scrolls_sideways_on_a_phone(looks):
    assert wrong(looks, "wide") == {}


def test_no_page_breaks_a_rule_of_accessibility(looks):
    assert wrong(looks, "rules") == {}


@pytest.mark.parametrize("name", [FIRST, LESSON, EXERCISE, TABLES])
def test_dark_colours_break_no_rule_either(browser, base, name):
    assert look(browser, base + name, colours="dark").rules == {}


def test_answers_are_hidden_until_asked_for(browser, looks, site, base):
    answers = {name: [seen for kind, seen in looks[name].folds if "hide" in kind] for name, _ in books("", site)}
    stored = {name: len(tagged(book, "hide-output")) for name, book in books("", site)}
    assert {name: len(folds) for name, folds in answers.items()} == stored
    assert not [name for name, folds in answers.items() if any(folds)]
    assert sum(stored.values()) > 75  # about eight predictions a lesson
    page = open_page(browser)
    page.goto(base + LESSON)
    answer = page.locator("details.hide").first
    assert answer.locator("summary").inner_text().strip() == "Show the answer"
    answer.locator("summary").click()
    assert answer.locator(".output").first.is_visible()
    page.close()


@pytest.mark.parametrize("kind", ["", "exercises"])
def test_the_colab_cell_is_absent_and_asserts_with_it(looks, site, kind):
    for name, book in books(kind, site):
        assert tagged(book, "remove-cell"), name
        left_out = tagged(book, "remove-cell")
        shown = [cell for cell in book["cells"] if cell["cell_type"] == "code" and cell not in left_out]
        assert looks[name].code == ["".join(cell["source"]).strip() for cell in shown], name
        assert "google.colab" not in looks[name].text, name


def test_exercises_show_task_stub_and_help_but_no_solution(looks, site):
    for name, _ in books("exercises", site):
        found = looks[name]
        assert "Task." in found.text, name
        assert any("your code here" in cell for cell in found.code), name
        assert not any("SOLUTION" in cell for cell in found.code), name
        help_ = [seen for _, seen in found.folds]
        assert len(help_) >= 2, name
        assert not any(help_), name


def test_lessons_and_exercises_start_on_colab_and_binder(looks, site):
    for kind in ("", "exercises"):
        for name, _ in books(kind, site):
            path = name.replace(".html", ".ipynb")
            starts = [link for link in looks[name].links if "colab.research" in link or "mybinder" in link]
            assert len(starts) == 2, name
            assert all(path in link for link in starts), starts


@pytest.mark.parametrize(("words", "page"), [("bottleneck", "05_bottleneck"), ("growth rate", "03_dense_block"),
                                             ("DenseBlock", "densenet_course.layers")])
def test_search_finds(browser, base, words, page):
    tab = open_page(browser)
    tab.goto(f"{base}search.html?q={words.replace(' ', '+')}")
    tab.wait_for_function("() => document.querySelectorAll('ul.search li a').length > 3")
    found = [link.get_attribute("href") for link in tab.locator("ul.search li a").all()]
    assert any(page in link for link in found), found
    tab.close()


BAD = """<!doctype html><html lang="en"><head><title>bad</title><script>{script}</script></head>
<body><main><h1>Bad</h1>{body}</main></body></html>"""


@pytest.mark.parametrize(
    ("kind", "body", "script"),
    [
        ("errors", "", "console.error('no')"),
        ("errors", "", "throw new Error('no')"),
        ("errors", '<img alt="a picture that is not there" src="nowhere.png">', ""),
        ("outside", '<img alt="a picture from elsewhere" src="http://localhost:1/a.png">', ""),
        ("wide", '<p style="width: 900px">wide</p>', ""),
        ("rules", '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', ""),
        ("rules", '<p style="color: #bbb; background: #fff">pale</p>', ""),
    ],
)
def test_a_look_notices_what_is_wrong(browser, serve, tmp_path, kind, body, script):
    (tmp_path / "bad.html").write_text(BAD.format(body=body, script=script), encoding="utf-8")
    (tmp_path / "good.html").write_text(BAD.format(body="<p>good</p>", script=""), encoding="utf-8")
    base = serve(tmp_path)
    assert getattr(look(browser, base + "bad.html"), kind)
    assert not getattr(look(browser, base + "good.html"), kind)


def test_a_link_that_leads_nowhere_is_noticed(browser, serve, tmp_path):
    body = '<a href="gone.html">a</a> <a href="page.html#gone">b</a> <a href="page.html#here">c</a> <i id="here"></i>'
    (tmp_path / "page.html").write_text(BAD.format(body=body, script=""), encoding="utf-8")
    base = serve(tmp_path)
    looks = {"page.html": look(browser, base + "page.html")}
    assert broken_links(looks, tmp_path, base) == ["page.html: gone.html", "page.html: page.html#gone"]


def test_an_answer_that_shows_is_noticed(browser, serve, tmp_path):
    fold = '<details class="hide" {}><summary>Show</summary><div>42</div></details>'
    both = fold.format("open") + fold.format("")
    (tmp_path / "page.html").write_text(BAD.format(body=both, script=""), encoding="utf-8")
    assert look(browser, serve(tmp_path) + "page.html").folds == [["hide", True], ["hide", False]]
