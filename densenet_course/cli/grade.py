"""The command ``densenet-course grade``: its options, and what it prints."""

import os
import sys
from pathlib import Path

EXPORTS = ("gradescope", "canvas", "moodle", "nbgrader")
REMEDY = ("Mend that, grade on another machine, or add --without-isolation: students' code then runs as ordinary "
          "processes of your account, and every page says so")


def add_options(parser):
    """Add the command's options to an ``argparse`` parser, and what runs it."""
    parser.add_argument("submissions", type=Path, metavar="SUBMISSIONS",
                        help="folder or zip file: of nbgrader, Canvas, Moodle, Gradescope, or one folder a student")
    parser.add_argument("--out", type=Path, required=True, metavar="GRADES",
                        help="folder for grades, feedback and the ledger; made if it is not there")
    parser.add_argument("--exercise", action="append", metavar="ID",
                        help="grade this exercise only; may be repeated (default: all that were handed in)")
    parser.add_argument("--roster", type=Path, metavar="FILE",
                        help="class list: your platform's CSV, or any CSV with a column id, username, email or name")
    parser.add_argument("--due", default="", metavar="DATE",
                        help="2026-12-01 (to the end of the day) or 2026-12-01T18:00, in this machine's time zone "
                             "unless the time names one; late work is marked and loses no points")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, default=max(1, os.cpu_count() or 1), metavar="N",
                       help="notebooks graded at a time (default: one for each core)")
    where.add_argument("--scheduler", default="", metavar="ADDRESS",
                       help="grade on a Dask cluster instead, for instance tcp://HOST:8786")
    parser.add_argument("--regrade", default="", metavar="STUDENT",
                        help="judge one student's notebooks again, changed or not; the name as in gradebook.csv")
    parser.add_argument("--export", default="", choices=EXPORTS,
                        help="write the grades, and for Canvas and Moodle the feedback, in the platform's form, too")
    parser.add_argument("--without-isolation", action="store_true",
                        help="grade without a sandbox, which is unsafe: students' code can read your files")
    parser.set_defaults(run=run)


def run(options):
    """Grade; return the exit status: 0 where every file that could be read has its grade, else 2."""
    from densenet_course.checks import EXERCISES
    from densenet_course.cli.masters import STUDENT, stem

    releases = {name: STUDENT / f"{stem(name)}.ipynb" for name in EXERCISES}
    _refuse(options, releases)
    try:
        from densenet_course.grading.reports.write import write
        from densenet_course.grading.run import Wishes, grade
    except ImportError as error:
        raise ValueError(f"grade needs {error.name}: python -m pip install 'densenet-course[grading]'") from error
    try:
        judged, infra = grade(options.submissions, options.out, releases, Wishes(
            exercises=tuple(options.exercise or ()), roster=options.roster, due=options.due, workers=options.workers,
            scheduler=options.scheduler, regrade=options.regrade, isolated=not options.without_isolation))
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it stopped", file=sys.stderr)
        return 130
    print(f"{judged:,} notebooks judged now")
    print("\n".join(write(options.out, releases, options.export)))
    if infra:
        print(f"{infra:,} could not be judged, which is no fault of the students and no 0; class.html says why. Run "
              "the same command again", file=sys.stderr)
    return 2 if infra else 0


def _refuse(options, releases):
    """Stop before anything is read where an option cannot be meant, or where nothing can be isolated."""
    for name in options.exercise or ():
        if name not in releases:
            raise ValueError(f"exercise: expected some of {', '.join(releases)}; got {name!r}")
    if options.workers < 1:
        raise ValueError(f"workers: expected at least 1, got {options.workers}")
    missing = [path for path in releases.values() if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no notebooks in {missing[0].parent}; they come with the course: install it anew")
    if not options.without_isolation and not options.scheduler:  # a cluster's machines look for themselves
        from densenet_course.grading.box import isolation

        level, reason = isolation()
        if level != "full":
            raise ValueError(f"the notebooks cannot be isolated here: {reason}. {REMEDY}")
