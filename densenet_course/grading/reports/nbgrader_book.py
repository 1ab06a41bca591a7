"""The points in a gradebook of nbgrader's, for ``nbgrader export`` and ``formgrader``."""

import os
import shutil
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from densenet_course.files import replacing
from densenet_course.grading.reports.words import visible

ASSIGNMENT = "densenet"


def nbgrader(room, ledger, folder):
    """Write ``gradebook.db``: a copy of the course's own, where it stands beside the submissions, with these points.

    A gradebook that has them already stays as it is: nbgrader gives its rows random numbers.

    Raises:
        ValueError: nbgrader is not installed.
    """
    try:
        from nbgrader.api import Gradebook
    except ImportError:
        raise ValueError("--export nbgrader needs nbgrader: python -m pip install nbgrader") from None
    target, own = folder / "gradebook.db", Path(ledger.setting("gradebook"))
    assignment = _assignment(room)
    lines = [f"{len(room.students)} students: {target}; show them: nbgrader export --db sqlite:///{target.resolve()}"]
    if target.exists():
        with _book(Gradebook, target) as book:
            if _scores(book, assignment) == _wanted(room):
                return lines
    with replacing(target) as draft:
        draft.unlink(missing_ok=True)
        if own.is_file():
            shutil.copyfile(own, draft)
        with _book(Gradebook, draft) as book:
            _fill(book, room, assignment)
    return lines


@contextmanager
def _book(kind, path):
    """Open a gradebook; nbgrader calls alembic, which lies beside Python."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        with kind(f"sqlite:///{path.resolve()}") as book:
            yield book
    finally:
        os.environ["PATH"] = before


def _assignment(room):
    """Return the assignment's name: that of the folder in which all students have their notebooks, if there is one."""
    files = [PurePosixPath(entry.work.file) for student in room.students for entry in student.entries.values()
             if entry.work]
    names = {file.parent.name for file in files if len(file.parts) > 2}
    students = {file.parent.parent.name for file in files if len(file.parts) > 2}
    return names.pop() if len(names) == 1 and len(students) > 1 else ASSIGNMENT


def _wanted(room):
    """Map (student's id, notebook) to points, None where there is no grade yet."""
    return {(visible(student.person.id, ""), exercise.stem): student.entries[exercise.id].points
            for student in room.students for exercise in room.exercises}


def _scores(book, assignment):
    """Read what a gradebook has, in the form of ``_wanted``."""
    return {(submission.student.id, part.name): part.grades[0].auto_score
            for submission in book.assignment_submissions(assignment) for part in submission.notebooks if part.grades}


def _fill(book, room, assignment):
    """Write the points into a gradebook."""
    from sqlalchemy import text
    from sqlalchemy.exc import SAWarning

    book.db.execute(text("PRAGMA synchronous = OFF"))  # nbgrader commits each row; the draft counts when it is whole
    book.update_or_create_assignment(assignment)
    for exercise in room.exercises:
        book.update_or_create_notebook(exercise.stem, assignment)
        book.update_or_create_grade_cell(f"{exercise.id}-score", exercise.stem, assignment, cell_type="code",
                                         max_score=exercise.max_points)
    wanted, names = _wanted(room), {exercise.stem: f"{exercise.id}-score" for exercise in room.exercises}
    for student in room.students:
        id = visible(student.person.id, "")
        book.update_or_create_student(id, last_name=visible(student.person.name, "") or None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # nbgrader reads rows that it has not yet added
            submission = book.update_or_create_submission(assignment, id)
        for part in submission.notebooks:
            for grade in part.grades:
                if names.get(part.name) == grade.cell.name:
                    grade.auto_score = wanted[id, part.name]
                    grade.needs_manual_grade = grade.auto_score is None
    book.db.commit()
