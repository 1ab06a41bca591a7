"""What the ledger becomes: points as they are, students' text shown and never obeyed, each platform's own form."""

import csv
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import nbformat
import pytest

from densenet_course.grading.intake import HandedIn
from densenet_course.grading.people import Person
from densenet_course.grading.reports import classroom as rooms
from densenet_course.grading.reports import summary, words
from densenet_course.grading.reports.adjustments import read_adjustments
from densenet_course.grading.reports.similar import similar
from densenet_course.grading.reports.write import write
from densenet_course.grading.run import Wishes, grade
from densenet_course.grading.verdict import GRADED, Judged, Verdict
from tests import classroom
from tests.browser import chromium
from tests.classroom import DUE, POINTS, RELEASES

STUDENTS = 40


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A class of 40 judged by the real checks."""
    folder = tmp_path_factory.mktemp("course")
    classroom.make(folder / "submitted", STUDENTS)
    grade(folder / "submitted", folder / "grades", RELEASES, Wishes(
        due=DUE, isolated=False, worker="tests.stand_in:InThisProcess"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="nbgrader|sqlalchemy")  # an instructor would see them
        for export in ("gradescope", "moodle", "nbgrader"):
            write(folder / "grades", RELEASES, export)
    return folder


@pytest.fixture(scope="module")
def grades(course):
    return course / "grades"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def page_of(grades, name):
    return grades / "feedback" / words.file_name(name) / "index.html"


def test_everybody_gets_the_points_of_their_kind(grades):
    found = {row["student"]: (row["connections"], row["conv_block"], row["total"]) for row in
             rows(grades / "gradebook.csv")}
    for pupil in classroom.pupils(STUDENTS):
        first, second = POINTS[pupil.kind]
        assert found[words.cell(pupil.name)] == (f"{first:g}", f"{second:g}", f"{first + second:g}"), pupil


def test_the_gradebook_says_who_is_late_and_what_is_not_simply_graded(grades):
    by_kind = {pupil.kind: pupil.name for pupil in classroom.pupils(STUDENTS) if pupil.name.startswith("student")}
    found = {row["student"]: row for row in rows(grades / "gradebook.csv")}
    assert found[by_kind["late"]]["late"] == "connections: 9 h 30 min; conv_block: 9 h 30 min"
    assert found[by_kind["damaged"]]["status"] == "connections: unreadable"
    assert found[by_kind["one"]]["status"] == "conv_block: missing"
    assert {row["isolation"] for row in found.values()} == {"NOT ISOLATED"}


def test_no_cell_of_any_table_is_a_formula(grades):
    for path in [grades / "gradebook.csv", *(grades / "exports").glob("*.csv")]:
        with path.open(newline="", encoding="utf-8") as file:
            assert [cell for row in csv.reader(file) for cell in row if cell.startswith(words.FORMULA)] == []


@pytest.mark.parametrize("value, shown", [
    ("=1+1", "'=1+1"), ("+1", "'+1"), ("-x", "'-x"), ("@x", "'@x"), ("\t=1", "'⟨U+0009⟩=1"), ("\r=1", "'⟨U+000D⟩=1"),
    (" =1", "' =1"), ("＝1", "'＝1"), ("a=1", "a=1"), (-2.5, "-2.5"), (7.0, "7"), ("a\nb", "a⟨U+000A⟩b"),
    ("\u202ex", "⟨U+202E⟩x"), ("\u200b=x", "⟨U+200B⟩=x"), ("Žofie", "Žofie"),
])
def test_a_cell_is_shown_and_no_formula(value, shown):
    assert words.cell(value) == shown


@pytest.mark.parametrize("name", ["..", ".", "a/b", "A", "con", "nul.txt", "x" * 90, "", "a.", "=x", "\ud800"])
def test_an_odd_name_gets_a_folder_with_a_hash(name):
    folder = words.file_name(name)
    assert words.SAFE_NAME.fullmatch(folder) and folder != name
    assert words.file_name("jane.doe-7") == "jane.doe-7"


def test_two_names_never_share_a_folder():
    names = ["Jane", "jane", "JANE", "j ane", "jané", "j-ane", "=jane"]
    assert len({words.file_name(name).casefold() for name in names}) == len(names)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium.find()
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(chromium.MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*chromium.FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, grades):
    """Open a page without its own ban on scripts, so that only the escaping holds; return it and what it asked for."""
    pages = []

    def open_page(path, colours="light", width=1280):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours, bypass_csp=True)
        pages.append(page)
        page.set_default_timeout(0)  # a busy machine is not at fault
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        page.goto(path.as_uri())
        return page, asked

    yield open_page
    for page in pages:
        page.close()


def test_no_page_runs_what_students_write(grades, opened):
    raises = next(pupil.name for pupil in classroom.pupils(STUDENTS) if pupil.kind == "raises")
    for path, title in [(page_of(grades, classroom.NAMES[1]), "Feedback"), (page_of(grades, raises), "Feedback"),
                        (grades / "class.html", "Class report")]:
        page, asked = opened(path)
        assert page.title() == title and asked == [path.as_uri()]
        assert page.evaluate("document.querySelectorAll('script, img, iframe, [onerror]').length") == 0
    assert "<script>document.title" in page.inner_text("main")  # it is shown


def test_control_and_turning_characters_are_shown(grades):
    text = (grades / "class.html").read_text(encoding="utf-8")
    assert "⟨U+202E⟩gnp.exe" in text
    assert not [letter for letter in text if letter in "\x1b\u202e\u2066\x00"]


@pytest.mark.parametrize("colours, width", [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_pages_can_be_read_in_both_themes_and_on_a_phone(grades, opened, colours, width):
    from tests.browser.looks import broken_rules

    for path in (grades / "class.html", page_of(grades, "student001")):
        page, _ = opened(path, colours, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert broken_rules(page) == {}


def test_the_class_report_says_what_an_instructor_wants_to_know(grades, opened):
    page, _ = opened(grades / "class.html")
    text = page.inner_text("main")
    for part in ("40 students, 2 exercises", "Not isolated", "22 all points", "the convolution has a bias",
                 "unreadable", "it is no notebook, or damaged", "What stays cheatable", "9 h 30 min", "practice"):
        assert part in text, part
    frequent = page.locator("h2:has-text('What went wrong') ~ .box").first.locator("tbody tr").first.inner_text()
    assert "5 of 32" in frequent and "conv_block" in frequent
    links = page.eval_on_selector_all("a[href^=feedback]", "all => all.map(a => a.getAttribute('href'))")
    assert len(set(links)) == STUDENTS and all((grades / link).is_file() for link in links)


def test_the_annotated_notebook_shows_the_findings_and_none_of_the_students_markup(grades, course):
    pupil = next(pupil for pupil in classroom.pupils(STUDENTS) if pupil.kind == "raises")
    path = grades / "feedback" / words.file_name(pupil.name) / "connections.ipynb"
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    answers = [place for place, cell in enumerate(book.cells) if "def channels_after" in cell.source
               and cell.cell_type == "code"]
    behind = book.cells[answers[0] + 1].source
    assert behind.startswith("**How this was graded**") and "4 of 10 points" in behind and "```" in behind
    assert all("<script>" not in cell.source or cell.cell_type == "code" or "```" in cell.source
               for cell in book.cells)


def test_a_students_own_markdown_is_shown_letter_by_letter():
    from densenet_course.grading import notebook

    cells = (notebook.Cell("markdown", "```\n<script>x</script>\n````"), notebook.Cell("raw", "<b>"),
             notebook.Cell("markdown", "[a](javascript:x)"))
    book = json.loads(notebook.annotated(cells, (notebook.Cell("markdown", "[a](../b.ipynb)"),), "ok", {1: "```"}))
    sources = [cell["source"] for cell in book["cells"]]
    assert sources[0] == "`````text\n```\n<script>x</script>\n````\n`````"
    assert sources[1] == "```text\n<b>\n```" and sources[2].endswith("````text\n```\n````")
    assert sources[3] == "[a](../b.ipynb)"  # ours, whatever the student's link was


def test_gradescope_gets_a_result_of_plain_text_for_each_student(grades):
    found = sorted((grades / "exports" / "gradescope").glob("*/results.json"))
    assert len(found) == STUDENTS
    result = json.loads((grades / "exports" / "gradescope" / "student001" / "results.json").read_text())
    assert result["score"] == 20 == sum(test["score"] for test in result["tests"])
    assert {test["output_format"] for test in result["tests"]} == {"text"}
    assert sum(test["max_score"] for test in result["tests"]) == 20 and "NOT ISOLATED" in result["output"]


def test_moodle_gets_its_worksheet(grades):
    found = {row["Identifier"]: row for row in rows(grades / "exports" / "moodle.csv")}
    row = found["student002"]
    assert (row["Grade"], row["Maximum Grade"]) == ("10", "20")
    assert row["Feedback comments"].startswith("connections: 10; conv_block: 0; NOT ISOLATED")


def test_canvas_gets_its_columns_and_needs_its_list(course, tmp_path):
    with pytest.raises(ValueError, match=r"expected --roster FILE with Canvas's own gradebook"):
        write(course / "grades", RELEASES, "canvas")
    roster = tmp_path / "canvas.csv"
    roster.write_text("Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"
                      '"One, Student",student001,u1,l1,A\n"Nobody, Else",9,u2,l2,A\n')
    grade(course / "submitted", tmp_path / "out", RELEASES, Wishes(
        roster=roster, isolated=False, worker="tests.stand_in:Quick", workers=2))
    lines = write(tmp_path / "out", RELEASES, "canvas")
    with (tmp_path / "out" / "exports" / "canvas.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0][:5] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"] and len(table[0]) == 7
    assert table[1][0].strip() == "Points Possible" and table[1][5:] == ["10", "10"]
    assert [row[1] for row in table[2:]] == ["9", "student001"] and table[2][5:] == ["0", "0"]
    assert "does not have them" in lines[-1] and "student002" in lines[-1]
    assert "not in the roster" in (tmp_path / "out" / "class.html").read_text()


def graded(folder, names, roster=None):
    """Grade right answers to the first exercise, under these names."""
    for name in names:
        path = folder / "submitted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(classroom.notebook("connections"))
    grade(folder / "submitted", folder / "out", RELEASES, Wishes(
        roster=roster, isolated=False, worker="tests.stand_in:InThisProcess"))
    return folder / "out"


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_moodle_gets_the_feedback_in_the_folders_of_its_download(tmp_path):
    out = graded(tmp_path, ["Ada L_9_assignsubmission_file_/work.ipynb", "Bob_8_assignsubmission_file_work.ipynb",
                            "eve/work.ipynb"])
    write(out, RELEASES, "moodle")
    found = contents(out / "exports" / "moodle_feedback.zip")
    places = ("Ada L_9_assignsubmission_file_/", "Bob_8_assignsubmission_file_")
    assert set(found) == {place + name for place in places for name in ("index.html", "connections.ipynb")}
    assert found["Ada L_9_assignsubmission_file_/index.html"] == (out / "feedback" / "9" / "index.html").read_bytes()


def test_canvas_gets_the_annotated_notebooks_under_the_names_of_its_download(tmp_path):
    roster = tmp_path / "canvas.csv"
    roster.write_text("Student,ID,Section\nAda,7,A\nBob,8,A\nEve,9,A\n")
    names = ["ada_7_70_work.ipynb", "bob_LATE_8_80_work-1.ipynb"]
    out = graded(tmp_path, [*names, "eve_9_90_all/work.ipynb"], roster)  # an archive is not given back
    write(out, RELEASES, "canvas")
    before = (out / "exports" / "canvas_feedback.zip").read_bytes()
    found = contents(out / "exports" / "canvas_feedback.zip")
    assert set(found) == set(names)
    assert found[names[0]] == (out / "feedback" / "7" / "connections.ipynb").read_bytes()
    write(out, RELEASES, "canvas")
    assert (out / "exports" / "canvas_feedback.zip").read_bytes() == before


def test_what_the_instructor_sets_counts_everywhere_and_stays(tmp_path):
    out = graded(tmp_path, ["ada/work.ipynb", "bob/work.ipynb", "=eve/work.ipynb"])
    (out / "adjustments.csv").write_text("\ufeffstudent,exercise,points,reason\nADA,connections,7.5,\"late, agreed\"\n"
                                         "'=eve,connections,0,\n")
    for _ in range(2):
        write(out, RELEASES, "gradescope")
        found = {row["student"]: row for row in rows(out / "gradebook.csv")}
        assert {name: row["total"] for name, row in found.items()} == {"ada": "7.5", "bob": "10", "'=eve": "0"}
        assert found["ada"]["adjusted"] == "connections: 10 → 7.5 (late, agreed)" and not found["bob"]["adjusted"]
    assert "late, agreed" in (out / "feedback" / "ada" / "index.html").read_text(encoding="utf-8")
    assert "set by your instructor: late, agreed" in (out / "feedback" / "ada" / "connections.ipynb").read_text()
    result = json.loads((out / "exports" / "gradescope" / "ada" / "results.json").read_text(encoding="utf-8"))
    assert [test["score"] for test in result["tests"]] == [7.5] == [result["score"]]
    (out / "adjustments.csv").unlink()
    write(out, RELEASES)
    assert {row["total"] for row in rows(out / "gradebook.csv")} == {"10"}


@pytest.mark.parametrize("row", ["nobody,connections,5,x", "ada,links,5,x", "ada,connections,11,x",
                                 "ada,connections,-1,x", "ada,connections,nan,x", "ada,connections,,x",
                                 "ada;connections;5;x"])
def test_an_adjustment_that_cannot_be_meant_is_refused(tmp_path, row):
    (tmp_path / "adjustments.csv").write_text(f"student,exercise,points,reason\nada,connections,5,x\n{row}\n")
    with pytest.raises(ValueError, match=r"adjustments\.csv, row 3: expected student, exercise, points, reason"):
        read_adjustments(tmp_path / "adjustments.csv", ["ada"])


def test_nbgraders_own_export_shows_our_points_and_a_second_one_changes_nothing(course, grades, tmp_path):
    book = grades / "exports" / "gradebook.db"
    before = book.read_bytes()
    write(grades, RELEASES, "nbgrader")
    assert book.read_bytes() == before
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([sys.executable, "-m", "nbgrader", "export", "--db", f"sqlite:///{book}", "--to",
                           str(tmp_path / "grades.csv")], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "grades.csv").read_text()
    for pupil in classroom.pupils(STUDENTS):
        if pupil.name.startswith("student"):
            (line,) = [line for line in text.splitlines() if f",{pupil.name}," in line]
            assert line.startswith("densenet,") and line.split(",")[-2:] == [f"{sum(POINTS[pupil.kind]):.1f}", "20.0"]


def verdict(*findings, **fields):
    return Verdict(GRADED, tuple(Judged(*finding) for finding in findings), **fields)


def a_room(*verdicts):
    exercise = rooms.Exercise("connections", "01_connections", "Links", 10)
    students = [rooms.Student(Person(f"s{number}"), True, {"connections": rooms.Entry(
        HandedIn(f"s{number}", "connections", "sha"), one)}) for number, one in enumerate(verdicts)]
    return rooms.Classroom(students, [exercise], {"roster": "", "isolation": "full"}, [])


def test_mistakes_are_counted_by_their_words_and_not_by_their_numbers():
    room = a_room(verdict(("shape", 0, 5, "got 7 maps"), ("order", 0, 5, "got 3 maps")),
                  verdict(("shape", 0, 5, "got 12 maps")), verdict(("shape", 5, 5)),
                  verdict(("shape", 0, 5, "not attempted yet")))
    (mistake,), more = summary.mistakes(room)
    assert (mistake.count, mistake.judged, mistake.name, mistake.message) == (2, 3, "shape, order", "got 7 maps")
    assert more == 0


def test_what_has_no_verdict_is_no_zero():
    room = a_room(verdict(("shape", 10, 10)), None)
    assert [student.points for student in room.students] == [10, None]
    bins, waiting = summary.histogram(room)
    assert (bins[-1][2], sum(count for *_, count in bins), waiting) == (1, 1, 1)
    assert dict(summary.spreads(room)[0].parts)["not graded yet"] == 1
    assert [status for status, *_ in summary.concerns(room)] == ["infra"]


def test_claims_are_listed():
    assert summary.claims(a_room(verdict(("modes", 1, 1, "", True), ("shape", 1, 1)))) == [("connections", "modes")]


LONG = """
def f(a, b):
    total = 0
    for {i} in range(a):
        if {i} % 3 == 1 and b > {i}:
            total += {i} * b - 7
        else:
            total -= {i} // 2
    return total + {extra}
"""
OTHERS = [f"def f(a, b):\n    return sum(x * {n} for x in range(a)) + b ** {n} - max(a, {n})\n" for n in range(8)]


def test_a_copy_with_other_names_is_marked_and_a_common_answer_is_not():
    copy = LONG.replace("total", "acc").format(i="step", extra=11)
    sources = {"a": LONG.format(i="k", extra=11), "b": copy} | {f"o{n}": text for n, text in enumerate(OTHERS)}
    found = similar(sources)
    assert [one[:2] for one in found] == [("a", "b")] and found[0][2] > 0.9
    assert similar({str(n): "def f(n):\n    return n * (n + 1) // 2\n" for n in range(9)}) == []
    assert similar({"a": "x = (", "b": "'''", "c": ""}) == []


def test_pairs_that_share_a_student_are_one_group():
    assert summary.groups([("a", "b", 0.9), ("c", "d", 0.85), ("b", "c", 0.8)]) == [(["a", "b", "c", "d"], 0.8)]
