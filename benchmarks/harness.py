"""What every benchmark needs: where it ran, timings taken in turns, and a results file that is never half-written."""

import json
import os
import platform
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

from meter import OnCpu, seconds_of

from densenet_course.files import write_json

REPOSITORY = Path(__file__).resolve().parent.parent


def results_file(name, *, device, quick=False):
    """Say where the results of a benchmark go: those of a GPU have a file of their own, those of --quick a folder."""
    folder = REPOSITORY / ("runs/quick" if quick else "benchmarks/results")
    return folder / f"{name}{'_gpu' if device == 'cuda' else ''}.json"


def already(folder, key):
    """Return what a finished run left in a folder under this key, or None."""
    path = folder / f"{key}.json".replace(" ", "_")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def kept(folder, key, compute):
    """Return what a finished run left in a folder under this key, or compute, keep and print it.

    A script that was stopped goes on where it was.
    """
    if already(folder, key) is None:
        write_json(folder / f"{key}.json".replace(" ", "_"), compute())
        print(key, json.dumps(already(folder, key)), flush=True)
    return already(folder, key)


def provenance(**more):
    """Describe this run: machine, versions, command and date, and what the caller adds, for instance ``seeds``."""
    import torch
    import torchvision

    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(REPOSITORY).as_posix() if script.is_relative_to(REPOSITORY) else script.name
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", name, *sys.argv[1:]]),
        "machine": machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "threads": torch.get_num_threads(),
        **more,
    }


def machine():
    """Describe the machine: system, processor, cores this process may use, GPU, and how busy it was already."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_per_core": round(os.getloadavg()[0] / cores, 2) if hasattr(os, "getloadavg") else None,
    }


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def in_turns(tasks, repeats=5, *, untimed=False, meter=None):
    """Time several tasks against each other: A, B, A, B, … so that a busy moment hits all of them.

    Args:
        tasks: name → function without arguments; each call is timed. On a GPU it must synchronise before it returns,
            or have a meter that does.
        repeats: rounds.
        untimed: whether to call each task once more before its timed call. oneDNN, which computes PyTorch's
            convolutions on a CPU, keeps only so many of those it compiled (its developer guide, "Primitive Cache"):
            networks in turns push out each other's, a network that trains alone keeps its own.
        meter: what times them; by default the clock of a CPU.

    Returns:
        name → seconds of each round.
    """
    meter, seconds = meter or OnCpu(), {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            if untimed:
                task()
            seconds[name].append(seconds_of(task, meter))
    return seconds


def summarise(values, digits=4):
    """Give median, smallest and largest of some numbers, and the numbers themselves."""
    return {"median": round(statistics.median(values), digits), "min": round(min(values), digits),
            "max": round(max(values), digits), "values": [round(value, digits) for value in values]}


def spread(summary):
    """Write a summary in words: median, smallest and largest."""
    return f"{summary['median']:.2f} ({summary['min']:.2f} to {summary['max']:.2f})"


def ratios(seconds, slow, fast, digits=2):
    """Summarise how many times faster ``fast`` was than ``slow``, round by round."""
    return summarise([a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)], digits)
