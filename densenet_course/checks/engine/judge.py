"""Judge an answer: an exercise is a list of findings, each asked for on its own."""

import random
import secrets

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, Unjudged, describe, texts
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


class Draw:
    """Fresh random numbers for one check.

    Args:
        seed: for a report that can be repeated; by default another one each time.

    Attributes:
        findings: the names of the check's findings, in order.
        finding: the one that is looked for at present.
        inquiries: what is known of the answer's mistakes so far, by ``mistakes.Solution``.
    """

    def __init__(self, seed=None):
        self.seed = secrets.randbits(31) if seed is None else seed
        self.random = random.Random(self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)
        self.findings, self.finding, self.inquiries = [], "", {}

    def integer(self, low, high):
        """Return a whole number, low ≤ n ≤ high."""
        return self.random.randint(low, high)

    def sample(self, low, high, count):
        """Return ``count`` different whole numbers, low ≤ n ≤ high."""
        return self.random.sample(range(low, high + 1), count)

    def normal(self, *shape, scale=1.0, shift=0.0):
        """Return a float32 tensor of normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float32) * scale + shift

    def maps(self, *shape, contrast=1.0, spread=1.0, each_image=False):
        """Draw maps (N, C, H, W) whose channels differ in mean and contrast, as after a convolution.

        Args:
            shape: N, C, H, W.
            contrast: a typical standard deviation within a channel; small ones show a wrong epsilon.
            spread: how much contrasts differ.
            each_image: True to let the images differ in the same way.
        """
        each = (shape[0] if each_image else 1), shape[1], 1, 1
        return self.normal(*shape) * contrast * self.normal(*each, scale=spread).exp() + self.normal(*each)


class Trial(Draw):
    """One judging of an answer, handed to every finding: fresh numbers, and what the findings share.

    Args:
        seed: see ``Draw``.

    Attributes:
        shared: what one finding leaves to the next, by a key of its own.
        measured: what the report is to carry, by name, plain values.
    """

    def __init__(self, seed=None):
        super().__init__(seed)
        self.shared, self.measured = {}, {}

    def once(self, function, answer):
        """Call a function (answer, trial) the first time; later give what came then, or raise it again."""
        if function not in self.shared:
            try:
                self.shared[function] = function(answer, self), None
            except (Complaint, Unjudged) as error:
                self.shared[function] = None, error
        value, error = self.shared[function]
        if error is not None:
            raise error
        return value


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
    """Return ``probes.READY``, STUB or MISSING, or the complaint that stands in the way of all findings."""
    try:
        status = answer.ask(probes.status, name=name)
        if status in (probes.MISSING, probes.STUB):
            return status
        foreign = answer.ask(probes.own_work, name=name, given=exercise.given, refused=exercise.refused,
                             lesson=exercise.lesson)
        if type(foreign) is not str or status != probes.READY:
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
    verdicts = (inquiry.verdict(name) for inquiry in trial.inquiries.values())
    complaint = complaint or next(filter(None, verdicts), None)
    if complaint is None:
        return Finding(name, True, points, points, "")
    return Finding(name, False, 0.0, points, str(complaint), complaint.cause or complaint.statement)


def _absence(needs, states):
    for name in needs:
        if states[name] == probes.MISSING:
            return Complaint(f"{name} is not defined. Run the cell that defines it, or check its spelling.")
    for name in needs:
        if states[name] == probes.STUB:
            return Complaint(NOT_ATTEMPTED)
    return next((states[name] for name in needs if states[name] != probes.READY), None)
