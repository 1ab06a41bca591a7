"""Judge every right answer of the tests while other programs keep the processor busy; none may be refused.

    python benchmarks/checks_under_load.py                              20 times each, beside two busy loops
    python benchmarks/checks_under_load.py memory features --runs 5     some exercises, fewer times

The capstone is left out unless it is named: each of its answers trains a network. The exit status is 1 where a right
answer was refused.
"""

import argparse
import contextlib
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from densenet_course.checks import EXERCISES, run
from tests import answers

BUSY = [sys.executable, "-c", "while True: pass"]


@contextlib.contextmanager
def busy(loops):
    """Keep so many programs busy while the body runs."""
    processes = [subprocess.Popen(BUSY) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def refusals(exercise, runs):
    """Judge the right answers to an exercise so many times; print each refusal, and return (judged, refused)."""
    right = answers.load(exercise).right_answers
    refused = 0
    for label, objects in right.items():
        for _ in range(runs):
            report = run(exercise, objects)
            if not report.passed:
                refused += 1
                print(f"refused: {label}\n{report}", flush=True)
    return len(right) * runs, refused


def main():
    parser = argparse.ArgumentParser(description="Judge right answers beside programs that keep the processor busy.")
    parser.add_argument("exercises", nargs="*", metavar="ID", help="by default all but the capstone")
    parser.add_argument("--runs", type=int, default=20, help="how often each answer is judged (%(default)s)")
    parser.add_argument("--loops", type=int, default=2, help="busy programs beside it (%(default)s)")
    options = parser.parse_args()
    total = 0
    with busy(options.loops):
        for exercise in options.exercises or [name for name in EXERCISES if name != "capstone"]:
            start = time.monotonic()
            judged, refused = refusals(exercise, options.runs)
            total += refused
            print(f"{exercise:12} {judged:4} judged, {refused} refused, {time.monotonic() - start:.0f} s", flush=True)
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
