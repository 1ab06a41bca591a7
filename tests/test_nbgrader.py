"""nbgrader itself takes the exercises: a class of three, from release to exported grades, as docs/instructors.md says.

One has solved all, one half, one nothing; their files come from three kinds of learning platform.
"""

import csv
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from densenet_course import checks, cli
from densenet_course.cli.masters import MASTERS, STUB, STUDENT, read_master, stem
from densenet_course.cli.release import elsewhere

CHOSEN = ("connections", "conv_block")  # what is graded here; the others carry the same metadata
WRONG = """\
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)  # with a bias
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), convolution)"""
NAMES = {  # student: how the platform names a file of theirs inside its archive
    "solved": "solved_4711_assignsubmission_file_/{}",  # Moodle
    "half": "half_LATE_12_3456_{}",  # Canvas
    "empty": "empty/{}",  # by hand
}


def nbgrader(course, *arguments):
    """Run one of nbgrader's commands; it calls alembic, which lies beside Python."""
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=course, env=environment, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """An nbgrader course with three submissions: released, collected, graded, fed back, exported."""
    course = tmp_path_factory.mktemp("course")
    options = [word for exercise in CHOSEN for word in ("--exercise", exercise)]
    assert cli.main(["release", "--nbgrader", str(course), *options]) == 0
    nbgrader(course, "generate_assignment", "densenet", "--create")
    archive = course / "downloaded" / "densenet" / "archive"
    archive.mkdir(parents=True)
    for student, name in NAMES.items():
        with zipfile.ZipFile(archive / f"from {student}.zip", "w") as file:
            for exercise in CHOSEN:
                notebook = f"{stem(exercise)}.ipynb"
                book = nbformat.read(course / "release" / "densenet" / notebook, as_version=4)
                file.writestr(name.format(notebook), nbformat.writes(answered(book, exercise, student)))
            file.writestr(f"{student}/progress.json", "{}")
    nbgrader(course, "zip_collect", "densenet")
    nbgrader(course, "autograde", "densenet", "--create")
    nbgrader(course, "generate_feedback", "densenet")
    nbgrader(course, "export")
    return course


def answered(book, exercise, student):
    """Write a student's answers into a released notebook."""
    solved = {cell.metadata.nbgrader.grade_id: cell.source for cell in read_master(
        MASTERS / f"{stem(exercise)}.py").cells if "nbgrader" in cell.metadata}
    seen = 0
    for cell in book.cells:
        if not cell.metadata.get("nbgrader", {}).get("solution") or student == "empty":
            continue
        seen += 1
        if student == "solved" or (exercise == "connections" and seen == 1):
            cell.source = solved[cell.metadata.nbgrader.grade_id]
        elif exercise == "conv_block":
            cell.source = cell.source.replace(f"    {STUB}", WRONG)
    return book


@pytest.fixture(scope="module")
def scores(course):
    """Points by student and exercise, from the gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "dense") as book:
        return {
            (student, exercise): (part.score, part.max_score)
            for student in ("solved", "half", "empty") for exercise in CHOSEN
            for part in [book.find_submission_notebook(stem(exercise), "densenet", student)]
        }


def test_the_release_is_what_the_course_ships(course):
    for exercise in CHOSEN:
        name = f"{stem(exercise)}.ipynb"
        ours = nbformat.read(STUDENT / name, as_version=4)
        theirs = nbformat.read(course / "release" / "densenet" / name, as_version=4)
        assert [(elsewhere(c.source), c.metadata) for c in ours.cells] == [(c.source, c.metadata) for c in theirs.cells]
    assert (course / "release" / "densenet" / "requirements.txt").exists()


def test_a_solved_submission_gets_all_points(scores):
    assert {scores["solved", exercise] for exercise in CHOSEN} == {(10.0, 10.0)}


def test_a_half_solved_submission_gets_the_points_of_its_half(scores):
    points = checks.load("connections")
    first = sum(worth for _, worth, needs, _ in points.parts if needs == (points.names[0],))
    assert 0 < first < 10
    assert scores["half", "connections"] == (first, 10.0)
    assert scores["half", "conv_block"] == (9.0, 10.0)  # the bias costs its own finding only


def test_an_empty_submission_gets_none(scores):
    assert {scores["empty", exercise] for exercise in CHOSEN} == {(0.0, 10.0)}


def test_validate_accepts_the_solved_and_refuses_the_empty(course):
    folder = course / "submitted"
    name = f"{stem('conv_block')}.ipynb"
    assert "Success" in nbgrader(course, "validate", str(folder / "solved" / "densenet" / name))
    assert "failed" in nbgrader(course, "validate", str(folder / "half" / "densenet" / name))


def test_the_exported_grades_are_those_of_the_gradebook(course, scores):
    with (course / "grades.csv").open(encoding="utf-8") as file:
        grades = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    assert grades == {student: (sum(scores[student, one][0] for one in CHOSEN), 20.0) for student in NAMES}


def test_the_feedback_names_the_mistake_and_shows_no_learners_files(course):
    page = course / "feedback" / "half" / "densenet" / f"{stem('conv_block')}.html"
    assert "bias" in page.read_text(encoding="utf-8")
    assert not list((course / "feedback").rglob("progress.json"))


def test_grading_again_gives_the_same(course, scores):
    nbgrader(course, "autograde", "densenet", "--student", "half", "--force")
    nbgrader(course, "export")
    assert f",{scores['half', 'connections'][0] + scores['half', 'conv_block'][0]}," in next(
        line for line in (course / "grades.csv").read_text(encoding="utf-8").splitlines() if ",half," in line)
