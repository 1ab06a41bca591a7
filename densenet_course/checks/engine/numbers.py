"""Read the numbers that an answer returns, and say what is wrong with what is none."""

import inspect
import math
import operator

import torch

from densenet_course.checks.engine.answer import AnswerError, kind_of
from densenet_course.checks.engine.explain import returned_nothing


def as_int(value):
    """Return any integral number as an ``int``.

    Raises:
        AnswerError: it is none; a whole float gets its own message.
    """
    if isinstance(value, torch.Tensor) and value.ndim:
        raise AnswerError(f"expected one whole number, got {kind_of(value)}")
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        number = float(None if isinstance(value, str | bytes) else value)
    except Exception:
        raise AnswerError("", "a whole number (int)", _shown(value), returned_nothing(value)) from None
    if not math.isfinite(number):
        raise AnswerError(f"expected a whole number (int), got {number}.")
    if number == math.floor(number):
        raise AnswerError(f"expected a whole number (int), got the float {number}. Use // where you divide.")
    raise AnswerError(f"expected a whole number (int), got the float {number:g}. Use // where you divide.")


def as_float(value):
    """Return a Python or NumPy number or a 0-dim tensor as a ``float``.

    Raises:
        AnswerError: it is none.
    """
    if isinstance(value, str | bytes) or (isinstance(value, torch.Tensor) and value.ndim):
        raise AnswerError(f"expected one number, got {_shown(value)}")
    try:
        return float(value)
    except Exception:
        raise AnswerError("", "one number (float)", _shown(value), returned_nothing(value)) from None


def as_ints(value):
    """Return a list or tuple of integral numbers as a list of ``int``.

    Raises:
        AnswerError: it is none.
    """
    if not isinstance(value, list | tuple):
        hint = "Wrap it in list(...)." if inspect.isgenerator(value) else returned_nothing(value)
        raise AnswerError("", "a list of whole numbers", _shown(value), hint)
    return [as_int(item) for item in value]


RESULTS = {"int": as_int, "float": as_float, "ints": as_ints}


def _shown(value):
    return kind_of(value) if value is None or value is ... or not isinstance(value, int | float | str) else repr(value)
