"""What a check has to say: Finding, Report, CheckFailed."""

from dataclasses import dataclass, field
from html import escape
from textwrap import wrap

from densenet_course.checks.engine.plain import cut

MAX_MESSAGE = 1_200  # letters
NAMED = 3  # findings that an exception names
CELL = "text-align: left; vertical-align: top; white-space: normal; overflow-wrap: anywhere; padding: 2px 8px"
WIDTH = 104  # characters a line, as wide as a notebook
NOT_ATTEMPTED = "not attempted yet"


@dataclass(frozen=True)
class Result:
    """How a row of the table begins.

    Args:
        words: sign and word, so that no colour is needed to read it.
        colour: of the line at the left, seen on white and on black.
    """

    words: str
    colour: str


RIGHT, WRONG, OPEN = Result("✓ right", "#2e9e5b"), Result("✗ wrong", "#e0483e"), Result("· open", "#8a8a8a")


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

    def rows(self):
        """Yield (finding, its message), a cause being told only once."""
        said = set()
        for finding in self.findings:
            cause = finding.cause or finding.message
            yield finding, "the same as above" if finding.attempted and cause in said else finding.message
            said.add(cause or None)

    def __str__(self):
        if not self.attempted:
            return self.score
        lines = [self.score]
        width = max(len(finding.name) for finding in self.findings)
        for finding, message in self.rows():
            sign = "✓" if finding.passed else "✗" if finding.attempted else "·"
            score = f"{number(finding.points)}/{number(finding.max_points)}"
            start = f"  {sign} {finding.name:{width}}  {score:>5}  "
            lines += wrap(message, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)) or [start.rstrip()]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include=None, exclude=None):
        """Give a notebook the table, and the text for where no HTML is shown."""
        return {"text/plain": str(self), "text/html": table(self) if self.attempted else escape(self.score)}


class Shown:
    """A report that stands on the page already: at the end of a cell it is not shown a second time.

    Args:
        report: a ``Report``; its attributes are this object's.
    """

    def __init__(self, report):
        self.report = report

    def __getattr__(self, name):
        if name == "report":  # not there yet, as when it is copied
            raise AttributeError(name)
        return getattr(self.report, name)

    def _ipython_display_(self):
        """Show nothing."""


def number(points):
    """Write points without a needless ``.0``."""
    return f"{points:g}"


def table(report):
    """Write a report as an HTML table: every text escaped, no colour that a dark page would hide."""
    titles = "result", "looked at", "points", "what came"
    head = "".join(f'<th scope="col" style="{CELL}">{title}</th>' for title in titles)
    rows = "".join(_row(finding, message) for finding, message in report.rows())
    return (f'<table style="border-collapse: collapse; max-width: 100%"><caption style="text-align: left; '
            f'font-weight: bold">{escape(report.score)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table>")


def _row(finding, message):
    result = RIGHT if finding.passed else WRONG if finding.attempted else OPEN
    score = f"{number(finding.points)} of {number(finding.max_points)}"
    cells = "".join(f'<td style="{CELL}">{escape(text)}</td>' for text in (score, message))
    line = f"{CELL}; white-space: nowrap; border-left: 3px solid {result.colour}"
    return (f'<tr style="background: none"><td style="{line}">{result.words}</td>'
            f'<th scope="row" style="{CELL}">{escape(finding.name)}</th>{cells}</tr>')


class CheckFailed(Exception):
    """Raised by ``check`` outside a notebook when something that was attempted is wrong.

    Args:
        report: it holds the findings.
    """

    def __init__(self, report):
        wrong = [finding.name for finding in report.findings if finding.attempted and not finding.passed]
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        super().__init__(f"look again at {', '.join(wrong[:NAMED])}{more}")
        self.report = report
