"""Measure how soon the class network reaches 0.90, 0.91 and 0.93, and how much sooner than d2l's recipe reaches 0.91.

``python benchmarks/time_to_accuracy.py``, on a quiet machine. d2l's recipe is the book's: its network at 96×96,
``d2l.Trainer``, batches of 128, 10 epochs. On a CPU they take hours, so 200 steps and one evaluation are timed and
extrapolated; 0.91 is what they are taken to end with. The course's recipes are run in full, each seed in a fresh
process, timed from its start to its last evaluation. Then the ratio is taken apart: one thing after the other is
exchanged, and a few steps of each are timed in turns. What is finished is kept in runs/time_to_accuracy, so a stopped
script goes on where it was. ``--quick`` is for CI: a few steps, one seed, a few hundred images, written to runs/quick.
"""

import argparse
import math
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from harness import REPOSITORY, in_turns, kept, provenance, results_file, summarise

from densenet_course.data import ResidentBatches, load, prepare
from densenet_course.files import write_json
from densenet_course.models import class_densenet, small_densenet
from densenet_course.training import evaluate, fit, make_optimizer, train_one_epoch
from densenet_course.training.precision import FP32, choose_device, choose_precision

D2L = {"epochs": 10, "batch_size": 128, "side": 96, "learning_rate": 0.01, "accuracy": 0.91}
RECIPES = {  # goal (test accuracy) → how the class network is trained for it
    "0.90": {"epochs": 2},
    "0.91": {"epochs": 2, "optimizer": "muon", "batch_size": 256, "peak_rate": 0.3},
    "0.93": {"epochs": 9, "optimizer": "muon"},
}
CLOCKED = {"loader": 2, "layout and dtype": 4, "resolution": 10, "network": 40}  # exchange → steps in a round
MEANING = {
    "loader": "resident batches instead of a DataLoader of four workers",
    "layout and dtype": "this machine's precision instead of contiguous fp32",
    "resolution": "32×32 pixels instead of 96×96",
    "network": "the class network at 28×28 instead of d2l's",
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
    folder: str = "runs/time_to_accuracy"


def d2l_seconds(location, plan):
    """Time d2l's recipe with its own data, loader and trainer.

    Returns:
        A dict: seconds of a training step, of one pass over the test images, and of the whole recipe by these.
    """
    from d2l import torch as d2l

    class Clock(d2l.Trainer):
        """A trainer that notes when an epoch's training ends and its evaluation begins."""

        def prepare_batch(self, batch):
            if not self.model.training and not self.trained:
                self.trained = time.perf_counter()
            return super().prepare_batch(batch)

    class Network(d2l.Classifier):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters()
            self.net = small_densenet()

    d2l.DataModule.__init__.__defaults__ = (str(location.root), 4)  # d2l's own number of workers
    data = d2l.FashionMNIST(batch_size=D2L["batch_size"], resize=(D2L["side"], D2L["side"]))
    steps_per_epoch = len(data.train_dataloader())
    chosen = torch.randperm(len(data.train))[:plan.steps * D2L["batch_size"]].tolist()
    data.train = torch.utils.data.Subset(data.train, chosen)
    if plan.images:
        data.val = torch.utils.data.Subset(data.val, range(plan.images))
    trainer = Clock(max_epochs=1, num_gpus=d2l.num_gpus())
    trainer.trained = None
    model = Network(lr=D2L["learning_rate"])
    model.board.display = False  # no window needs the curve
    started = time.perf_counter()
    trainer.fit(model, data)
    ended = time.perf_counter()
    step, evaluation = (trainer.trained - started) / len(data.train_dataloader()), ended - trainer.trained
    return {"step": step, "evaluation": evaluation, "steps_timed": plan.steps, "steps_per_epoch": steps_per_epoch,
            "whole": D2L["epochs"] * (steps_per_epoch * step + evaluation)}


def course_run(goal, seed, plan, *, allow_bf16):
    """Train for a goal in a fresh process; a dict: test accuracy, and seconds from the process's start to its end."""
    command = [sys.executable, __file__, "--goal", goal, "--seed", str(seed)]
    command += ["--images", str(plan.images)] if plan.images else []
    command += [] if allow_bf16 else ["--fp32"]
    started = time.perf_counter()
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"seconds": round(time.perf_counter() - started, 1), "accuracy": float(out)}


def train_for(goal, *, seed, images, allow_bf16):
    """Train for a goal and return the test accuracy: what the fresh process does."""
    location, device = prepare(), choose_device()
    precision = choose_precision(device, allow_bf16=allow_bf16)
    train, test = ([part[:images] for part in load(split, location)] for split in ("train", "test"))
    torch.manual_seed(seed)
    model, options = class_densenet(), dict(RECIPES[goal])
    batches = ResidentBatches(*train, batch_size=options.pop("batch_size", 128), device=device, shuffle=True,
                              drop_last=True, seed=seed, augment="flip")
    fit(model, batches, device=device, precision=precision, progress=False, **options)
    return evaluate(model, ResidentBatches(*test, batch_size=1000, device=device), precision=precision)[1]


def resized(batches, side, steps):
    """Yield a few batches at another resolution."""
    for _, (images, labels) in zip(range(steps), batches, strict=False):
        yield images if side == 28 else F.interpolate(images, size=(side, side), mode="bilinear"), labels


def clock(exchange, train, device, *, steps):
    """Make a function that trains some steps after an exchange and those before it."""
    so_far = list(CLOCKED)[:list(CLOCKED).index(exchange) + 1]
    side = 28 if "network" in so_far else 32 if "resolution" in so_far else D2L["side"]
    model = class_densenet() if "network" in so_far else small_densenet()
    precision = choose_precision(device) if "layout and dtype" in so_far else FP32
    model.to(device=device, memory_format=precision.memory_format)
    optimizer = make_optimizer(model, peak_rate=D2L["learning_rate"])
    batches = ResidentBatches(*train, batch_size=D2L["batch_size"], device=device, shuffle=True, drop_last=True)

    def run():  # ends by reading the loss, so a GPU has done its work
        train_one_epoch(model, resized(batches, side, steps), optimizer, precision=precision)

    run()  # warm up
    return run


def factors(location, device, plan):
    """Time steps while one thing after the other is exchanged; exchange → summary of seconds for a step."""
    train = [part[:plan.images] for part in load("train", location)]
    steps = {name: 1 if plan.images else count for name, count in CLOCKED.items()}
    tasks = {name: clock(name, train, device, steps=count) for name, count in steps.items()}
    seconds = in_turns(tasks, plan.rounds)
    return {name: summarise([s / steps[name] for s in values]) for name, values in seconds.items()}


def take_apart(d2l, steps, recipe, seconds):
    """Split d2l's whole time over the course's into factors: exchange → times faster."""
    found, before = {}, d2l["step"]
    for name, summary in steps.items():
        found[name] = before / summary["median"]
        before = summary["median"]
    found["epochs"] = D2L["epochs"] / recipe["epochs"]
    found["the rest: batch size, evaluations, imports"] = d2l["whole"] / seconds / math.prod(found.values())
    return {name: round(value, 2) for name, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few steps, one seed, a few hundred images, for CI")
    parser.add_argument("--goal", choices=RECIPES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fp32", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.goal:
        print(train_for(options.goal, seed=options.seed, images=options.images, allow_bf16=not options.fp32))
        return
    plan, location, device = Plan(), prepare(), choose_device()
    out = results_file("time_to_accuracy", device=device.type, quick=options.quick)
    if options.quick:
        plan = Plan(steps=2, rounds=1, seeds=1, fp32_seeds=0, goals=("0.91",), images=256,
                    folder="runs/quick/time_to_accuracy")
        shutil.rmtree(REPOSITORY / plan.folder, ignore_errors=True)
    elif location.is_sample:
        parser.error("this machine has only the sample of FashionMNIST; densenet-course data fetches all of it")
    folder = REPOSITORY / plan.folder
    d2l = kept(folder, "d2l", lambda: d2l_seconds(location, plan))
    steps = kept(folder, "steps", lambda: factors(location, device, plan))
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
    seconds = statistics.median(course["0.91"][best]["seconds"].values())
    results = {
        "device": device.type, "data": "sample" if location.is_sample else "full", "d2l recipe": D2L,
        "d2l seconds": {name: round(value, 3) for name, value in d2l.items()},
        "recipes": RECIPES, "precision": best, "course": course, "steps": steps, "meaning": MEANING,
        "times faster": round(d2l["whole"] / seconds, 1),
        "factors": take_apart(d2l, steps, RECIPES["0.91"], seconds),
        "provenance": provenance(seeds=list(range(plan.seeds)), repeats=plan.rounds),
    }
    write_json(out, results)
    print(f"0.91 {results['times faster']} times sooner than d2l's recipe: {results['factors']}")
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
