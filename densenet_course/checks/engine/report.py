"""What a check has to say: Finding, Report, CheckFailed."""

from dataclasses import dataclass, field
from textwrap import wrap

from densenet_course.checks.engine.plain import cut

MAX_MESSAGE = 1_200  # letters
WIDTH = 104  # characters a line, as wide as a notebook
NOT_ATTEMPTED = "not attempted yet"


@dataclass(frozen=True)
class Finding:
    """One thing a check looked at.

    Args:
        name: what was looked at, in a word or two.
        passed: whether the answer is right in this.
        points: what it earns, 0 … max_points.
        max_points: what it can earn.
        message: what was expected, what came, and the likely cause; empty when passed. Cut and cleaned.
        cause: the part of the message that is said only once; by default the message.
        judged: False when the check itself failed, which says nothing about the answer.
    """

    name: str
    passed: bool
    points: float
    max_points: float
    message: str
    cause: str = ""
    judged: bool = True

    def __post_init__(self):
        object.__setattr__(self, "message", cut(self.message, MAX_MESSAGE))

    @property
    def attempted(self):
        """Tell whether there was anything to look at."""
        return self.message != NOT_ATTEMPTED


@dataclass(frozen=True)
class Report:
    """All findings of one check.

    Args:
        exercise: the exercise's id.
        findings: in the order in which the check looks.
        measured: what the judge measured besides, by name.
    """

    exercise: str
    findings: tuple[Finding, ...]
    measured: dict = field(default_factory=dict)

    @property
    def points(self):
        """Return what the answer earns."""
        return float(sum(finding.points for finding in self.findings))

    @property
    def max_points(self):
        """Return what the exercise is worth."""
        return float(sum(finding.max_points for finding in self.findings))

    @property
    def passed(self):
        """Tell whether everything is right."""
        return all(finding.passed for finding in self.findings)

    @property
    def attempted(self):
        """Tell whether anything was there to be judged."""
        return any(finding.attempted for finding in self.findings)

    @property
    def failed(self):
        """Tell whether something that was attempted is wrong."""
        return any(finding.attempted and not finding.passed for finding in self.findings)

    @property
    def judged(self):
        """Tell whether the points say something about the answer: False when the check itself failed somewhere."""
        return all(finding.judged for finding in self.findings)

    @property
    def score(self):
        """Say in one line what was earned."""
        if not self.attempted:
            return f"{self.exercise}: {NOT_ATTEMPTED}"
        return f"{self.exercise}: {number(self.points)} of {number(self.max_points)} points"

    def __str__(self):
        if not self.attempted:
            return self.score
        lines = [self.score]
        width = max(len(finding.name) for finding in self.findings)
        said = set()
        for finding in self.findings:
            sign = "✓" if finding.passed else "✗" if finding.attempted else "·"
            cause = finding.cause or finding.message
            message = "the same as above" if finding.attempted and cause in said else finding.message
            said.add(cause or None)
            score = f"{number(finding.points)}/{number(finding.max_points)}"
            start = f"  {sign} {finding.name:{width}}  {score:>5}  "
            lines += wrap(message, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)) or [start.rstrip()]
        return "\n".join(lines)


def number(points):
    """Write points without a needless ``.0``."""
    return f"{points:g}"


class CheckFailed(Exception):
    """Raised by ``check`` when something that was attempted is wrong; ``report`` holds the findings."""

    def __init__(self, report):
        wrong = [finding.name for finding in report.findings if finding.attempted and not finding.passed]
        super().__init__(f"{report.exercise}: look again at {', '.join(wrong)}; the lines above say what came")
        self.report = report

    def _render_traceback_(self):
        """Give IPython one line instead of a traceback through our code: the report above has said it all."""
        return [f"CheckFailed: {self}"]
