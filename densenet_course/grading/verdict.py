"""What a worker is asked to judge, and what it answers: plain values, equal for equal submissions."""

from dataclasses import dataclass

GRADED, LIMIT, UNREADABLE, MISSING, NOT_OWN_WORK, INFRA = (
    "graded", "limit", "unreadable", "missing", "not own work", "infra")


@dataclass(frozen=True)
class Order:
    """One exercise of one student.

    Args:
        exercise: the exercise's id.
        cells: the code cells to run, in order, locked ones as they were released.
        seed: of every number that the judge draws.
    """

    exercise: str
    cells: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Judged:
    """What became of one finding.

    Args:
        name: what was looked at.
        points: what it earned.
        max_points: what it can earn.
        message: why it earned nothing; empty where it did. Plain text, to be escaped wherever it is shown.
        claim: whether only the student's process says so; see ``judging``.
    """

    name: str
    points: float
    max_points: float
    message: str = ""
    claim: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of an order.

    Args:
        status: GRADED, LIMIT, UNREADABLE, MISSING, NOT_OWN_WORK or INFRA; INFRA is no grade.
        findings: empty where nothing could be looked at.
        limit: which limit was met, in words, or "".
        errors: (number of the cell from 0, message) of cells that raised.
        output: what the notebook printed, cut.
        isolation: "full" or "none".
        committed: whether the judge played the operations itself.
        notes: further plain sentences for student and instructor.
    """

    status: str
    findings: tuple[Judged, ...] = ()
    limit: str = ""
    errors: tuple[tuple[int, str], ...] = ()
    output: str = ""
    isolation: str = "full"
    committed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def points(self):
        """Return what was earned."""
        return float(sum(finding.points for finding in self.findings))

    @property
    def max_points(self):
        """Return what could be earned by what was looked at."""
        return float(sum(finding.max_points for finding in self.findings))
