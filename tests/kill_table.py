"""Print which mistakes the checks catch, and what they say: ``python -m tests.kill_table [ID …]``.

With ``--write`` the whole table goes to ``tests/answers/README.md``; a test holds it up to date. With ``--graded`` each
answer is handed in instead, graded outside its process, and held against what the notebook says.
"""

import argparse
import re
import sys
import time
from pathlib import Path

from densenet_course.checks import EXERCISES, run
from densenet_course.files import replacing
from densenet_course.grading.judging import Worker
from densenet_course.grading.verdict import Order
from tests import answers

SEED = 5
PAGE = Path(__file__).parent / "answers" / "README.md"
HEAD = """# The kill table

Every check is tried on answers that are right in different styles and must be accepted, and on answers that are wrong
in one way each and must be refused with the message that names the mistake. Made by
`.venv/bin/python -m tests.kill_table --write`; the answers are the modules of this folder.
"""


def main(arguments=None):
    """Print or write the table; exit with 1 when a right answer was refused or a wrong one not named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exercises", nargs="*", metavar="ID", help="exercises to try; by default all")
    parser.add_argument("--graded", action="store_true", help="hand each answer in, and compare with the notebook")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} beside the answers")
    options = parser.parse_args(arguments)
    chosen = options.exercises or EXERCISES
    if options.graded:
        with Worker() as worker:
            return int(sum(show_graded(exercise, worker) for exercise in chosen) > 0)
    failures = sum(show(exercise) for exercise in chosen)
    if options.write:
        with replacing(PAGE) as draft:
            draft.write_text(page(), encoding="utf-8")
    return int(failures > 0)


def show_graded(exercise, worker):
    """Grade all answers to one exercise, print where a finding is another than in the notebook, and count these."""
    tried = answers.load(exercise)
    labels = [*tried.right_answers, *tried.wrong_answers]
    found = [f"  {exercise}: {label}: {line}" for label in labels for line in differences(exercise, label, worker)]
    print(*found, f"{exercise}: {len(labels)} answers, {len(found)} findings others when graded", sep="\n", flush=True)
    return len(found)


def differences(exercise, label, worker):
    """Tell which findings on an answer are others when it is handed in and graded than in the notebook."""
    inside = run(exercise, answers.load(exercise).objects(label), seed=SEED)
    verdict = worker.judge(Order(exercise, (answers.cell(exercise, label),), SEED))
    graded = {finding.name: finding for finding in verdict.findings}
    return [f"{finding.name}: {finding.points:g} {finding.message!r}, but graded {found.points:g} {found.message!r} "
            f"({verdict.status}) {verdict.notes} {verdict.errors}"
            for finding in inside.findings for found in [graded[finding.name]]
            if (found.points, _said(found)) != (finding.points, _said(finding))]


def _said(finding):
    """Return a message without the number of a line: in a cell that is handed in it is another one."""
    return re.sub(r"line \d+ of", "line of", finding.message)


def show(exercise):
    """Try all answers to one exercise, print what came, and return how many came out otherwise than they should."""
    tried = answers.load(exercise)
    failures = 0
    print(f"\n{exercise}")
    for label, objects in tried.right_answers.items():
        start = time.process_time()
        report = run(exercise, objects)
        failures += not report.passed
        print(f"  {'accepted' if report.passed else 'REFUSED '}  {label}  ({time.process_time() - start:.1f} s CPU)")
        if not report.passed:
            print(report)
    for label, (objects, message) in tried.wrong_answers.items():
        report = run(exercise, objects)
        named = not report.passed and any(message in finding.message for finding in report.findings)
        failures += not named
        points = f"{report.points:g}/{report.max_points:g}"
        print(f"  {'refused ' if named else 'NOT NAMED'}  {label}  {points}  … {message} …")
        if not named:
            print(report)
    return failures


def page():
    """Write the table from the answers' expectations, which the tests hold."""
    lines, rows = [], []
    for exercise in EXERCISES:
        tried = answers.load(exercise)
        rows.append(f"| [{exercise}](#{exercise}) | {len(tried.right_answers)} | {len(tried.wrong_answers)} |")
        lines += ["", f"## {exercise}", "", f"Right: {'; '.join(tried.right_answers)}.", "",
                  "| mistake | the message says |", "|---|---|"]
        lines += [f"| {label} | {message} |".replace("\n", " ") for label, (_, message) in tried.wrong_answers.items()]
    right = sum(len(answers.load(name).right_answers) for name in EXERCISES)
    wrong = sum(len(answers.load(name).wrong_answers) for name in EXERCISES)
    table = ["| exercise | right, accepted | wrong, refused by name |", "|---|---|---|", *rows,
             f"| all | {right} | {wrong} |"]
    return "\n".join([HEAD, *table, *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
