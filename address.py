"""Write the course's address and version, which pyproject.toml holds, wherever else they stand: ``make address``.

A fork changes ``project.urls.Homepage`` in pyproject.toml, calls ``make address`` and commits what has changed. Nothing
is executed: in notebooks only the line of the Colab cell changes. Needs no package.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# Who holds the address as text, because nothing that runs could read it from pyproject.toml there.
PATTERNS = ("README.md", "CITATION.cff", "docs/*.md", "notebooks/**/*.py", "notebooks/**/*.ipynb")


def project():
    """Return the table "project" of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def home():
    """Return the course's address, for instance https://github.com/OWNER/NAME."""
    return project()["urls"]["Homepage"].rstrip("/")


def repository():
    """Return the address without its host: "OWNER/NAME"."""
    return home().removeprefix("https://github.com/")


def tag():
    """Return the tag of this version, which the Colab cells and a released folder install."""
    return f"v{project()['version']}"


def holders():
    """List the files that hold the address."""
    paths = {path for pattern in PATTERNS for path in ROOT.glob(pattern)}
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))


def known():
    """Return "OWNER/NAME" as the files hold it at present."""
    found = re.search(r"^repository-code: https://github\.com/(\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    return found[1].rstrip("/")


def rewrite(text, old, new, version):
    """Return a text with one "OWNER/NAME" in place of another, and the version in what Colab opens and installs."""
    for before, after in ((old, new), (site(old), site(new))):
        text = re.sub(rf"(?<![\w.-]){re.escape(before)}(?![\w-])", after, text)
    here, name = re.escape(new), new.split("/")[1]
    text = re.sub(rf"(git clone https://github\.com/{here} && cd )[\w.-]+", rf"\g<1>{name}", text)
    text = re.sub(rf"(git\+https://github\.com/{here})(?:@[\w.+-]+)?", rf"\1@{version}", text)
    return re.sub(rf"(/github/{here}/blob/)[^/]+", rf"\g<1>{version}", text)  # what Colab opens


def site(repository):
    """Return where GitHub publishes the website of "OWNER/NAME"."""
    owner, name = repository.split("/")
    return f"{owner}.github.io/{name}"


def main():
    """Bring every file up to date, CITATION.cff last: it tells which address the others still hold."""
    old, new = known(), repository()
    for path in sorted(holders(), key=lambda path: path.name == "CITATION.cff"):
        text = path.read_text(encoding="utf-8")
        if (changed := rewrite(text, old, new, tag())) != text:
            path.write_text(changed, encoding="utf-8", newline="\n")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
