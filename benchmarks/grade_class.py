"""How grading grows: a made class with a stand-in that judges at once, so that only the grader's own work is timed.

``python benchmarks/grade_class.py [STUDENTS]`` prints seconds and the main process's memory; 1,500 students hand in
about 2,800 notebooks. Run it again with the same folder: what stands in the ledger is not judged again.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from densenet_course.grading.reports.write import write
from densenet_course.grading.run import Wishes, grade
from tests import classroom


def main(students):
    """Make a class, grade it twice, and print what that took."""
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


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1500)
