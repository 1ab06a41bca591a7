"""Run everything CI runs, one part after the other, and print where the time went: ``make test``.

A part that fails does not keep the next from running. ``python tests/run_all.py ruff notebooks`` runs some parts only.
What takes gigabytes beside this environment, or a browser that is not here, is left out, and the last lines say so.
A Python file and no make rules, because the Windows runner has no make and the tests read the options from here.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this finds the others only from there

from tests.browser import chromium  # noqa: E402

CELL_TIMEOUT = 600  # seconds
WORKERS = 2  # test modules, and notebooks, side by side
SIDE_BY_SIDE = ["-n", str(WORKERS), "--dist", "loadscope"]
NBVAL = ["--nbval-lax", "--nbval-current-env", "-p", "tests.nbval_strict", *SIDE_BY_SIDE]
PARTS = {
    "ruff": ["ruff", "check", "densenet_course", "tests", "benchmarks", "notebooks", "docs",
             "address.py", "bootstrap.py", "lock.py"],
    "pytest": ["pytest", "tests", "--ignore=tests/browser", "--ignore=tests/installs", *SIDE_BY_SIDE, "--durations=10"],
    "notebooks": ["pytest", *NBVAL, f"--nbval-cell-timeout={CELL_TIMEOUT}"],
    "browser": ["pytest", "tests/browser", *SIDE_BY_SIDE, "--durations=5"],
    "installs": ["pytest", "tests/installs", "--durations=5"],
    "colab": ["tests.colab"],
}
INSTALLS = "links 12 GB into environments of their own; a job of its own in CI, and: python tests/run_all.py installs"
COLAB = "a job of its own in CI, and: make test-colab"


def main(names):
    """Run the named parts, or all; return 1 if any failed."""
    unknown = set(names) - set(PARTS)
    if unknown:
        sys.exit(f"parts: expected some of {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    left_out = reasons(names)
    results = [(name, *run(name)) for name in names or PARTS if name not in left_out]
    print("\npart        seconds  result")
    for name, seconds, status in results:
        print(f"{name:10} {seconds:8.1f}  {'ok' if status == 0 else f'FAILED (exit status {status})'}")
    for name in left_out:
        print(f"{name:10}        –  NOT RUN: {left_out[name]}")
    print(f"{'all':10} {sum(seconds for _, seconds, _ in results):8.1f}", flush=True)
    return int(any(status for _, _, status in results))


def reasons(names):
    """Say why a part is not run, by its name; what is named is run if it can be, and CI always has a browser."""
    found = {"installs": INSTALLS, "colab": COLAB, "browser": chromium.MISSING}
    can = {"installs": "installs" in names, "colab": "colab" in names,
           "browser": os.environ.get("CI") == "true" or chromium.find() is not None}
    return {name: found[name] for name in names or PARTS if not can.get(name, True)}


def run(name):
    """Run one part; return its seconds and exit status."""
    command = [sys.executable, "-m", *PARTS[name]]
    if name == "notebooks":
        folders = (ROOT / "notebooks", ROOT / "notebooks/exercises", ROOT / "notebooks/solutions")
        command += sorted(str(path.relative_to(ROOT)) for folder in folders for path in folder.glob("[0-9]*.ipynb"))
    print(f"\n== {name}", flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        # Kernels read none of the user's start-up files, and write none of their history.
        environment = dict(os.environ, IPYTHONDIR=home)
        if name != "ruff":  # processes that share a core wait for each other in every parallel loop
            environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // WORKERS))
        status = subprocess.run(command, cwd=ROOT, env=environment).returncode
    return time.perf_counter() - start, status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
