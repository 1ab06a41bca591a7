"""Judge a function of plain numbers on several cases, and find the one mistake that explains all its replies."""

import math

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.wrong import Wrong


def whole(answer, name, arguments):
    """Ask for an integral number; a float is taken too, so that its type can be judged apart from its value.

    Raises:
        AnswerError: what came is no number, or the answer raised.
    """
    try:
        return answer.ask(probes.call, name=name, arguments=list(arguments), result="int")["result"]
    except AnswerError as error:
        try:
            return real(answer, name, arguments)
        except AnswerError:
            raise error from None  # its words are those for whole numbers


def real(answer, name, arguments):
    """Ask for a number.

    Raises:
        AnswerError: what came is no number, or the answer raised.
    """
    return answer.ask(probes.call, name=name, arguments=list(arguments), result="float")["result"]


def expect_values(answer, name, cases, oracle, *, ask=whole, same=None, because=None, suspects=(), context=()):
    """Compare what a function gives with an oracle, case by case.

    Args:
        answer: an ``Answer``.
        name: the learner's function.
        cases: tuples of positional arguments.
        oracle: a function of the same arguments.
        ask: ``whole`` or ``real``.
        same: a function (expected, got, *case) → bool; by default equality.
        because: a function of the arguments that says how the expected value comes about.
        suspects: pairs (function of the same arguments with a known mistake, message that names it).
        context: further cases; they are not judged, and only tell one mistake from another.

    Raises:
        Wrong: a value differs.
        AnswerError: the answer raised, or gave no number.
    """
    same = same or (lambda expected, got, *case: expected == got)
    got = [ask(answer, name, case) for case in cases]
    for case, value in zip(cases, got, strict=True):
        if same(oracle(*case), value, *case):
            continue
        what = f"{name}({', '.join(map(repr, case))})"
        again = ask(answer, name, case)
        if shown(again) != shown(value):
            raise Wrong(what, cause=f"called twice, it gave {shown(value)} and then {shown(again)}. "
                        "Is something kept between calls?")
        reason = because(*case) if because else ""
        seen = [*zip(cases, got, strict=True), *_context(answer, name, context, ask)]
        cause = _cause(seen, same, suspects)
        raise Wrong(what, f"{shown(oracle(*case))} {reason}".rstrip(), shown(value), cause)


def _context(answer, name, cases, ask):
    seen = []
    for case in cases:
        try:
            seen.append((case, ask(answer, name, case)))
        except AnswerError:
            return []
    return seen


def _cause(seen, same, suspects):
    for function, message in suspects:
        if all(_fits(function, case, value, same) for case, value in seen):
            return message
    if len(seen) > 1 and len({value for _, value in seen}) == 1 and math.isfinite(seen[0][1]):
        return "All inputs that were tried gave the same."
    return ""


def _fits(function, case, value, same):
    try:
        return same(function(*case), value, *case)
    except ArithmeticError:  # the known mistake divides by zero here
        return False


def shown(value):
    """Write a number in short."""
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else "a number of more than 15 digits"
    return f"{value:.6g}"
