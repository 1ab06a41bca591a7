"""The dialogue between judge and answer.

The judge asks; the answer's side runs a *probe* (one of our small functions) beside the learner's objects and reports
plain values: numbers, texts, tensors, and lists, tuples and dicts of them. That is the whole interface, so an answer
may live in this process or in another one: nothing else of it ever reaches the judge.
"""

import linecache
import traceback
from pathlib import Path
from typing import Protocol

import torch

import densenet_course
from densenet_course.checks.engine import timelimit
from densenet_course.checks.engine.plain import class_name, cut, kind_of, plain
from densenet_course.checks.engine.state import ordinary, preserved
from densenet_course.checks.engine.timelimit import OutOfTime, TimeIsUp, call_with_limit
from densenet_course.checks.engine.wrong import AnswerError, Complaint

__all__ = ["PROBES", "Answer", "AnswerError", "InProcess", "Unjudged", "describe", "kind_of", "perform", "plain",
           "probe", "raised", "with_call"]

PROBES = {}
LIBRARIES = str(Path(torch.__file__).parents[1])
MAX_FIELD = 600  # letters of a field of a complaint
SECOND_TIME = 0.5  # of the time that the first had: what is loaded on first use is there by then


class Unjudged(Exception):
    """Our side failed, so this says nothing about the answer; the message is for the learner."""


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
        return {"error": texts(error)}
    except OutOfTime:
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: raised by the answer, not by the learner
        return {"error": raised(error)}


class InProcess:
    """An answer whose objects live in this process: the notebook's.

    Args:
        objects: the learner's objects by name.
    """

    def __init__(self, objects):
        self.objects = dict(objects)
        self.withheld = {}  # name → why it is not asked any more
        self.interrupted = False

    def ask(self, probe, *, cpu_seconds=None, **request):
        """See ``Answer.ask``; ``cpu_seconds`` is the time after which an endless loop is assumed.

        Raises:
            Unjudged: no thread or file is to be had.
        """
        name = request.get("name")
        if name in self.withheld:
            raise AnswerError(self.withheld[name])
        try:
            reply = self._ask_twice(probe, request, cpu_seconds or timelimit.CPU_SECONDS)
        except TimeIsUp as over:
            cause = "is there a loop that never ends?" if over.computing else "does it sleep, or wait for something?"
            self.withheld[name] = f"{name} did not come back {over}: {cause}"
            raise AnswerError(self.withheld[name]) from None
        except (OSError, MemoryError, RuntimeError) as error:  # no descriptor, no memory, no thread
            raise Unjudged(f"the check itself could not go on ({describe(error)}); start the notebook anew") from None
        if "error" in reply:
            raise AnswerError(**with_call(reply["error"], request))
        return reply["value"]

    def _ask_twice(self, probe, request, cpu_seconds):
        """Ask; who ran out of time is asked once more, unless it could not be stopped and still computes."""
        try:
            return self._ask(probe, request, cpu_seconds, timelimit.IDLE_SECONDS)
        except TimeIsUp as over:
            if over.computing and not over.stopped:
                raise
            first = over
        try:
            return self._ask(probe, request, SECOND_TIME * cpu_seconds, SECOND_TIME * timelimit.IDLE_SECONDS)
        except TimeIsUp:
            raise first from None

    def _ask(self, probe, request, cpu_seconds, idle_seconds):
        if self.interrupted:
            raise AnswerError("not looked at: the check was interrupted.")
        given = plain(request)  # a copy: the answer must not reach what the judge compares with
        try:
            with preserved():
                return call_with_limit(lambda: perform(self.objects, probe, given),
                                       cpu_seconds=cpu_seconds, idle_seconds=idle_seconds)
        except (TimeIsUp, OSError, MemoryError, RuntimeError):
            raise
        except BaseException as error:  # Ctrl-C, or thrown into this thread by the answer: an end in any case
            self.interrupted = True
            raise AnswerError(f"the check was interrupted ({type(error).__name__}).") from None


def with_call(error, request):
    """Return the fields of a complaint, which begins with what was called, where that is short enough."""
    call, what = _call(request), error.get("what") or ""
    return error | {"what": what if what.startswith(call) else f"{call}: {what}" if what else call}


def _call(request):
    if not isinstance(request.get("arguments"), list | tuple):
        return ""
    text = f"{request['name']}({', '.join(map(repr, request['arguments']))})"
    return text if len(text) <= 80 else f"{request['name']}(…)"


def describe(error):
    """Say in one text what an answer raised, and in which of its lines."""
    return str(AnswerError(**raised(error)))


def raised(error):
    """Say what an answer raised, and in which of its lines: two fields of a ``Complaint``.

    Nothing of the exception's own is trusted.
    """
    try:
        text = " ".join(str.split(str(error)))
    except BaseException:  # an exception of the learner's that cannot be written, or raises when it is
        text = ""
    return {"raised": f"it raised {class_name(type(error))}{': ' if text else ''}{cut(text, 160)}",
            "line": _line(error)}


def texts(complaint):
    """Return a complaint's fields as texts, cut and cleaned, whatever the answer's side put into them."""
    fields = Complaint.fields.fget(complaint)
    return {name: cut(value, MAX_FIELD) for name, value in fields.items() if type(value) is str and value}


def _line(error):
    where = ""
    for frame in traceback.extract_tb(BaseException.__traceback__.__get__(error)):
        if not _is_library(frame.filename):
            line = (linecache.getline(frame.filename, frame.lineno) or "").strip()
            where = f"line {frame.lineno} of your cell: {cut(line, 160)}" if line else ""
    return where


def _is_library(filename):
    here = *densenet_course.__path__, str(Path(__file__).resolve().parents[2])
    return filename.startswith((*here, LIBRARIES, "<frozen")) or any(
        part in filename for part in ("site-packages", "dist-packages", "lib/python", "lib\\")
    )
