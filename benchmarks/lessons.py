"""Time every lesson from its first cell to its last: ``python benchmarks/lessons.py``; run it on a quiet machine.

With names, ``09_memory_and_speed`` for instance, only these are timed and the others keep their figures. ``--quick``
times the first lesson only and writes to runs/.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from harness import REPOSITORY, provenance

from densenet_course.files import write_json

NBCONVERT = [sys.executable, "-m", "jupyter", "nbconvert", "--log-level", "ERROR", "--to", "notebook", "--execute"]


def seconds(notebook):
    """Execute a lesson, kernel start included, and throw the outputs away."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([*NBCONVERT, "--ExecutePreprocessor.timeout=900", "--output-dir", folder, notebook], check=True,
                       env=dict(os.environ, IPYTHONDIR=folder))
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="default: all")
    parser.add_argument("--quick", action="store_true", help="the first lesson only")
    options = parser.parse_args()
    notebooks = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
    unknown = set(options.lessons) - {notebook.stem for notebook in notebooks}
    if unknown:
        parser.error(f"expected names of lessons, without .ipynb, got {', '.join(sorted(unknown))}")
    chosen = [n for n in notebooks if not options.lessons or n.stem in options.lessons]
    out = REPOSITORY / ("runs/quick" if options.quick else "benchmarks/results") / "lessons.json"
    found = json.loads(out.read_text())["seconds"] if options.lessons and out.exists() else {}
    for notebook in chosen[:1] if options.quick else chosen:
        found[notebook.stem] = round(seconds(notebook), 1)
        print(f"{notebook.stem:28} {found[notebook.stem]:6.1f} s", flush=True)
    write_json(out, {"seconds": dict(sorted(found.items())), "provenance": provenance()})


if __name__ == "__main__":
    main()
