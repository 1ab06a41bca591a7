"""A student's notebook as an answer: run in a cell, asked by the judge, started anew where it hangs or dies."""

import time

from densenet_course.checks.engine.answer import AnswerError, Unjudged
from densenet_course.grading import given
from densenet_course.grading.lessons import copied
from densenet_course.grading.sandbox import Cell, Ended
from densenet_course.grading.server import Infra

FRESH_CELLS = 2  # after the first: a loop that never ends costs its own name's points only
SETUP_SECONDS = 60.0
FIELDS = ("what", "expected", "got", "cause", "where", "raised", "line")


class Student:
    """An ``Answer`` whose objects live in a cell; a context manager.

    Args:
        zygote: a ``sandbox.Zygote``.
        exercise: an ``Exercise``.
        order: an ``Order``.
        limits: ``sandbox.Limits``.

    Attributes:
        errors: number of a code cell → what it raised.
        limit: the first limit that was met, in words, or "".
        output: what was printed.
        copied: whether an answer is a lesson's own cell.
        infra: the ``Infra`` that has ended the judging, or None.
        died: whether a process was gone, the student's or one that works for them.
    """

    def __init__(self, zygote, exercise, order, limits):
        self.zygote, self.exercise, self.order, self.limits = zygote, exercise, order, limits
        self.errors, self.limit, self.output = {}, "", ""
        self.cell, self.dead, self.fresh = None, "", FRESH_CELLS
        self.copied, self.infra, self.died = False, None, False
        self.skipped, self.withheld, self.used = {}, {}, 0.0
        self._start()

    def _start(self):
        """Run the notebook in a fresh cell, as often as it takes and as there are cells left."""
        while self.cell is None and not self.dead:
            self.cell = Cell(self.zygote, self.limits)
            begin(self.cell, self.exercise, self.order.seed)
            try:
                self._run_notebook()
            except Ended as error:
                self._bury(error)

    def _run_notebook(self):
        self.errors, start = dict(self.skipped), time.monotonic()
        for number, source in enumerate(self.order.cells):
            if number in self.skipped:
                continue
            left = self.limits.notebook_seconds - (time.monotonic() - start)
            try:
                reply = self._talk(min(self.limits.cell_seconds, max(left, 0.0)), do="run", source=source)
            except Ended as error:
                self.skipped[number] = str(error)
                self.errors[number] = str(error)
                raise
            error = reply.get("value", reply.get("error"))
            if error is not None:
                self.errors[number] = str(error)

    def _talk(self, seconds, **message):
        left = self.limits.exercise_seconds - self.used
        start = time.monotonic()
        try:
            return self.cell.talk(min(seconds, max(left, 0.0)), **message)
        finally:
            self.used += time.monotonic() - start

    def _bury(self, error):
        """End a cell; from the third on, or when the time is used up, there is no other."""
        self.limit, self.died = self.limit or error.limit, self.died or error.died
        self.fresh -= 1
        if self.fresh < 0 or self.used >= self.limits.exercise_seconds:
            self.dead = str(error)
        self._close_cell()

    def _close_cell(self):
        if self.cell is not None:
            cell, self.cell = self.cell, None
            self.output = cell.output
            cell.close()

    def ask(self, probe, *, cpu_seconds=None, **request):
        """See ``checks.engine.answer.Answer``."""
        if probe.__name__ in given.JUDGES:
            found = copied(request["name"], self.order.cells)
            self.copied = self.copied or bool(found)
            return found
        return self.ask_by_name(f"{probe.__module__}:{probe.__qualname__}", cpu_seconds, request)

    def ask_by_name(self, probe, cpu_seconds, request):
        """Ask for a probe by "module:function"; see ``ask``."""
        try:
            return self._ask(probe, cpu_seconds, request)
        except Infra as error:
            self.infra = error
            raise Unjudged(str(error)) from None

    def _ask(self, probe, cpu_seconds, request):
        name = request.get("name")
        if name in self.withheld or self.dead:
            raise AnswerError(self.withheld.get(name) or self.dead)
        try:
            reply = self._talk(self.limits.ask_seconds, do="ask", request=request, cpu_seconds=cpu_seconds,
                               probe=probe)
            return value_of(reply)
        except Ended as error:
            self.withheld[name] = f"{name}: {error}"
            self._bury(error)
            self._start()
            raise AnswerError(self.withheld[name]) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._close_cell()


def begin(cell, exercise, seed):
    """Give a cell its part of the course.

    Raises:
        Infra: it does not take it; no code of the student's has run yet.
    """
    files, modules = given.files(exercise.name)
    hidden = [name for name in exercise.refused if name != given.COURSE]
    try:
        cell.talk(SETUP_SECONDS, do="begin", exercise=exercise.name, files=files, modules=modules,
                  names=list(exercise.names), hidden=hidden, seed=seed)
    except Ended as error:
        raise Infra(f"a cell does not begin: {error}; {cell.output[-500:]}") from None


def value_of(reply):
    """Return what a reply holds.

    Raises:
        AnswerError: the answer's side could not do what was asked.
        Ended: this is no reply.
    """
    error = reply.get("error")
    if type(error) is dict:
        raise AnswerError(**{key: text for key, text in error.items() if key in FIELDS and type(text) is str}
                          or {"what": "an error came back without words"})
    if "value" not in reply:
        raise Ended("its process wrote something that is no reply")
    return reply["value"]
