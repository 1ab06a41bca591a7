"""The lessons keep to the rules of the house; every rule is tried on a notebook that breaks it."""

import inspect
import re
from pathlib import Path

import pytest
from nbformat import v4

from densenet_course import layers, models
from densenet_course.studies import descendants, relatives
from notebooks.fold import fold, folding
from tests import notebook_rules as rules

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
LESSONS = sorted(path.stem for path in FOLDER.glob("[0-9]*.ipynb"))
TEXTS = sorted(path.stem for path in (FOLDER / "source").glob("[0-9]*.py"))

# Compared cells, at least: nbval passes a cell that lost its tag, so only this notices. Raise, never lower.
COMPARED = {
    "00_start_here": 7,
    "01_why_dense_connections": 12,
    "02_conv_block": 14,
    "03_dense_block": 12,
    "04_transition": 16,
    "05_bottleneck": 14,
    "06_small_densenet": 16,
    "07_train_fashion_mnist": 6,
    "08_densenet121": 21,
    "09_memory_and_speed": 20,
    "10_what_the_layers_learn": 14,
    "11_transfer_learning": 9,
    "12_relatives": 18,
    "13_keras": 17,
    "14_capstone": 14,
}
# Asserts, at least, all of them out of the learner's sight. Raise, never lower.
ASSERTS = {
    "00_start_here": 4,
    "01_why_dense_connections": 13,
    "02_conv_block": 9,
    "03_dense_block": 0,
    "04_transition": 1,
    "05_bottleneck": 0,
    "06_small_densenet": 2,
    "07_train_fashion_mnist": 7,
    "08_densenet121": 0,
    "09_memory_and_speed": 4,
    "10_what_the_layers_learn": 27,
    "11_transfer_learning": 29,
    "12_relatives": 7,
    "13_keras": 7,
    "14_capstone": 8,
}
RULES = [rules.execution, rules.predictions, rules.folds, rules.out_of_sight, rules.compared_outputs, rules.magics,
         rules.pictures, rules.private_paths]
# What a lesson builds in the open, and the package holds too.
BUILT = {
    "02_conv_block": "conv_block",
    "03_dense_block": "DenseBlock",
    "04_transition": "transition",
    "05_bottleneck": "BottleneckLayer",
    "08_densenet121": "DenseNet",
}

each_lesson = pytest.mark.parametrize("lesson", LESSONS)


def notebook_of(lesson):
    return rules.read(FOLDER / f"{lesson}.ipynb")


def test_every_text_has_its_notebook_and_every_notebook_its_text():
    assert LESSONS == TEXTS
    assert set(LESSONS) == set(COMPARED) == set(ASSERTS)


@each_lesson
def test_text_and_notebook_agree(lesson):
    problems = rules.differences(notebook_of(lesson), rules.read(FOLDER / "source" / f"{lesson}.py"))
    assert problems == []


@each_lesson
@pytest.mark.parametrize("rule", RULES)
def test_lesson_keeps_the_rule(lesson, rule):
    problems = rule(notebook_of(lesson))
    assert problems == []


@each_lesson
def test_enough_cells_are_compared(lesson):
    assert len(rules.compared_cells(notebook_of(lesson))) >= COMPARED[lesson]


@each_lesson
def test_no_assert_is_lost(lesson):
    cells = rules.cells_of(notebook_of(lesson), "code")
    assert sum(rules.asserts(cell.source) for _, cell in cells) >= ASSERTS[lesson]


def test_first_lesson_lists_every_lesson_with_its_minutes():
    text = (FOLDER / "source" / "00_start_here.py").read_text(encoding="utf-8")
    rows = re.findall(r"^# \| \[(\d\d) [^\]]+\]\((\w+)\.ipynb\) \| .+ \| (\d+) \|$", text, flags=re.MULTILINE)
    minutes = []
    for lesson in TEXTS:
        opening = rules.read(FOLDER / "source" / f"{lesson}.py").cells[0].source
        minutes.append(re.search(r"(\d+)\s+minutes", opening).group(1))
    assert rows == [(lesson[:2], lesson, told) for lesson, told in zip(TEXTS, minutes, strict=True)]


@pytest.mark.parametrize("lesson", TEXTS)
def test_lines_fit_the_page(lesson):
    problems = rules.long_lines((FOLDER / "source" / f"{lesson}.py").read_text(encoding="utf-8"))
    assert problems == []


@pytest.mark.parametrize("lesson", TEXTS)
def test_a_lesson_reads_nothing_that_only_a_clone_has(lesson):
    """On Colab, in a released folder and beside the installed package there is no ``../benchmarks``."""
    text = (FOLDER / "source" / f"{lesson}.py").read_text(encoding="utf-8")
    assert "benchmarks/results" not in text, "results.read gives it anywhere"


@each_lesson
def test_alt_texts_reach_the_rendered_page(lesson):
    from nbconvert import HTMLExporter

    book = notebook_of(lesson)
    page, _ = HTMLExporter(template_name="lab").from_notebook_node(book)
    shown = [rules.attribute(tag, "alt") for tag in rules.IMAGE.findall(page)]
    stored = [output.data["text/plain"] for _, cell in rules.cells_of(book, "code") for output in cell.outputs
              if "<img" in output.get("data", {}).get("text/html", "")]
    assert set(stored) <= set(shown) and all(shown)
    assert "No description has been provided" not in page


@each_lesson
def test_links_lead_somewhere(lesson):
    problems = rules.links(notebook_of(lesson), FOLDER)
    assert problems == []


@each_lesson
def test_lesson_has_the_parts_of_the_house(lesson):
    problems = rules.house_parts(notebook_of(lesson), lesson[:2])
    assert problems == []


@pytest.mark.parametrize("lesson", TEXTS)
def test_lesson_and_package_hold_the_same_code(lesson):
    package = {}
    for module in (layers, models, relatives, descendants):
        package |= rules.definitions(inspect.getsource(module))
    built = rules.definitions((FOLDER / "source" / f"{lesson}.py").read_text(encoding="utf-8"))
    assert built.get(BUILT.get(lesson)) is not None or lesson not in BUILT
    assert {name: code for name, code in built.items() if name in package and code != package[name]} == {}


def book(*cells):
    return v4.new_notebook(cells=list(cells))


def code(source="1", *, tags=(), count=1, **output):
    outputs = [v4.new_output(**output)] if output else []
    if outputs and "hide-output" in tags:
        outputs.insert(0, BLANK)
    metadata = {"tags": list(tags)} | folding(tags)
    return v4.new_code_cell(source, metadata=metadata, execution_count=count, outputs=outputs)


TEXT = {"output_type": "stream", "name": "stdout", "text": "1"}
ERROR = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
BLANK = v4.new_output("display_data")
ALT = "Two bars, the left one twice as high."
ASK, READ = v4.new_markdown_cell("**Predict** the sum."), v4.new_markdown_cell("It is 1.")


def picture(tag=f'<img alt="{ALT}" width="640" src="data:image/png;base64,AA==">', plain=ALT):
    return code(output_type="display_data", data={"text/html": tag, "text/plain": plain})


def hidden(source="1", **options):
    return code(source, tags=["hide-output"], **options)


def removed(source, **output):
    return code(source, tags=["remove-cell"], **output)


def without_blank(cell):
    del cell.outputs[0]
    return cell


def other_fold(cell, **metadata):
    cell.metadata.update(metadata)
    return cell


@pytest.mark.parametrize(
    ("rule", "cells"),
    [
        (rules.execution, [code(count=None)]),
        (rules.execution, [code(count=2)]),
        (rules.execution, [code(**ERROR)]),
        (rules.execution, [code(tags=["raises-exception"])]),
        (rules.predictions, [ASK, code()]),
        (rules.predictions, [ASK, hidden(), code()]),
        (rules.predictions, [v4.new_markdown_cell("**Guess** the sum."), code()]),
        (rules.predictions, [READ, hidden()]),
        (rules.predictions, [ASK, READ, hidden()]),
        (rules.predictions, [ASK, removed("assert 1"), hidden(), hidden(), READ, ASK]),
        (rules.folds, [other_fold(code(), collapsed=True)]),
        (rules.folds, [other_fold(hidden(), jupyter={"outputs_hidden": False})]),
        (rules.folds, [other_fold(code("assert 1"), tags=["remove-cell"])]),
        (rules.folds, [without_blank(hidden(**TEXT))]),
        (rules.folds, [code(output_type="display_data")]),
        (rules.out_of_sight, [code("assert 1 == 1")]),
        (rules.out_of_sight, [code("for i in range(2):\n    assert i < 2")]),
        (rules.out_of_sight, [code('"google.colab" in sys.modules')]),
        (rules.out_of_sight, [removed("1")]),
        (rules.out_of_sight, [removed("assert 1", **TEXT)]),
        (rules.compared_outputs, [code(tags=[rules.CHECKED])]),
        (rules.compared_outputs, [code(tags=[rules.CHECKED, "hide-output"])]),
        (rules.compared_outputs, [code(tags=[rules.CHECKED], **dict(TEXT, name="stderr"))]),
        (rules.compared_outputs, [code(tags=[rules.CHECKED], output_type="display_data", data={"text/html": ""})]),
        (rules.magics, [code("%no_such_magic 1")]),
        (rules.magics, [code("for i in range(2):\n    %matplotlib inline")]),
        (rules.magics, [code("%%bash\nls")]),
        (rules.magics, [code("!ls")]),
        (rules.magics, [code("files = !ls")]),
        (rules.pictures, [code(output_type="display_data", data={"image/png": "AA==", "text/plain": ALT})]),
        (rules.pictures, [picture('<img width="640" src="data:image/png;base64,AA==">')]),
        (rules.pictures, [picture(f'<img alt="{ALT}" width="641">')]),
        (rules.pictures, [picture(f'<img alt="{ALT}">')]),
        (rules.pictures, [picture(plain="<Picture object>")]),
        (rules.pictures, [v4.new_markdown_cell("![](a.svg)")]),
        (rules.pictures, [v4.new_markdown_cell('<img src="a.svg">')]),
        (rules.private_paths, [code("open('/tmp/x')")]),
        (rules.private_paths, [code(**dict(TEXT, text="/home/me/course"))]),
        (rules.private_paths, [code(**dict(ERROR, traceback=["File /work/x.py"]))]),
        (rules.private_paths, [code(output_type="execute_result", data={"text/plain": "'C:\\\\Users\\\\me'"})]),
        (rules.private_paths, [picture('<img alt="/tmp/a.png">')]),
    ],
)
def test_a_rule_notices_what_breaks_it(rule, cells):
    assert rule(book(*cells))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_passes_what_keeps_it(rule):
    text = v4.new_markdown_cell("![bars](a.svg) 100 % of /usr/share")
    setup, check = removed("import sys\n'google.colab' in sys.modules"), removed("assert True")
    answer, compared = hidden("%timeit 1 % 2", **TEXT), code(tags=[rules.CHECKED], **TEXT)
    cells = [setup, picture(), ASK, answer, check, READ, compared, text]
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
    assert not rule(book(*cells))


def test_lines_are_measured_and_tables_spared():
    assert rules.long_lines("x" * 88 + "\n# | " + "x" * 90) == []
    assert rules.long_lines("x\n" + "x" * 89) == ["line 2: 89 characters, expected at most 88"]


def test_folding_is_set_from_the_tags_and_taken_back():
    cell, other = code(**TEXT), hidden(**TEXT)
    cell.metadata.tags, other.metadata.tags = other.metadata.tags, cell.metadata.tags
    for _ in range(2):
        fold(book(cell, other))
        assert cell.metadata == {"tags": ["hide-output"], "collapsed": True, "jupyter": {"outputs_hidden": True}}
        assert other.metadata == {"tags": []}
        assert [len(cell.outputs), len(other.outputs)] == [2, 1] and not cell.outputs[0].data


def test_rules_on_whole_notebooks_notice_what_breaks_them(tmp_path):
    one, other, tagged = code("1"), code("2"), code("1", tags=["x"])
    assert all(rules.differences(book(one), book(*cells)) for cells in ([other], [tagged], [one, other]))
    assert not rules.differences(book(one), book(code("1", count=7)))
    assert rules.links(book(v4.new_markdown_cell("[next](09_gone.ipynb)")), tmp_path)
    assert rules.links(book(v4.new_markdown_cell("![a](<gone.svg>)")), tmp_path)
    assert not rules.links(book(v4.new_markdown_cell("[a](https://example.org/x) [b](#here) [c](.#there)")), tmp_path)
    assert len(rules.house_parts(book(v4.new_markdown_cell("# 02 title")), "01")) == 3
    assert not rules.house_parts(book(v4.new_markdown_cell("# 01 · a\n## Your turn\n## Recap")), "01")
    untagged, unrun, silent = code(**TEXT), code(count=None, tags=[rules.CHECKED], **TEXT), code(tags=[rules.CHECKED])
    assert rules.compared_cells(book(untagged, unrun, silent, code(tags=[rules.CHECKED], **TEXT))) == [3]


def test_definitions_differ_by_code_only():
    plain = rules.definitions("def f(x):\n    return x + 1")
    assert rules.definitions('def f(x):  # why\n    """Add one."""\n    return x + 1') == plain
    assert rules.definitions("def f(x):\n    return x + 2") != plain
    assert rules.definitions("def f(x=0):\n    return x + 1") != plain
