"""Measure on a CUDA GPU what counts, in under ten minutes: ``make bench-gpu``, on Linux.

The steps, by their worth: the tests marked gpu; the table of ``peers.py``; the time to d2l's accuracy and to 0.93; four
lessons; torch.compile in the table. Each is a process of its own with a time limit. A step that fails keeps no other
from running; the last lines name it, and the exit status is 1. A finished step is kept in runs/gpu, and those that
measure keep every finished part, so a script that was stopped, or ran out of time, goes on when it is started again;
remove runs/gpu, runs/peers_gpu, runs/peers_gpu_compiled and runs/time_to_accuracy_gpu to measure anew. The results go
to benchmarks/results/*_gpu.json.

The environment may be any that has PyTorch with CUDA; this package need not be installed. A step whose packages are
missing names them. FashionMNIST is taken from data/; the sample in the package serves as well, and then the time to an
accuracy, which is none for the whole, goes to runs/quick. ``--rehearse`` takes the same way in moments, on a CPU.
"""

import argparse
import contextlib
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # the package may not be installed

from harness import already  # noqa: E402

from densenet_course.files import write_json  # noqa: E402

NBVAL = ("--nbval-lax", "--nbval-current-env", "-p", "tests.nbval_strict", "-n", "2", "--dist", "loadscope")
LESSONS = ("03_dense_block", "07_train_fashion_mnist", "08_densenet121", "09_memory_and_speed")
NETWORKS = ("torch", "torchvision", "numpy", "filelock")  # what networks and blocks import
PACKAGE = (*NETWORKS, "platformdirs", "tqdm")  # and what data and training do
COLLECT = ("--collect-only", "-q")  # pytest finds the tests and reads them, and runs none
PATIENCE = 10  # seconds a process has to end when it is asked to


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        name: of the step.
        command: what Python is given.
        rehearsal: what it is given instead when the step is rehearsed.
        seconds: its time limit.
        needs: names of the packages it needs.
    """

    name: str
    command: tuple
    rehearsal: tuple
    seconds: int
    needs: tuple = PACKAGE


def steps():
    """List the steps, the most important first."""
    marked = [str(path.relative_to(REPOSITORY)) for path in sorted((REPOSITORY / "tests").glob("test_*.py"))
              if "mark.gpu" in path.read_text(encoding="utf-8")]  # others may import what is not here
    tests = ("-m", "pytest", "-m", "gpu", *marked)
    lessons = ("-m", "pytest", *NBVAL, *(f"notebooks/{name}.ipynb" for name in LESSONS))
    peers, accuracy = "benchmarks/peers.py", ("benchmarks/time_to_accuracy.py", "--course")
    return (
        Step("tests", tests, (*tests, *COLLECT), 100, (*PACKAGE, "pytest")),
        Step("peers", (peers, "--gpu"), (peers, "--rehearse", "--repeats", "1"), 170, NETWORKS),
        Step("accuracy", (*accuracy, "--sample"), (*accuracy, "--quick"), 80),
        Step("lessons", lessons, (*lessons, *COLLECT), 130,
             (*PACKAGE, "matplotlib", "anywidget", "ipywidgets", "ipykernel", "nbval", "pytest-xdist")),
        Step("compiled", (peers, "--gpu", "--compiled"), (peers, "--rehearse", "--compiled", "--repeats", "1"), 100,
             (*NETWORKS, "triton")),
    )


def missing(packages):
    """List the packages that are not installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return [name for name in packages if name not in found]


def run(command, limit):
    """Run Python in a process group of its own, so that nothing of it outlives its time on the GPU.

    Args:
        command: what Python is given.
        limit: seconds, or None.

    Returns:
        Why it failed, or None.
    """
    with tempfile.TemporaryDirectory() as home:  # kernels read none of the user's start-up files
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, start_new_session=True,
                                   env=os.environ | {"PYTHONPATH": path, "IPYTHONDIR": home})
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"not done after {limit} s; what it finished is kept, and the next run goes on from there"
        finally:  # also when the user interrupts
            end(process)
    return None if status == 0 else f"exit status {status}"


def end(process):
    """End a process and all that it started: asked first, then killed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    with contextlib.suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(wanted, folder, *, rehearse=False):
    """Run the steps that no earlier run has finished.

    Args:
        wanted: the steps.
        folder: where it is kept which are finished.
        rehearse: whether they are rehearsed.

    Returns:
        name → (seconds, why it failed or None) of all; seconds are None for what was finished before.
    """
    found = {}
    for step in wanted:
        if already(folder, step.name):
            found[step.name] = None, None
            continue
        print(f"\n== {step.name}", flush=True)
        started, lacks = time.perf_counter(), missing(step.needs)
        why = (f"not run: it needs {', '.join(lacks)}; python -m pip install {' '.join(lacks)}" if lacks
               else run(step.rehearsal, None) if rehearse else run(step.command, step.seconds))
        found[step.name] = round(time.perf_counter() - started, 1), why
        if why is None:
            write_json(folder / f"{step.name}.json", {"seconds": found[step.name][0]})
    return found


def report(found):
    """Set out what came of the steps, a line for each."""
    yield "\nstep       seconds  result"
    for name, (seconds, why) in found.items():
        result = f"FAILED: {why}" if why else "ok" if seconds is not None else "ok, in an earlier run"
        yield f"{name:10} {'–' if seconds is None else seconds:>7}  {result}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="every step in moments, on a CPU, for CI")
    options = parser.parse_args()
    folder = REPOSITORY / ("runs/quick/gpu" if options.rehearse else "runs/gpu")
    if options.rehearse:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        import torch

        if not torch.cuda.is_available():
            parser.error("bench-gpu: expected a CUDA GPU, found none; make bench measures the CPU")
    found = run_all(steps(), folder, rehearse=options.rehearse)
    print("\n".join(report(found)), flush=True)
    sys.exit(any(why for _, why in found.values()))


if __name__ == "__main__":
    main()
