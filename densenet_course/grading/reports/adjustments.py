"""``adjustments.csv``: points that the instructor sets in the place of the grader's, and why."""

import csv
from dataclasses import dataclass

from densenet_course import checks
from densenet_course.grading.people import same
from densenet_course.grading.reports.words import cell

COLUMNS = ("student", "exercise", "points", "reason")


@dataclass(frozen=True)
class Adjustment:
    """What the instructor has set: points, and the reason in words."""

    points: float
    reason: str = ""


def read_adjustments(path, students):
    """Read the instructor's table.

    Args:
        path: of a CSV file with the columns ``COLUMNS``; where there is none, nothing is set.
        students: the ids of the class.

    Returns:
        (student's id, exercise's id) → ``Adjustment``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such table, or a row names nobody, no exercise, or points that do not exist.
    """
    if not path.exists():
        return {}
    ids = {same(name): student for student in students for name in (student, cell(student))}
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected CSV in UTF-8 ({error})") from None
    found = {}
    for number, row in enumerate(rows, 2):
        who, exercise, points, reason = ((row.get(name) or "").strip() for name in COLUMNS)
        try:
            found[ids[same(who)], exercise] = Adjustment(_points(exercise, points), reason)
        except (KeyError, ValueError):
            raise ValueError(f"{path}, row {number}: expected {', '.join(COLUMNS)}, with commas between them: a "
                             "student as in gradebook.csv, an exercise's id, points that it can give, and why; got "
                             f"{who!r}, {exercise!r}, {points!r}") from None
    return found


def _points(exercise, text):
    """Return the points; a ValueError where the exercise cannot give them."""
    points = float(text)
    if exercise not in checks.EXERCISES or not 0 <= points <= checks.load(exercise).max_points:
        raise ValueError
    return points
