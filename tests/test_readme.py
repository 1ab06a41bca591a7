"""README and the pages of the site say what the results files say, and name all that there is."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from tests import notebook_rules as rules

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
GUIDES = [page for page in PAGES if page != "docs/contributing.md"] + [".github/CONTRIBUTING.md"]


@pytest.fixture
def readme(benchmarks):
    """The generator of the tables."""
    import readme

    return readme


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_what_the_results_give(readme, page):
    text = read(page)
    assert readme.fill(text, "../" * page.count("/")) == text, "python benchmarks/readme.py writes them anew"
    assert (page in readme.PAGES) == ("written by benchmarks/readme.py" in text)


def test_a_table_without_an_end_or_of_an_unknown_name_is_refused(readme):
    with pytest.raises(ValueError, match="end of lessons"):
        readme.fill("<!-- lessons: written by benchmarks/readme.py -->\ntext", "")
    with pytest.raises(ValueError, match="got meals"):
        readme.fill("<!-- meals: written by benchmarks/readme.py -->\n<!-- end of meals -->", "")


def test_every_lesson_is_listed(readme):
    assert sorted(readme.LESSONS) == sorted(path.stem for path in (ROOT / "notebooks/source").glob("[0-9]*.py"))


def test_every_measurement_is_in_a_table_or_a_recommendation():
    told = set(re.findall(r"`(\w+)\.json`", read("docs/measured.md") + read("docs/recommendations.md")))
    measured = {path.stem for path in (ROOT / "benchmarks/results").glob("*.json")}
    assert measured - told == {"lessons"}  # these are the column "runs in"


def test_the_readme_fits_a_reader_in_a_hurry():
    lines = read("README.md").splitlines()
    assert len(lines) < 120
    assert lines.index("## Lessons") < 40, "what it is, a picture and the commands come first, on one screen"
    assert "uv run jupyter lab notebooks/00_start_here.ipynb" in read("README.md")


def test_the_minutes_span_those_of_the_lessons():
    table = read("notebooks/source/00_start_here.py")
    minutes = [int(number) for number in re.findall(r"^# \| \[\d\d .*\| (\d+) \|$", table, re.MULTILINE)]
    assert len(minutes) == 15
    assert f"take {min(minutes)} to {max(minutes)} minutes a lesson" in read("README.md")


def test_the_layout_names_every_folder():
    tree = re.search(r"## Layout\n\n```\n(.*?)```", read("README.md"), re.DOTALL)[1]
    assert len(tree.splitlines()) <= 12
    rooms = {path.parent.name for path in (ROOT / "densenet_course").glob("*/__init__.py")} | {"assets"}
    top = {"notebooks", "notebooks/source", "densenet_course", "benchmarks", "docs", "figures", "tests"}
    assert set(re.findall(r"(?:^|  )([\w/]+)/ ", tree, re.MULTILINE)) == rooms | top


@pytest.mark.parametrize("page", GUIDES)
def test_commands_of_the_guides_exist(page):
    makefile = read("Makefile")
    text = read(page)
    for target in re.findall(r"(?<!\w)make ([a-z-]+)", text):
        if f"`make {target}" in text or f"\nmake {target}" in text:
            assert re.search(rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:", makefile, re.MULTILINE), f"make {target}"
    for path in re.findall(r"(?<![\w/.])((?:benchmarks|tests|notebooks|densenet_course|figures)/[\w/.-]+\w)", text):
        if not re.search(r"ID|NN|NAME", path):
            assert (ROOT / path).exists() or list(ROOT.glob(f"{path}*")), f"{page} names {path}"


def test_the_instructors_page_has_the_graders_numbers_and_names():
    from densenet_course.checks import EXERCISES
    from densenet_course.grading.judging import MORE
    from densenet_course.grading.reports.adjustments import COLUMNS
    from densenet_course.grading.sandbox import Limits

    text = " ".join(read("docs/instructors.md").split())
    *most, last = sorted(EXERCISES.index(name) + 1 for name in MORE)
    (longer,) = {f"{limits['exercise_seconds']:g}" for limits in MORE.values()}
    assert f"stopped after {Limits().exercise_seconds:g} seconds" in text
    assert f"one of the exercises {', '.join(map(str, most))} and {last} after {longer}" in text
    assert f"at most {Limits().memory / 1e9:g} GB" in text and f" {','.join(COLUMNS)} " in text


@pytest.mark.parametrize("page", GUIDES)
def test_links_lead_somewhere(page):
    assert rules.broken_links(read(page), (ROOT / page).parent) == []
    assert rules.broken_links("[x](gone.md)", ROOT) == ["gone.md does not exist"]


def test_the_website_is_published_from_main_only():
    workflow = yaml.safe_load(read(".github/workflows/pages.yml"))
    jobs, events = workflow["jobs"], workflow[True]  # YAML reads the key "on" as true
    assert "pull_request" in events and events["push"]["branches"] == ["main"]
    assert "make site" in [step.get("run") for step in jobs["build"]["steps"]]
    assert jobs["deploy"]["if"] == "github.event_name != 'pull_request'"
    assert workflow["permissions"] == {"contents": "read"}, "only the job that publishes may write"


def test_the_api_page_lists_what_the_lessons_import():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks/source").rglob("*.py")]
    imported = {name for text in texts for name in modules_of(text)}
    listed = set(re.findall(r"^   (densenet_course\.[\w.]+)$", read("docs/api.md"), re.MULTILINE))
    assert imported - listed == {"densenet_course.checks.exercises.capstone"}  # its judge is no library
    assert len(listed) > 20


def modules_of(text):
    """Yield the modules of this package that a text imports, or imports from."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("densenet_course"):
            for name in node.names:
                path = ROOT / f"{node.module}.{name.name}".replace(".", "/")
                is_module = path.with_suffix(".py").exists() or path.is_dir()
                yield f"{node.module}.{name.name}" if is_module else node.module
