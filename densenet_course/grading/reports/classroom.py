"""The class as the reports need it, read from the ledger alone."""

from dataclasses import dataclass, field

from densenet_course import checks
from densenet_course.grading.intake import HandedIn
from densenet_course.grading.people import Person, same
from densenet_course.grading.reports.adjustments import Adjustment, read_adjustments
from densenet_course.grading.verdict import INFRA, MISSING, UNREADABLE, Verdict


@dataclass(frozen=True)
class Entry:
    """One exercise of one student.

    Args:
        work: the file, or None where there is none.
        verdict: or None where there is none yet.
        adjusted: what the instructor has set instead, or None.
    """

    work: HandedIn | None
    verdict: Verdict | None
    adjusted: Adjustment | None = None

    @property
    def status(self):
        """Return a status of ``verdict``; INFRA where a verdict is still to come."""
        if self.work is None:
            return MISSING
        if not self.work.sha:
            return UNREADABLE
        return self.verdict.status if self.verdict else INFRA

    @property
    def points(self):
        """Return the points that count, or None where no grade may be given yet."""
        return self.adjusted.points if self.adjusted else self.judged

    @property
    def judged(self):
        """Return the grader's points, or None where it has given none yet."""
        if self.status == INFRA:
            return None
        return self.verdict.points if self.verdict else 0.0


@dataclass(frozen=True)
class Exercise:
    """An exercise that is graded: its id, its notebook's name, its title for people, and what it is worth."""

    id: str
    stem: str
    title: str
    max_points: float


@dataclass
class Student:
    """A student with an ``Entry`` for each exercise, and sentences on files that were not used."""

    person: Person
    listed: bool
    entries: dict
    strays: list = field(default_factory=list)

    @property
    def name(self):
        """Return the name for people."""
        person = self.person
        return f"{person.name} ({person.id})" if person.name and person.name != person.id else person.id

    @property
    def points(self):
        """Return the sum, or None where an exercise has no grade yet."""
        points = [entry.points for entry in self.entries.values()]
        return None if None in points else float(sum(points))

    @property
    def late(self):
        """List (exercise, how late)."""
        return [(name, entry.work.late) for name, entry in self.entries.items() if entry.work and entry.work.late]

    @property
    def adjusted(self):
        """List (exercise's id, the grader's points or None, ``Adjustment``)."""
        return [(name, entry.judged, entry.adjusted) for name, entry in self.entries.items() if entry.adjusted]

    @property
    def remarks(self):
        """List (status, exercise's id) of what is not simply graded."""
        return [(entry.status, name) for name, entry in self.entries.items() if entry.status != "graded"]


@dataclass
class Classroom:
    """A class.

    Args:
        students: ordered by name.
        exercises: in the course's order.
        settings: the ledger's, by name.
        strays: (path, why, student's id or "") of files that were not used.
    """

    students: list
    exercises: list
    settings: dict
    strays: list

    @property
    def max_points(self):
        """Return what all exercises together are worth."""
        return sum(exercise.max_points for exercise in self.exercises)

    @property
    def isolated(self):
        """Tell whether every notebook was run in a sandbox."""
        return self.settings["isolation"] == "full"

    def entries(self, exercise):
        """Yield (student, entry) of an exercise."""
        for student in self.students:
            yield student, student.entries[exercise]


def read(ledger, releases):
    """Read a ``Ledger`` into a ``Classroom``.

    Args:
        ledger: the ledger.
        releases: exercise's id → path of the notebook that was handed out.

    Raises:
        ValueError: ``adjustments.csv``, beside the ledger, cannot be meant.
    """
    settings = {name: ledger.setting(name) for name in ("exercises", "due", "roster", "isolation", "checks")}
    exercises = [_exercise(name, releases[name].stem) for name in settings["exercises"].split()]
    verdicts = ledger.verdicts(settings["checks"], settings["isolation"])
    works = {(work.student, work.exercise): work for work in ledger.works()}
    strays, people = ledger.strays(), ledger.people()
    adjusted = read_adjustments(ledger.path.with_name("adjustments.csv"), [person.id for person, _ in people])
    students = []
    for person, listed in people:
        entries = {}
        for exercise in exercises:
            work = works.get((person.id, exercise.id))
            found = verdicts.get((person.id, exercise.id, work.sha)) if work else None
            entries[exercise.id] = Entry(work, found, adjusted.get((person.id, exercise.id)))
        own = [f"{file} {why}" for file, why, student in strays if student == person.id]
        students.append(Student(person, listed, entries, own))
    students.sort(key=lambda student: (same(student.person.name or student.person.id), student.person.id))
    return Classroom(students, exercises, settings, strays)


def _exercise(name, stem):
    found = checks.load(name)
    return Exercise(name, stem, found.title, found.max_points)
