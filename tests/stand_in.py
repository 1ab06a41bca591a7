"""Workers that stand in for the grader's own: one judges in this process, one only looks at the text."""

import hashlib
import os
import signal
from typing import ClassVar

from densenet_course.grading.crew import RIGHT
from densenet_course.grading.verdict import GRADED, Judged, Verdict

OURS = ("check(", "finish(", "compare(")


class InThisProcess:
    """Judges an order with the real checks, in this process: for harmless answers; equal ones once."""

    judged: ClassVar = {}

    def __init__(self, isolated=True):
        self.isolation = "full" if isolated else "none"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Hold nothing."""

    def judge(self, order):
        """Run the cells, and judge what they define."""
        key = order.exercise, order.cells, self.isolation
        if key not in self.judged:
            self.judged[key] = self._judge(order)
        return self.judged[key]

    def _judge(self, order):
        from densenet_course import checks
        from densenet_course.checks.engine.answer import InProcess
        from densenet_course.checks.engine.judge import judge

        names, errors = {}, []
        for number, source in enumerate(order.cells):
            try:
                if not source.startswith(OURS):
                    exec(compile(source, f"cell {number}", "exec"), names)
            except BaseException as error:
                errors.append((number, f"{type(error).__name__}: {error}"))
        found = checks.load(order.exercise)
        report = judge(found, InProcess({name: names[name] for name in found.names if name in names}), order.seed)
        findings = tuple(Judged(one.name, one.points, one.max_points, one.message) for one in report.findings)
        return Verdict(GRADED, findings, errors=tuple(errors), isolation=self.isolation)


class Quick(InThisProcess):
    """Gives points by the text alone, at once and without torch."""

    def judge(self, order):
        """Give ten points for the answer that the grader tries itself on, and else what a hash says."""
        digest = hashlib.sha256("\0".join([order.exercise, str(order.seed), *order.cells]).encode()).digest()
        points = 10.0 if RIGHT.strip() in order.cells[0] else float(digest[0] % 10)
        return Verdict(GRADED, (Judged("text", points, 10.0, "" if points == 10 else f"digest {digest[1]}"),),
                       isolation=self.isolation)


class Deadly(Quick):
    """Ends its own process when a notebook says so: a fault of ours."""

    def judge(self, order):
        """See ``Quick.judge``."""
        if any("def count_connections(n:" in cell for cell in order.cells):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().judge(order)


class Failing(Quick):
    """Has no descriptor left when a notebook says so."""

    def judge(self, order):
        """See ``Quick.judge``."""
        if any("def count_connections(n:" in cell for cell in order.cells):
            raise OSError(24, "Too many open files")
        return super().judge(order)


class Broken(Quick):
    """Gives every answer all points: what the grader's test of itself must find."""

    def judge(self, order):
        """Give ten points."""
        return Verdict(GRADED, (Judged("text", 10.0, 10.0),), isolation=self.isolation)
