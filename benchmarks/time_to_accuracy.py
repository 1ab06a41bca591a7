"""Measure how soon the class network reaches 0.90, 0.91 and 0.93, and how much sooner it is than d2l's recipe.

``python benchmarks/time_to_accuracy.py``, on a quiet machine. d2l's recipe is the book's: its network at 96×96,
``d2l.Trainer``, batches of 128, 10 epochs. On a CPU they take hours, so 200 steps and one evaluation are timed and
extrapolated; what they reach is in d2l_accuracy.json (``d2l_accuracy.py``). They are set beside the shortest of the
course's recipes that ends, with each seed, no worse than the best of d2l's ten epochs. The course's recipes are run in
full, each seed in a fresh process, timed from its start to its last evaluation. On a CPU the network has native
blocks. Their kernels are compiled before, which a machine does once; how long that takes is timed apart. Then the
ratio is taken apart: one thing after the other is exchanged, and a few steps of each are timed in turns. What is
finished is kept in runs/time_to_accuracy; a stopped script goes on where it was. That of a GPU is kept in
runs/time_to_accuracy_gpu. ``--quick`` is for CI: a few steps, one seed, a few hundred images, written to runs/quick.

``--course`` is for a GPU that is there for minutes: only the course's recipes for 0.91 and 0.93, in the best precision,
one seed each. Started again without it, the script goes on with the rest.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace

import torch
from d2l_recipe import against_d2l, class_network
from harness import REPOSITORY, kept, provenance, results_file
from leads import SHORT, SWIFT, batches_for

from densenet_course.data import ResidentBatches, load, prepare
from densenet_course.files import write_json
from densenet_course.results import read
from densenet_course.training import evaluate, fit
from densenet_course.training.precision import choose_device, choose_precision

RECIPES = {  # goal (test accuracy) → how the class network is trained; "small": side of the first images, their share
    "0.90": SHORT | SWIFT,
    "0.91": SHORT | SWIFT | {"epochs": 2, "small": (20, 0.2)},
    "0.93": SHORT | SWIFT | {"epochs": 10, "small": (20, 0.5)},
}


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    steps: int = 200  # of d2l's recipe
    rounds: int = 5
    seeds: int = 3
    fp32_seeds: int = 1  # where there are bf16 units
    goals: tuple = tuple(RECIPES)
    images: int = None  # all
    compares: bool = True  # with d2l's recipe
    reached: float = None  # d2l's accuracy; the best of the results file
    compiles: bool = True  # once more, to time it


def course_run(goal, seed, plan, *, allow_bf16):
    """Train for a goal in a fresh process; a dict: test accuracy, and seconds from the process's start to its end."""
    command = [sys.executable, __file__, "--goal", goal, "--seed", str(seed)]
    command += ["--images", str(plan.images)] if plan.images else []
    command += [] if allow_bf16 else ["--fp32"]
    started = time.perf_counter()
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"seconds": round(time.perf_counter() - started, 1), "accuracy": float(out.splitlines()[-1])}


def train_for(goal, *, seed, images, allow_bf16):
    """Train for a goal and return the test accuracy: what the fresh process does."""
    location, device = prepare(), choose_device()
    precision = choose_precision(device, allow_bf16=allow_bf16)
    train, test = ([part[:images] for part in load(split, location)] for split in ("train", "test"))
    torch.manual_seed(seed)
    model, options = class_network(device), dict(RECIPES[goal])
    batches = batches_for(options, train, device=device, seed=seed)
    fit(model, batches, device=device, precision=precision, progress=False, **options)
    return evaluate(model, ResidentBatches(*test, batch_size=1000, device=device), precision=precision)[1]


def compiling(folder=None):
    """Compile the native kernels in a fresh process, where they are not yet; a dict: its seconds.

    Args:
        folder: where; None for the one that the trainings look into.
    """
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "from densenet_course.efficient.kernels import native; native()"], check=True,
                   env=os.environ | ({"TORCH_EXTENSIONS_DIR": folder} if folder else {}))
    return {"compiling": round(time.perf_counter() - started, 1)}


def compiled_before(plan, device, folder):
    """See to it that the kernels are there before a training is timed; how long that takes is timed in an empty folder.

    Returns:
        A dict: seconds; empty where nothing was timed.
    """
    if device.type != "cpu":
        return {}
    compiling()
    with tempfile.TemporaryDirectory() as empty:
        return kept(folder, "compiling", lambda: compiling(empty)) if plan.compiles else {}


def course_runs(plan, device, folder):
    """Train for every goal: goal → precision → a dict: seconds and accuracy, by seed."""
    course, best = {}, str(choose_precision(device))
    for goal in plan.goals:
        for allow_bf16 in (True, False):
            precision = str(choose_precision(device, allow_bf16=allow_bf16))
            count = plan.seeds if precision == best else plan.fp32_seeds
            runs = {str(seed): kept(folder, f"{goal}, {precision}, {seed}",
                                    lambda g=goal, s=seed, a=allow_bf16: course_run(g, s, plan, allow_bf16=a))
                    for seed in range(count)}
            if runs:
                course.setdefault(goal, {})[precision] = {
                    part: {seed: run[part] for seed, run in runs.items()} for part in ("seconds", "accuracy")}
    return course


def compare(course, precision, location, device, plan, folder):
    """Set d2l's recipe beside the shortest of the course's that ends no worse than d2l's best epoch with each seed.

    Returns:
        A part of the results file.

    Raises:
        ValueError: none ends there.
    """
    reached = max(read("d2l_accuracy")["accuracies"]) if plan.reached is None else plan.reached
    runs = {goal: precisions[precision] for goal, precisions in course.items()}
    fair = [goal for goal, run in runs.items() if min(run["accuracy"].values()) >= reached]
    if not fair:
        raise ValueError(f"goals: expected one that reaches d2l's {100 * reached:.2f} % with each seed; got {[*runs]}")
    goal = min(fair, key=lambda goal: statistics.median(runs[goal]["seconds"].values()))
    return {"goal": goal, "d2l accuracy": reached} | against_d2l(
        location, device, plan, folder, statistics.median(runs[goal]["seconds"].values()), RECIPES[goal])


def plan_for(options):
    """Make the plan that the command line asks for."""
    plan = Plan()
    if options.quick:
        plan = Plan(steps=2, rounds=1, seeds=1, fp32_seeds=0, goals=("0.91",), images=256, compiles=False)
    if options.course:
        plan = replace(plan, seeds=1, fp32_seeds=0, goals=("0.91", "0.93"), compares=False)
    return plan


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few steps, one seed, a few hundred images, for CI")
    parser.add_argument("--course", action="store_true", help="only the course's recipes for 0.91 and 0.93, one seed")
    parser.add_argument("--sample", action="store_true",
                        help="where only the package's sample is there, go on with it, and write to runs/quick")
    parser.add_argument("--goal", choices=RECIPES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fp32", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.goal:
        print(train_for(options.goal, seed=options.seed, images=options.images, allow_bf16=not options.fp32))
        return
    plan, location, device = plan_for(options), prepare(), choose_device()
    if location.is_sample and not (options.quick or options.sample):
        parser.error("this machine has only the sample of FashionMNIST; densenet-course data fetches all of it")
    aside = options.quick or location.is_sample  # no results of the whole
    out = results_file("time_to_accuracy", device=device.type, quick=aside)
    folder = REPOSITORY / ("runs/quick" if aside else "runs") / out.stem
    if aside:  # a few images reach nothing
        plan = replace(plan, reached=0.0)
    if options.quick:
        shutil.rmtree(folder, ignore_errors=True)
    before = compiled_before(plan, device, folder)
    course, best = course_runs(plan, device, folder), str(choose_precision(device))
    compared = compare(course, best, location, device, plan, folder) if plan.compares else {}
    results = {
        "device": device.type, "data": "sample" if location.is_sample else "full", "recipes": RECIPES,
        "precision": best, "seconds before": before, "course": course, **compared,
        "provenance": provenance(seeds=list(range(plan.seeds)), repeats=plan.rounds),
    }
    write_json(out, results)
    for goal, runs in course.items():
        print(f"{goal}: {runs[best]}")
    if compared:
        print(f"{results['goal']} {results['times faster']} times sooner than d2l's recipe: {results['factors']}")
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
