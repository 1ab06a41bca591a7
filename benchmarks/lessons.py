"""Time every lesson from its first cell to its last: ``python benchmarks/lessons.py``; run it on a quiet machine.

``--quick`` runs the first lesson only and writes to runs/.
"""

import argparse
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
    parser.add_argument("--quick", action="store_true", help="the first lesson only")
    options = parser.parse_args()
    notebooks = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
    folder = REPOSITORY / ("runs/quick" if options.quick else "benchmarks/results")
    found = {}
    for notebook in notebooks[:1] if options.quick else notebooks:
        found[notebook.stem] = round(seconds(notebook), 1)
        print(f"{notebook.stem:28} {found[notebook.stem]:6.1f} s", flush=True)
    write_json(folder / "lessons.json", {"seconds": found, "provenance": provenance()})


if __name__ == "__main__":
    main()
