"""Judge an answer: an exercise is a list of findings, each asked for on its own."""

from densenet_course.checks.engine import stubs
from densenet_course.checks.engine.answer import AnswerError, Unjudged, describe, texts
from densenet_course.checks.engine.draw import Trial
from densenet_course.checks.engine.own_work import COURSE
from densenet_course.checks.engine.plain import plain
from densenet_course.checks.engine.report import NOT_ATTEMPTED, Finding, Report
from densenet_course.checks.engine.state import preserved
from densenet_course.checks.engine.wrong import Complaint


class Exercise:
    """What an exercise asks, and how an answer is judged.

    Args:
        name: the exercise's id.
        names: what the learner defines, in the order of ``check``'s arguments.
        title: for people, as in the notebook.
        lesson: the stem of the lesson that prepares it, for instance "03_dense_block".
        given: what an answer may take from refused packages, dotted names such as "densenet_course.layers".
        refused: packages whose parts do not count as the learner's own work.
    """

    def __init__(self, name, *, names, title, lesson, given=(), refused=(COURSE,)):
        self.name, self.names, self.title, self.lesson = name, tuple(names), title, lesson
        self.given, self.refused = tuple(given), tuple(refused)
        self.parts = []

    def finding(self, name, *, points, of=None):
        """Register a function (answer, draw) as a finding.

        Args:
            name: what it looks at, in a word or two.
            points: what it earns; it earns nothing by raising a ``Complaint``, or where ``mistakes.Solution.hold``
                has found a mistake that costs it.
            of: which of the learner's names it needs; by default all.
        """

        def register(function):
            needs = self.names if of is None else (of,) if isinstance(of, str) else tuple(of)
            self.parts.append((name, float(points), needs, function))
            return function

        return register

    @property
    def max_points(self):
        """Return what the exercise is worth."""
        return sum(points for _, points, _, _ in self.parts)


class Guarded:
    """An answer of which nothing but plain values and messages arrives, whatever goes wrong on its side.

    Args:
        answer: an ``Answer``.
    """

    def __init__(self, answer):
        self.answer = answer

    def ask(self, probe, **request):
        """See ``Answer.ask``."""
        try:
            return plain(self.answer.ask(probe, **request))
        except AnswerError as error:
            raise AnswerError(**texts(error) or {"what": "an error came back without words"}) from None
        except Unjudged:
            raise
        except Exception as error:  # its process is dead, or sends what cannot be read
            raise AnswerError(f"no answer came back that could be read: {describe(error)}") from None


def judge(exercise, answer, seed=None):
    """Look for every finding of an exercise in an answer.

    Args:
        exercise: an ``Exercise``.
        answer: an ``Answer``; only its ``ask`` is used.
        seed: see ``Draw``.

    Returns:
        A ``Report``.
    """
    trial, answer = Trial(seed), Guarded(answer)
    trial.findings = [name for name, *_ in exercise.parts]
    with preserved():
        states = {name: _status(answer, name, exercise) for name in exercise.names}
        complaints = [_look(part, answer, trial, states) for part in exercise.parts]
    findings = (_finding(part, complaint, trial) for part, complaint in zip(exercise.parts, complaints, strict=True))
    return Report(exercise.name, tuple(findings), trial.measured)


def unjudged(exercise, error):
    """Return the report of a check that an error ended: it says nothing about the answer."""
    message = f"the check was ended ({describe(error)}); run it again, in a new session if it happens again"
    return Report(exercise.name, tuple(
        Finding(name, False, 0.0, points, message, judged=False) for name, points, *_ in exercise.parts))


def _status(answer, name, exercise):
    """Return ``stubs.READY``, STUB or MISSING, or the complaint that stands in the way of all findings."""
    try:
        status = answer.ask(stubs.status, name=name)
        if status in (stubs.MISSING, stubs.STUB):
            return status
        foreign = answer.ask(stubs.own_work, name=name, given=exercise.given, refused=exercise.refused,
                             lesson=exercise.lesson)
        if type(foreign) is not str or status != stubs.READY:
            return Complaint("no answer came back that could be read")
        return Complaint("own work", cause=foreign) if foreign else status
    except (Complaint, Unjudged) as complaint:
        return complaint


def _look(part, answer, trial, states):
    """Look for one finding; return a ``Complaint`` or ``Unjudged``, or None where nothing is wrong so far."""
    trial.finding, _, needs, function = part
    absence = _absence(needs, states)
    if absence is not None:
        return absence
    try:
        function(answer, trial)
    except (Complaint, Unjudged) as complaint:
        return complaint
    except BaseException as error:  # so strange an answer that the judge stumbled, or thrown into this thread
        return Complaint(f"this could not be read as an answer ({describe(error)})")
    return None


def _finding(part, complaint, trial):
    name, points, *_ = part
    if isinstance(complaint, Unjudged):
        return Finding(name, False, 0.0, points, str(complaint), judged=False)
    verdicts = list(filter(None, (inquiry.verdict(name) for inquiry in trial.inquiries.values())))
    named = (verdict for verdict in verdicts if verdict.cause)  # came first, and what came after may follow from it
    complaint = next(named, complaint) or next(iter(verdicts), None)
    if complaint is None:
        return Finding(name, True, points, points, "")
    return Finding(name, False, 0.0, points, str(complaint), complaint.cause or complaint.statement)


def _absence(needs, states):
    for name in needs:
        if states[name] == stubs.MISSING:
            return Complaint(f"{name} is not defined. Run the cell that defines it, or check its spelling.")
    for name in needs:
        if states[name] == stubs.STUB:
            return Complaint(NOT_ATTEMPTED)
    return next((states[name] for name in needs if states[name] != stubs.READY), None)
