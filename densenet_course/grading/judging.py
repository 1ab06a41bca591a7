"""From an order to a verdict: the judge has the numbers, the comparison and the clock; the student's code is elsewhere.

Where an exercise asks for modules the judge plays them itself (``committed``); what stays a *claim* of the student's
process earns points under conditions only (``claims``).
"""

import torch

from densenet_course import checks
from densenet_course.checks.engine.judge import judge
from densenet_course.checks.engine.plain import cut
from densenet_course.grading.box import isolation
from densenet_course.grading.claims import gate
from densenet_course.grading.committing import COMMITTED, Committing
from densenet_course.grading.counting import Counting
from densenet_course.grading.sandbox import Limits
from densenet_course.grading.server import Infra, Zygote
from densenet_course.grading.student import Student
from densenet_course.grading.verdict import GRADED, INFRA, LIMIT, NOT_OWN_WORK, Verdict

__all__ = ["Infra", "Worker", "isolation"]
TRIES = 3
MORE = {  # limits that an exercise raises
    "densenet": {"ask_seconds": 60.0, "exercise_seconds": 300.0},
    "densenet121": {"ask_seconds": 60.0, "exercise_seconds": 300.0},
    "capstone": {"ask_seconds": 60.0, "exercise_seconds": 300.0},
}


class Worker:
    """Judges one order after another; a context manager.

    Args:
        isolated: whether students' code runs in boxes; otherwise in plain processes.
        limits: ``sandbox.Limits`` for every exercise; by default each exercise's own.

    Raises:
        Infra: no box can be started.
    """

    def __init__(self, isolated=True, limits=None):
        self.isolated, self.limits, self.zygote = isolated, limits, None
        self.zygote = Zygote(isolated)

    def judge(self, order):
        """Judge an order; where our side fails try again with a fresh fork server.

        Args:
            order: an ``Order``.

        Returns:
            A ``Verdict``; its status is INFRA where our side failed each time.
        """
        for _ in range(TRIES):
            threads = torch.get_num_threads()
            torch.set_num_threads(1)  # small networks; and the workers beside this one have the other cores
            try:
                if self.zygote is None:
                    self.zygote = Zygote(self.isolated)
                return self._judge(order)
            except Exception as error:  # a fault of ours, of whatever kind: it says nothing about the student
                reason = f"{type(error).__name__}: {error}"
                self.close()
            finally:
                torch.set_num_threads(threads)
        return Verdict(INFRA, isolation=self._level, notes=(cut(reason),))

    @property
    def _level(self):
        return "full" if self.isolated else "none"

    def _judge(self, order):
        """Judge, and once more where a process was gone: it may have been killed, as Linux does when memory is short.

        What ends itself does so again, and then it counts.
        """
        verdict, died = self._judge_once(order)
        return self._judge_once(order)[0] if died else verdict

    def _judge_once(self, order):
        """Return a verdict, and whether a process was gone."""
        exercise, note, died = checks.load(order.exercise), "", False
        limits = self.limits or Limits(**MORE.get(order.exercise, {}))
        if exercise.name in COMMITTED:
            with (Student(self.zygote, exercise, order, limits) as student,
                  Committing(student, limits) as answer):
                report = judge(exercise, answer, order.seed)
            if not answer.refused or student.infra:
                return self._verdict(student, report, committed=True), student.died
            note, died = f"not committed: {answer.refused}", student.died
        with Student(self.zygote, exercise, order, limits) as student:
            if exercise.name == "memory":
                with Counting(student, limits) as answer:
                    report = judge(exercise, answer, order.seed)
            else:
                report = judge(exercise, student, order.seed)
        return self._verdict(student, report, committed=False, note=note), died or student.died

    def _verdict(self, student, report, committed, note=""):
        if student.infra:
            raise student.infra
        findings = gate(report.exercise, report.findings, committed, cut(note, 160))
        errors = tuple((number, cut(text)) for number, text in sorted(student.errors.items()))
        return Verdict(_status(student), findings, limit=student.limit, errors=errors,
                       output=student.output, isolation=self._level, committed=committed,
                       notes=(cut(note),) * bool(note))

    def close(self):
        """End the fork server."""
        if self.zygote is not None:
            zygote, self.zygote = self.zygote, None
            zygote.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _status(student):
    if student.copied:
        return NOT_OWN_WORK
    return LIMIT if student.limit else GRADED

