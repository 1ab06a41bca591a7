"""Judge an answer: an exercise is a list of findings, each asked for on its own."""

import random
import secrets

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError
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
    """

    def __init__(self, name, *, names, title, lesson):
        self.name, self.names, self.title, self.lesson = name, tuple(names), title, lesson
        self.parts = []

    def finding(self, name, *, points, of=None):
        """Register a function (answer, draw) as a finding.

        Args:
            name: what it looks at, in a word or two.
            points: what it earns; it earns nothing by raising a ``Complaint``, or by returning a function that
                returns one when all findings have been looked for.
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
        explanations: what is known of the answer's mistakes so far, kept by ``mistakes.Solution``.
    """

    def __init__(self, seed=None):
        self.seed = secrets.randbits(31) if seed is None else seed
        self.random = random.Random(self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)
        self.explanations = {}

    def integer(self, low, high):
        """Return a whole number, low ≤ n ≤ high."""
        return self.random.randint(low, high)

    def sample(self, low, high, count):
        """Return ``count`` different whole numbers, low ≤ n ≤ high."""
        return self.random.sample(range(low, high + 1), count)

    def normal(self, *shape, scale=1.0, shift=0.0):
        """Return a float32 tensor of normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float32) * scale + shift


def judge(exercise, answer, seed=None):
    """Look for every finding of an exercise in an answer.

    Args:
        exercise: an ``Exercise``.
        answer: an ``Answer``; only its ``ask`` is used.
        seed: see ``Draw``.

    Returns:
        A ``Report``.
    """
    draw = Draw(seed)
    with preserved():
        states = {name: _status(answer, name) for name in exercise.names}
        outcomes = [_look(part, answer, draw, states) for part in exercise.parts]
    findings = (_finding(*part[:2], outcome) for part, outcome in zip(exercise.parts, outcomes, strict=True))
    return Report(exercise.name, tuple(findings))


def _status(answer, name):
    try:
        return answer.ask(probes.status, name=name)
    except AnswerError as error:
        return str(error)


def _look(part, answer, draw, states):
    """Look for one finding.

    Returns:
        None where the answer is right in it, else a ``Complaint``, or a function that gives one of the two when all
        findings have been looked for.
    """
    *_, needs, function = part
    absence = _absence(needs, states)
    if absence is not None:
        return Complaint(absence)
    try:
        return function(answer, draw)
    except Complaint as complaint:
        return complaint
    except Exception as error:  # an answer so strange that the judge stumbled; it is wrong in any case
        return Complaint(f"this could not be read as an answer ({type(error).__name__}: {error})")


def _finding(name, points, outcome):
    complaint = outcome() if callable(outcome) else outcome
    if complaint is None:
        return Finding(name, True, points, points, "")
    return Finding(name, False, 0.0, points, str(complaint), complaint.cause or complaint.statement)


def _absence(needs, states):
    for name in needs:
        if states[name] == probes.MISSING:
            return f"{name} is not defined. Run the cell that defines it, or check its spelling."
    for name in needs:
        if states[name] == probes.STUB:
            return NOT_ATTEMPTED
    return next((states[name] for name in needs if states[name] != probes.READY), None)
