"""How grading grows, in two ways.

``python benchmarks/grade_class.py`` grades a made class with a stand-in that judges at once, so that only the grader's
own work is timed; 1,500 students hand in about 2,800 notebooks. It runs twice: the second time nothing is judged again.

``python benchmarks/grade_class.py --judge dense_block --students 1000`` has right answers to one exercise judged in
earnest, each a little different, and tells what that took and what it left behind; ``grading.json`` has the figures.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import provenance, results_file, summarise
from densenet_course.cli.masters import STUDENT, stem
from densenet_course.files import write_json
from densenet_course.grading.judging import Worker
from densenet_course.grading.reports.write import write
from densenet_course.grading.run import Wishes, grade
from densenet_course.grading.server import family
from tests import classroom

LOG = "GRADE_CLASS_LOG"  # names the file into which workers write what each verdict took
EVERY = 10  # verdicts, of a worker: how often it is counted what is left


class Timed(Worker):
    """A worker that notes what each verdict took, and now and then what its process holds afterwards."""

    judged = 0

    def judge(self, order):
        """See ``Worker.judge``."""
        wall, cpu = time.monotonic(), time.process_time()
        verdict = super().judge(order)
        row = {"judge": time.process_time() - cpu, "wall": time.monotonic() - wall, "points": verdict.points,
               "status": verdict.status, "pid": os.getpid()}
        self.judged += 1
        if self.judged % EVERY == 0:
            row |= held() | {"cells": self._living()}
        with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        return verdict

    def _living(self):
        """Count the processes of cells that should have ended."""
        return len(set(family(self.zygote.process.pid)) - set(self.zygote.known)) if self.zygote else 0


def held():
    """Count what a process could leave behind: open descriptors, mounts, and the grader's folders and files."""
    temporary = Path(tempfile.gettempdir())
    return {"descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
            "files": len(list(temporary.glob("grading-*")))}


def stand_in(students):
    """Make a class, grade it twice with the stand-in, and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        submissions, out = Path(folder) / "submitted", Path(folder) / "grades"
        classroom.make(submissions, students)
        wishes = Wishes(due=classroom.DUE, workers=2, isolated=False, worker="tests.stand_in:Quick")
        for run in ("first", "second"):
            start = time.perf_counter()
            judged, infra = grade(submissions, out, classroom.RELEASES, wishes)
            middle = time.perf_counter()
            write(out, classroom.RELEASES)
            end = time.perf_counter()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{run}: {judged:,} judged in {middle - start:.1f} s, {infra} INFRA; pages in {end - middle:.1f} s; "
                  f"CPU {time.process_time():.1f} s so far; at most {memory:,.0f} MB", flush=True)


def in_earnest(exercise, students, workers):
    """Have right answers judged in their boxes, and print what that took and what was left."""
    with tempfile.TemporaryDirectory() as folder:
        submissions, log = Path(folder) / "submitted", Path(folder) / "log"
        os.environ[LOG] = str(log)
        book = json.loads(classroom.notebook(exercise))
        for number in range(students):
            place = submissions / f"student{number:05}" / f"{stem(exercise)}.ipynb"
            place.parent.mkdir(parents=True)
            place.write_text(json.dumps(book | {"metadata": book["metadata"] | {"student": number}}), encoding="utf-8")
        before, start = held() | {"processes": len(family(os.getpid()))}, time.perf_counter()
        _, infra = grade(submissions, Path(folder) / "grades", {exercise: STUDENT / f"{stem(exercise)}.ipynb"}, Wishes(
            workers=workers, worker="benchmarks.grade_class:Timed"))
        seconds = time.perf_counter() - start
        found = tell(list(map(json.loads, log.read_text().splitlines())), seconds, infra)
        after = held() | {"processes": len(family(os.getpid()))}
    print("left by the run:", {name: after[name] - before[name] for name in after})
    out = results_file("grading", device="cpu")
    kept = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    write_json(out, kept | {exercise: found | {"students": students, "workers": workers, "provenance": provenance()}})


def tell(rows, seconds, infra):
    """Print the figures of a run, and return some; the grader's tries of itself are among the rows."""
    steady = [row for row in rows if row["points"] == 10]
    late = [row for row in rows[len(rows) // 10:] if "cells" in row]
    print(f"{len(rows)} verdicts in {seconds:.0f} s: {60 * len(rows) / seconds:.0f} a minute with the start; {infra} "
          f"INFRA; {len(steady)} with 10 points")
    for name in ("judge", "wall"):
        values = [row[name] for row in steady]
        print(f"{name}: median {statistics.median(values):.2f} s, largest {max(values):.2f} s")
    for name in ("cells", "descriptors", "mounts", "files"):
        grown = {pid: [row[name] for row in late if row["pid"] == pid] for pid in {row["pid"] for row in late}}
        print(f"{name} of a worker after a tenth and at the end: {[(one[0], one[-1]) for one in grown.values()]}")
    return {"verdicts": len(rows), "seconds": round(seconds), "verdicts a minute": round(60 * len(rows) / seconds),
            "INFRA": infra, "CPU seconds of the judge": _spread([row["judge"] for row in steady]),
            "seconds of a verdict": _spread([row["wall"] for row in steady])}


def _spread(values):
    """Summarise numbers, of which there are too many to keep them all."""
    found = summarise(values, 3)
    return {part: found[part] for part in ("median", "min", "max")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", metavar="EXERCISE", help="judge right answers to this exercise in earnest")
    parser.add_argument("--students", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=2)
    wanted = parser.parse_args()
    if wanted.judge:
        in_earnest(wanted.judge, wanted.students, wanted.workers)
    else:
        stand_in(wanted.students)
