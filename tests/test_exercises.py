"""The notebooks of the exercises: what their masters generate, with no solution left, whole and standing alone."""

import contextlib
import io
import json
import re
import sys
import tomllib

import nbformat
import pytest

from densenet_course import checks, cli
from densenet_course.checks.engine.report import number
from densenet_course.cli import masters as exercises
from densenet_course.cli import release
from densenet_course.cli.masters import MASTERS, SOLUTIONS, STUB, STUDENT, stem
from tests import notebook_rules as rules

each_exercise = pytest.mark.parametrize("exercise", checks.EXERCISES)
REGION = re.compile(r"^ *### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION", re.DOTALL | re.MULTILINE)
STUDENT_WORDS = 60


def master_of(exercise):
    return exercises.read_master(MASTERS / f"{stem(exercise)}.py")


def student_of(exercise):
    return rules.read(STUDENT / f"{stem(exercise)}.ipynb")


def solution_of(exercise):
    return rules.read(SOLUTIONS / f"{stem(exercise)}.ipynb")


def grading(cell):
    return cell.metadata.get("nbgrader", {})


def test_every_exercise_has_its_three_notebooks_and_no_other_is_there():
    stems = [stem(exercise) for exercise in checks.EXERCISES]
    for folder, ending in ((MASTERS, "py"), (STUDENT, "ipynb"), (SOLUTIONS, "ipynb")):
        assert sorted(path.stem for path in folder.glob(f"[0-9]*.{ending}")) == stems


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    exercises.generate(folder)
    return folder


@each_exercise
def test_the_student_notebook_is_what_the_master_generates(exercise, generated):
    name = f"{stem(exercise)}.ipynb"
    assert (STUDENT / name).read_text(encoding="utf-8") == (generated / name).read_text(encoding="utf-8")


@each_exercise
def test_the_solution_is_the_master_executed(exercise):
    solution = solution_of(exercise)
    assert rules.differences(solution, master_of(exercise)) == []
    assert [grading(cell) for cell in solution.cells] == [grading(cell) for cell in master_of(exercise).cells]
    for rule in (rules.execution, rules.compared_outputs, rules.magics, rules.pictures, rules.private_paths):
        assert rule(solution) == []
    assert not any(output.get("name") == "stderr" for _, cell in rules.cells_of(solution, "code")
                   for output in cell.outputs)


@each_exercise
def test_no_solution_is_left(exercise):
    text = (STUDENT / f"{stem(exercise)}.ipynb").read_text(encoding="utf-8")
    sources = [cell.source for _, cell in rules.cells_of(master_of(exercise), "code")]
    regions = [match for source in sources for match in REGION.findall(source)]
    assert regions
    assert "SOLUTION" not in text
    student = "\n".join(cell.source for cell in student_of(exercise).cells)
    given = REGION.sub("", "\n".join(cell.source for cell in master_of(exercise).cells))
    for line in "\n".join(regions).splitlines():
        if len(line.strip()) > 12 and line not in given:  # `return x` may stand in what is handed out as well
            assert line not in student
    assert student.count(STUB) == len(regions)
    assert not any(cell.outputs or cell.execution_count for _, cell in rules.cells_of(student_of(exercise), "code"))


@each_exercise
def test_the_metadata_is_nbgraders(exercise):
    cells = [cell for cell in student_of(exercise).cells if grading(cell)]
    names = [grading(cell)["grade_id"] for cell in cells]
    assert len(set(names)) == len(names)
    assert all(name.startswith(f"{exercise}-") for name in names)
    scores = [cell for cell in cells if grading(cell)["grade"]]
    assert [grading(cell)["grade_id"] for cell in scores] == [f"{exercise}-score"]
    assert sum(grading(cell)["points"] for cell in scores) == checks.load(exercise).max_points
    wanted = ", ".join([f'"{exercise}"', *checks.load(exercise).names])
    assert [re.sub(r"\s+", " ", cell.source).replace("( ", "(").replace(", )", ")") for cell in scores] == [
        f"finish({wanted})"
    ]
    for cell in cells:
        locked = grading(cell)["locked"]
        assert locked != grading(cell)["solution"]
        assert (STUB in cell.source) == grading(cell)["solution"]
        assert cell.metadata.get("editable", True) == (not locked)
        assert grading(cell)["checksum"]


@each_exercise
def test_the_notebook_has_its_parts(exercise):
    texts = [cell.source for _, cell in rules.cells_of(student_of(exercise), "markdown")]
    place = checks.EXERCISES.index(exercise) + 1
    title = texts[0].splitlines()[0]
    assert title == f"# Exercise {place} · {checks.load(exercise).title}"
    points = number(checks.load(exercise).max_points)
    assert re.search(rf"\*(Easy|Medium|Hard) · \d+ minutes · after .* · {points} points\*", texts[0])
    task = texts[0].partition("**Task.**")[2]
    words = len(re.findall(r"\w+", re.sub(r"`[^`]*`", "code", task)))
    assert 10 <= words <= STUDENT_WORDS + 35  # what is judged, own work included, is said: a clause each
    whole = "\n".join(texts)
    for part in ("## Example", "## Your answer", "## To think about", "## Score"):
        assert part in whole
    for hint in ("A nudge", "A hint", "Where to look"):
        assert whole.count(f"<details><summary>{hint}</summary>") == 1
    assert whole.count("</details>") == 3
    assert rules.links(student_of(exercise), STUDENT) == []


def test_the_lessons_give_the_exercises_their_difficulty_and_minutes():
    mentioned = set()
    for path in (STUDENT.parent / "source").glob("[0-9]*.py"):
        text = path.read_text(encoding="utf-8").replace("\n#", "")
        for name, level, minutes in re.findall(r"\]\(exercises/\d\d_(\w+)\.ipynb\), \*(\w+), (\d+) minutes", text):
            first = student_of(name).cells[0].source
            assert f"*{level.capitalize()} · {minutes} minutes" in first, (path.name, name)
            mentioned.add(name)
    assert {"connections", "densenet121", "bug_hunt"} <= mentioned


def execute(notebook):
    """Run a notebook's code in this process, as plain Python; return what it printed, and the last cell's value."""
    scope, printed, value = {"__name__": "__main__"}, io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        for _, cell in rules.cells_of(notebook, "code"):
            *_, last = cell.source.rstrip().splitlines()
            try:
                if last.startswith("finish("):
                    value = eval(cell.source, scope)
                else:
                    exec(compile(cell.source, "<cell>", "exec"), scope)
            except Exception:
                if rules.RAISES not in rules.tags_of(cell):
                    raise
    return printed.getvalue(), value


@each_exercise
def test_an_unsolved_notebook_runs_to_its_end(exercise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed, points = execute(student_of(exercise))
    assert points == 0
    assert printed.count("not attempted yet") >= 2
    assert not (tmp_path / "progress.json").exists()


@each_exercise
def test_the_stored_solution_has_full_points(exercise):
    last = rules.cells_of(solution_of(exercise), "code")[-1][1]
    (result,) = (o for o in last.outputs if o.output_type == "execute_result")
    assert float(result.data["text/plain"]) == checks.load(exercise).max_points
    assert any("All solved" in o.get("text", "") for o in last.outputs)


def test_the_release_holds_what_students_need_and_no_solution(tmp_path, capsys):
    assert cli.main(["release", str(tmp_path / "out"), "--exercise", "dense_block", "--exercise", "conv_block"]) == 0
    assert "2 exercises" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["02_conv_block.ipynb", "03_dense_block.ipynb", "README.md", "requirements.txt"]
    (tmp_path / "ordinary").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "ordinary").stat().st_mode  # others may read it, too
    book = nbformat.read(tmp_path / "out" / "02_conv_block.ipynb", as_version=4)
    assert [c.source for c in book.cells if c.cell_type == "code"] == [
        c.source for c in student_of("conv_block").cells if c.cell_type == "code"]
    assert rules.links(book, tmp_path / "out") == []
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| [The composite function](02_conv_block.ipynb) | easy, 10 minutes | 10 |" in page
    assert rules.broken_links(page, tmp_path / "out") == []
    assert (tmp_path / "out" / "requirements.txt").read_text() == f"{release.REQUIREMENT}\njupyterlab\n"


def test_what_is_handed_out_stays_what_it_was():
    project = tomllib.loads((exercises.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    home, tag = project["urls"]["Homepage"], f"v{project['version']}"
    assert f"densenet-course @ git+{home}@{tag}" == release.REQUIREMENT
    there = release.elsewhere("[03](../03_dense_block.ipynb) [x](#here)")
    assert there == f"[03]({home}/blob/{tag}/notebooks/03_dense_block.ipynb) [x](#here)"


def test_an_assignment_of_nbgraders_is_written_sheet_by_sheet(tmp_path, capsys):
    course = tmp_path / "course"
    sheet = ["release", "--nbgrader", str(course), "--exercise"]
    assert cli.main([*sheet, "transition", "--exercise", "conv_block"]) == 0
    assert "2 exercises" in capsys.readouterr().out
    folder = course / "source" / "densenet"
    assert {path.name for path in folder.iterdir()} == {"02_conv_block.ipynb", "04_transition.ipynb", "README.md",
                                                        "requirements.txt"}
    book = nbformat.read(folder / "02_conv_block.ipynb", as_version=4)
    assert [c.metadata for c in book.cells] == [c.metadata for c in master_of("conv_block").cells]
    assert "BEGIN SOLUTION" in nbformat.writes(book)
    assert rules.links(book, folder) == [] and "](../" not in nbformat.writes(book)
    config = course / "nbgrader_config.py"
    compile(config.read_text(encoding="utf-8"), "nbgrader_config.py", "exec")
    config.write_text("mine")
    assert cli.main([*sheet, "densenet", "--assignment", "week 2"]) == 0
    assert "nbgrader generate_assignment week 2 --create" in capsys.readouterr().out
    assert (course / "source" / "week 2" / "07_densenet.ipynb").exists() and config.read_text() == "mine"


@pytest.mark.parametrize(("options", "message"), [
    (["--nbgrader", "course"], "expected a new or empty folder"),
    (["--nbgrader", "course", "--assignment", "../x"], "expected letters, digits"),
    (["--nbgrader", "course", "--assignment", "b", "--exercise", "conv_blok"], "expected some of connections"),
    (["out", "--assignment", "b"], "expected --nbgrader COURSE with it"),
])
def test_an_assignment_that_cannot_be_is_refused(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course" / "source" / "densenet").mkdir(parents=True)
    (tmp_path / "course" / "source" / "densenet" / "mine.txt").touch()
    assert cli.main(["release", *options]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.txt"]


def test_the_masters_need_jupytext_and_say_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    assert cli.main(["release", "--nbgrader", str(tmp_path)]) == 1
    assert "python -m pip install jupytext nbgrader" in capsys.readouterr().err


@pytest.mark.parametrize(("path", "student", "file"), [
    ("/c/extracted/class/ada/03_dense_block.ipynb", "ada", "03_dense_block"),
    (r"C:\c\extracted\class\bob-2\14_bug_hunt.ipynb", "bob-2", "14_bug_hunt"),
    ("/c/extracted/class/Ada Lovelace_4711_assignsubmission_file_/08_densenet121.ipynb", "Ada Lovelace",
     "08_densenet121"),
    ("/c/extracted/class/lovelaceada_12_3456_03_dense_block.ipynb", "lovelaceada", "03_dense_block"),
    ("/c/extracted/class/lovelaceada_LATE_12_3456_03_dense_block-1.ipynb", "lovelaceada", "03_dense_block"),
    ("/c/extracted/class/ada/notes.ipynb", None, None),
])
def test_the_student_is_found_in_what_learning_platforms_write(path, student, file):
    from traitlets.config import Config

    config = Config()
    exec(release.CONFIG, {"get_config": lambda: config})
    found = re.match(config.FileNameCollectorPlugin.named_regexp, path)
    assert (found and found["student_id"]) == student and (found and found["file_id"]) == file


def test_the_release_refuses_what_it_cannot_do(tmp_path, capsys, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    assert cli.main(["release", str(tmp_path / "full")]) == 1
    assert "expected a new or empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert cli.main(["release", str(tmp_path / "new"), "--exercise", "conv_blok"]) == 1
    assert "expected some of connections" in capsys.readouterr().err
    monkeypatch.setattr(release, "STUDENT", tmp_path / "nowhere")
    assert cli.main(["release", str(tmp_path / "new")]) == 1
    assert "no 01_connections.ipynb in" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_kill_table_in_the_docs_is_what_the_tests_hold():
    from tests import kill_table

    assert kill_table.page() == kill_table.PAGE.read_text(encoding="utf-8")


def test_the_kill_table_notices_a_check_that_lets_go(monkeypatch, capsys):
    from tests import answers, kill_table

    tried = answers.Answers()
    tried.right_answers["a right one"] = {"conv_block": 3}
    tried.wrong_answers["a wrong one"] = (answers.load("conv_block").objects("a Sequential"), "nothing")
    monkeypatch.setattr(answers, "load", lambda name: tried)
    assert kill_table.main(["conv_block"]) == 1
    printed = capsys.readouterr().out
    assert "REFUSED   a right one" in printed
    assert "NOT NAMED  a wrong one" in printed


@pytest.mark.parametrize("exercise", ["conv_block"])
def test_a_leftover_solution_would_be_seen(exercise):
    master = master_of(exercise)
    source = next(cell.source for _, cell in rules.cells_of(master, "code") if "SOLUTION" in cell.source)
    (region,) = REGION.findall(source)
    assert "nn.BatchNorm2d(in_channels)," in region
    assert json.dumps(region) not in (STUDENT / f"{stem(exercise)}.ipynb").read_text(encoding="utf-8")


@each_exercise
def test_the_lesson_that_prepares_it_is_there_and_the_task_names_it(exercise):
    lesson = checks.load(exercise).lesson
    assert (STUDENT.parent / f"{lesson}.ipynb").exists()
    after = re.search(r"· after (.*?) · \d+ points", student_of(exercise).cells[0].source)[1]
    assert lesson[:2] in after
