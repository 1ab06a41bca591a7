"""Tell whether a name holds an answer, and whether the answer is the learner's own."""

import dis
import types

from torch import nn

from densenet_course.checks.engine import copies
from densenet_course.checks.engine.answer import probe
from densenet_course.checks.engine.own_work import foreign_to, refusal

READY, STUB, MISSING = "ready", "stub", "missing"
RULES = "rules of own work"  # beside the learner's objects; no name of theirs


@probe
def status(objects, name):
    """Tell whether a name is MISSING, still the STUB of the exercise, or READY to be judged."""
    if name not in objects:
        return MISSING
    return STUB if is_stub(objects[name]) else READY


def is_stub(value):
    """Tell whether an object is still what the exercise hands out: ``...``, or a body of ``...``."""
    if value is ... or value is None:
        return True
    kind = type(value)
    if kind in (staticmethod, classmethod):
        return is_stub(value.__func__)
    if issubclass(kind, type):
        return kind is type and _is_stub_class(value)
    return kind is types.FunctionType and _body(value) in _EMPTY_BODIES


def _is_stub_class(kind):
    """Tell whether a class has no code of its own, nor inherits any; only ``forward`` counts where there is one."""
    own = {name: value for name, value in vars(kind).items() if name not in _OF_EVERY_CLASS}
    if "forward" in own:
        return is_stub(own["forward"])
    inherits = any(base not in (object, nn.Module) for base in kind.__mro__[1:])
    return not inherits and all(map(is_stub, own.values()))


class _Bare:
    """What every class has: its name, its documentation and the like."""

    field: int


_OF_EVERY_CLASS = frozenset(vars(_Bare))


def _body(function):
    """Return what a function does, without its name, arguments and docstring."""
    constants = {c for c in function.__code__.co_consts if c is not None and not isinstance(c, str)}
    return [step.opname for step in dis.get_instructions(function)], function.__code__.co_names, constants


def _empty():
    ...


def _not_implemented():
    raise NotImplementedError


def _not_implemented_call():
    raise NotImplementedError()


class _Empty(nn.Module):
    def __init__(self):
        super().__init__()
        ...


_EMPTY_BODIES = [_body(f) for f in (_empty, _not_implemented, _not_implemented_call, _Empty.__init__)]


@probe
def own_work(objects, name, given, refused, lesson):
    """Look for work of others in what a name holds, and from now on in every network that ``build`` makes.

    The lesson's own cell, word for word, is work of others too.

    Args:
        objects: the learner's objects.
        name: which of them.
        given, refused: see ``own_work.foreign_to``.
        lesson: the stem of the lesson that shows how.

    Returns:
        What to say to the learner, or "".
    """
    objects[RULES] = given, refused, lesson
    found = foreign_to(objects[name], given, refused)
    if found:
        return refusal(found, lesson)
    return copies.REFUSAL if copies.is_lessons_cell(name, objects[name]) else ""
