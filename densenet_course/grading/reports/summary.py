"""What a class report says of a class: points by exercise, which mistakes were made how often, what needs a person."""

import re
from collections import Counter
from dataclasses import dataclass
from statistics import mean, median

from densenet_course.checks.engine.report import NOT_ATTEMPTED
from densenet_course.grading import notebook
from densenet_course.grading.reports.similar import similar
from densenet_course.grading.verdict import GRADED, INFRA, LIMIT, MISSING, NOT_OWN_WORK, UNREADABLE

BINS = 10
MOST_MISTAKES = 40


@dataclass(frozen=True)
class Spread:
    """How an exercise went.

    Args:
        exercise: a ``classroom.Exercise``.
        parts: (name, students) of "all points", "some points", "no point", "missing", "not graded yet".
        mean, median: points of those who handed in, or None.
    """

    exercise: object
    parts: list
    mean: float | None
    median: float | None


@dataclass(frozen=True)
class Mistake:
    """Findings that failed in the same words, numbers aside.

    Args:
        exercise: its id.
        name: the findings' names.
        count: students who made it.
        judged: students who attempted the exercise.
        message: one of the messages.
    """

    exercise: str
    name: str
    count: int
    judged: int
    message: str


def spreads(room):
    """Return a ``Spread`` for each exercise."""
    return [_spread(room, exercise) for exercise in room.exercises]


def _spread(room, exercise):
    entries = [entry for _, entry in room.entries(exercise.id)]
    kinds = Counter(_kind(entry, exercise.max_points) for entry in entries)
    names = ("all points", "some points", "no point", "missing", "not graded yet")
    points = [entry.points for entry in entries if entry.work and entry.points is not None]
    return Spread(exercise, [(name, kinds[name]) for name in names], mean(points) if points else None,
                  median(points) if points else None)


def _kind(entry, max_points):
    if entry.status in (MISSING, INFRA):
        return "missing" if entry.status == MISSING else "not graded yet"
    return "no point" if not entry.points else "all points" if entry.points >= max_points else "some points"


def histogram(room):
    """Return (from, to, students) of ten ranges of the total, and how many have no total yet."""
    totals = [student.points for student in room.students if student.points is not None]
    width = room.max_points / BINS or 1
    counts = Counter(min(int(total / width), BINS - 1) for total in totals)
    return [(number * width, (number + 1) * width, counts[number]) for number in range(BINS)], \
        len(room.students) - len(totals)


def mistakes(room):
    """Return the ``Mistake``s of the class, the most frequent first, and how many more kinds there are."""
    counts, judged, names, examples = Counter(), Counter(), {}, {}
    for exercise in room.exercises:
        for _, entry in room.entries(exercise.id):
            findings = entry.verdict.findings if entry.verdict else ()
            attempted = [finding for finding in findings if finding.message != NOT_ATTEMPTED]
            judged[exercise.id] += bool(attempted)
            met = {}
            for finding in attempted:
                if finding.points < finding.max_points:
                    key = exercise.id, re.sub(r"\d[\d.,]*", "#", finding.message)
                    names.setdefault(key, {}).setdefault(finding.name)
                    examples.setdefault(key, finding.message)
                    met[key] = 1
            counts.update(met)
    order = sorted(counts, key=lambda key: (-counts[key], key))
    found = [Mistake(key[0], ", ".join(names[key]), counts[key], judged[key[0]], examples[key]) for key in order]
    return found[:MOST_MISTAKES], max(0, len(found) - MOST_MISTAKES)


def claims(room):
    """List the findings that only the student's process can speak about, as (exercise's id, finding)."""
    return sorted({(exercise.id, finding.name) for exercise in room.exercises for _, entry in room.entries(exercise.id)
                   if entry.verdict for finding in entry.verdict.findings if finding.claim})


def concerns(room):
    """List what needs a person, as (status, sentence, student, exercise's id), the most pressing first."""
    found = []
    for student in room.students:
        for name, entry in student.entries.items():
            for status, sentence in _concerns(entry):
                found.append((status, sentence, student, name))
        if room.settings["roster"] and not student.listed:
            found.append(("not in the roster", "handed in, but the class list has nobody of this name", student, ""))
        found += [("file left out", sentence, student, "") for sentence in student.strays]
    pressing = (INFRA, UNREADABLE, NOT_OWN_WORK, LIMIT, "not in the roster", "file left out", "note")
    return sorted(found, key=lambda one: (pressing.index(one[0]), one[3]))


def _concerns(entry):
    notes = entry.verdict.notes if entry.verdict else ()
    if entry.status == INFRA:
        yield INFRA, " ".join(notes) or "not judged yet: run the same command again"
    elif entry.status == UNREADABLE:
        yield UNREADABLE, entry.work.problem or "the file could not be read"
    elif entry.status == NOT_OWN_WORK:
        yield NOT_OWN_WORK, " ".join(notes) or next(
            (one.message for one in entry.verdict.findings if one.message), "")
    elif entry.status == LIMIT:
        yield LIMIT, entry.verdict.limit
    if entry.status in (GRADED, LIMIT) and notes:
        yield "note", " ".join(notes)
    if entry.work and entry.work.notes:
        yield "note", ". ".join(entry.work.notes)


def alike(room, ledger, released):
    """List groups of answers that share what few others have, as (exercise's id, students, share), alike most first."""
    students = {student.person.id: student for student in room.students}
    found = []
    for exercise in room.exercises:
        sources = {student.person.id: notebook.own_text(notebook.read(ledger.notebook(entry.work.sha)),
                                                        released[exercise.id])
                   for student, entry in room.entries(exercise.id) if entry.work and entry.work.sha}
        found += [(exercise.id, [students[one] for one in group], share) for group, share in groups(similar(sources))]
    return found


def groups(pairs):
    """Join pairs that share a student: a list of (sorted students, the least share among their pairs)."""
    found = []
    for one, other, share in pairs:  # the most alike first, so that the last share is the least
        touched = [group for group in found if {one, other} & group[0]]
        found = [group for group in found if group not in touched]
        found.append((set().union({one, other}, *(group[0] for group in touched)), share))
    return sorted(((sorted(group), share) for group, share in found), key=lambda one: (-one[1], one[0]))
