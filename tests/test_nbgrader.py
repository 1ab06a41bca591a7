"""nbgrader itself takes the exercises: it makes the assignment, and grades a solved, a half-solved and an empty one."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from densenet_course.cli import release as exercises
from densenet_course.cli.release import STUB, read_master, stem

CHOSEN = ("connections", "conv_block")  # what is graded here; the others carry the same metadata
WRONG = """\
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)  # with a bias
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), convolution)"""
CONFIG = f"""
c = get_config()
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
c.CourseDirectory.course_id = "dense"
"""


def nbgrader(course, *arguments):
    """Run one of nbgrader's commands; it calls alembic, which lies beside Python."""
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=course, env=environment, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """An nbgrader course with three submissions, graded."""
    course = tmp_path_factory.mktemp("course")
    exercises.write_masters(course / "source" / "densenet", CHOSEN)
    (course / "nbgrader_config.py").write_text(CONFIG)
    nbgrader(course, "generate_assignment", "densenet", "--create")
    for student in ("solved", "half", "empty"):
        folder = course / "submitted" / student / "densenet"
        folder.mkdir(parents=True)
        for exercise in CHOSEN:
            book = nbformat.read(course / "release" / "densenet" / f"{stem(exercise)}.ipynb", as_version=4)
            nbformat.write(answered(book, exercise, student), folder / f"{stem(exercise)}.ipynb")
    nbgrader(course, "autograde", "densenet", "--create")
    return course


def answered(book, exercise, student):
    """Write a student's answers into a released notebook."""
    solved = {cell.metadata.nbgrader.grade_id: cell.source for cell in read_master(
        exercises.MASTERS / f"{stem(exercise)}.py").cells if "nbgrader" in cell.metadata}
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
        ours = nbformat.read(exercises.STUDENT / name, as_version=4)
        theirs = nbformat.read(course / "release" / "densenet" / name, as_version=4)
        assert [(c.source, c.metadata) for c in ours.cells] == [(c.source, c.metadata) for c in theirs.cells]


def test_a_solved_submission_gets_all_points(scores):
    assert {scores["solved", exercise] for exercise in CHOSEN} == {(10.0, 10.0)}


def test_a_half_solved_submission_gets_the_points_of_its_half(scores):
    points = exercises.load("connections")
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
