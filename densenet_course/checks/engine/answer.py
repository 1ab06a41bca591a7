"""The dialogue between judge and answer.

The judge asks; the answer's side runs a *probe* (one of our small functions) beside the learner's objects and reports
plain values: numbers, texts, tensors, and lists, tuples and dicts of them. That is the whole interface, so an answer
may live in this process or in another one: nothing else of it ever reaches the judge.
"""

import linecache
import time
import traceback
from pathlib import Path
from typing import Protocol

import torch

from densenet_course.checks.engine.state import ordinary, preserved
from densenet_course.checks.engine.timelimit import CPU_SECONDS, WALL_SECONDS, OutOfTime, call_with_limit
from densenet_course.checks.engine.wrong import Complaint

PROBES = {}
TIME_BUDGET = 12.0  # seconds that all endless loops of one answer may cost together


class AnswerError(Complaint):
    """The answer's side could not do what was asked."""


class Answer(Protocol):
    """What a check needs of an answer."""

    def ask(self, probe, **request):
        """Run a probe beside the learner's objects.

        Args:
            probe: a function marked with ``@probe``.
            request: its arguments, plain values.

        Returns:
            What the probe returns, plain values.

        Raises:
            AnswerError: the answer raised, loops, or returned what cannot be reported.
        """


def probe(function):
    """Mark a function (objects, **request) → plain values as one that may be asked for."""
    PROBES[f"{function.__module__}:{function.__qualname__}"] = function
    return function


def perform(objects, probe, request):
    """Run a probe on the answer's side; never raises.

    Args:
        objects: the learner's objects by name.
        probe: a function marked with ``@probe``.
        request: its arguments, plain values.

    Returns:
        {"value": …} or {"error": the fields of an ``AnswerError``}, plain values.
    """
    try:
        with ordinary():
            return {"value": plain(probe(objects, **request))}
    except AnswerError as error:
        return {"error": error.fields}
    except OutOfTime:
        return {"error": {"raised": "it ran out of time"}}
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: raised by the answer, not by the learner
        return {"error": raised(error)}


class InProcess:
    """An answer whose objects live in this process: the notebook's.

    Args:
        objects: the learner's objects by name.
    """

    def __init__(self, objects):
        self.objects = dict(objects)
        self.time_left = TIME_BUDGET
        self.endless = set()

    def ask(self, probe, *, cpu_seconds=CPU_SECONDS, **request):
        """See ``Answer.ask``; ``cpu_seconds`` is the time after which an endless loop is assumed."""
        name = request.get("name")
        if name in self.endless:
            raise AnswerError(f"{name} did not come back: is there a loop that never ends?")
        if self.time_left <= 0:
            raise AnswerError(f"not looked at: {' and '.join(sorted(self.endless))} used up the time; mend that first.")
        started = time.monotonic()
        try:
            with preserved():
                reply = call_with_limit(
                    lambda: perform(self.objects, probe, request),
                    cpu_seconds=cpu_seconds, wall_seconds=WALL_SECONDS / CPU_SECONDS * cpu_seconds,
                )
        except TimeoutError:
            self.endless.add(name)
            self.time_left -= time.monotonic() - started
            raise AnswerError(f"{name} did not come back: is there a loop that never ends?") from None
        if "error" in reply:
            what = ": ".join(filter(None, [_call(request), reply["error"].get("what")]))
            raise AnswerError(**reply["error"] | {"what": what})
        return reply["value"]


def _call(request):
    """Write what was called, where short enough."""
    if not isinstance(request.get("arguments"), list | tuple):
        return ""
    text = f"{request['name']}({', '.join(map(repr, request['arguments']))})"
    return text if len(text) <= 80 else f"{request['name']}(…)"


def plain(value):
    """Turn a reply into plain values; tensors are copied to the CPU.

    Raises:
        AnswerError: it holds something that is not plain.
    """
    if isinstance(value, torch.Tensor):
        if value.is_sparse or value.is_quantized:
            raise AnswerError("expected an ordinary dense tensor")
        return value.detach().as_subclass(torch.Tensor).to("cpu", copy=True)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    raise AnswerError(f"expected numbers and tensors, got {kind_of(value)}")


def kind_of(value):
    """Say in a few words what an object is."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if value is None:
        return "None"
    if value is ...:
        return "..."
    article = "an" if type(value).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def describe(error):
    """Say in one text what an answer raised, and in which of its lines."""
    return str(AnswerError(**raised(error)))


def raised(error):
    """Say what an answer raised, and in which of its lines: two fields of a ``Complaint``."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of the learner's that cannot be written
        text = ""
    text = text if len(text) <= 160 else text[:157] + "..."
    return {"raised": f"it raised {type(error).__name__}{': ' if text else ''}{text}", "line": _line(error)}


def _line(error):
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if not _is_library(frame.filename):
            line = (linecache.getline(frame.filename, frame.lineno) or "").strip()
            where = f"line {frame.lineno} of your cell: {line}" if line else ""
    return where


def _is_library(filename):
    here = str(Path(__file__).resolve().parents[2])
    return filename.startswith((here, "<frozen")) or any(
        part in filename for part in ("site-packages", "dist-packages", "lib/python", "lib\\")
    )
