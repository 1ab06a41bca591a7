"""Grade a class with the quick stand-in, in a process without torch: ``python -m tests.quick_run SUBMISSIONS OUT``."""

import sys
from pathlib import Path

from densenet_course.grading.run import Wishes, grade

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks" / "exercises"
RELEASES = {path.stem[3:]: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}

if __name__ == "__main__":
    print(grade(sys.argv[1], sys.argv[2], RELEASES, Wishes(
        due="2026-03-01", workers=2, isolated=False, worker="tests.stand_in:Quick")))
