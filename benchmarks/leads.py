"""Measure what shortens the class training: ``python benchmarks/leads.py``; its recipes are ``time_to_accuracy.py``'s.

As ``ablation.py`` does it: 55,000 training images, 5,000 validation images, seeds in pairs; the test set is never read.
A lead changes a base: one epoch of Muon, for the way to 90 %, two or six, for 91 and 93 %. Beside each accuracy stand
the processor's seconds of the training. All train on native blocks; what these are worth, ``peers.py``
measures. Finished runs are kept in runs/leads; names after the script run only those. ``--quick`` is for CI: one seed,
one epoch, a few hundred images, written to runs/quick.
"""

import argparse
import shutil
import time
from dataclasses import dataclass

import torch
from harness import REPOSITORY, already, kept, provenance, results_file

from densenet_course.data import ResidentBatches, load, prepare, split_validation
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.training import choose_device, choose_precision, evaluate, fit
from densenet_course.training.resolution import SmallFirst

SHORT = {"epochs": 1, "optimizer": "muon", "batch_size": 256, "peak_rate": 0.3}
SWIFT = {"peak_rate": 0.9, "momentum": 0.7, "orthogonal_momentum": 0.7}
FASTER = {"peak_rate": 1.5, "momentum": 0.6, "orthogonal_momentum": 0.6}
LEADS = {  # base → (its recipe, lead → what it changes)
    "one epoch": (SHORT, {
        "as it is": {},
        "20×20 for 60 %": {"small": (20, 0.6)},
        "16×16 for 60 %": {"small": (16, 0.6)},
        "peak rate 1.5, momentum 0.6, 20×20 for 50 %": FASTER | {"small": (20, 0.5)},
        "peak rate 0.9, momentum 0.7": SWIFT,
        "peak rate 0.9, momentum 0.7, 20×20 for 20 %": SWIFT | {"small": (20, 0.2)},
        "peak rate 0.9, momentum 0.7, 20×20 for 40 %": SWIFT | {"small": (20, 0.4)},
    }),
    "two epochs": (SHORT | {"epochs": 2}, {
        "peak rate 0.9, momentum 0.7, 20×20 for 50 %": SWIFT | {"small": (20, 0.5)},
    }),
    "six epochs, 20×20 for 50 %": (SHORT | {"epochs": 6, "small": (20, 0.5)}, {
        "as it is": {},
        "peak rate 0.9, momentum 0.7": SWIFT,
        "peak rate 0.9, momentum 0.7, label smoothing 0.1": SWIFT | {"label_smoothing": 0.1},
    }),
}


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    seeds: int = 2
    epochs: int = None  # those of the base
    images: int = None  # all
    folder: str = "runs/leads"


def batches_for(options, train, *, device, seed):
    """Make the training batches that a recipe asks for, and take what says so out of it.

    Args:
        options: a recipe; without "batch_size" and "small" it is what ``fit`` takes.
        train: (images, labels).
    """
    side, share = options.pop("small", (28, 0.0))
    batches = ResidentBatches(*train, batch_size=options.pop("batch_size"), device=device, shuffle=True, drop_last=True,
                              seed=seed, augment="flip")
    return SmallFirst(batches, epochs=options["epochs"], side=side, share=share)


def run(options, seed, *, train, validation, device, precision):
    """Train by one recipe with one seed; a dict: validation accuracy and loss, steps, CPU seconds of training."""
    options = dict(options)
    torch.manual_seed(seed)
    model = class_densenet(efficient="native")
    batches = batches_for(options, train, device=device, seed=seed)
    started = time.process_time()  # of all threads; other programs hardly change it
    fit(model, batches, device=device, precision=precision, **options)
    seconds = time.process_time() - started
    loss, accuracy = evaluate(model, ResidentBatches(*validation, batch_size=1000, device=device), precision=precision)
    return {"accuracy": round(accuracy, 6), "loss": round(loss, 6), "steps": options["epochs"] * len(batches),
            "cpu_seconds": round(seconds, 1)}


def summarise(plan):
    """Collect what is finished: base → lead → accuracy and CPU seconds by seed, and steps."""
    found = {}
    for base, (_, leads) in LEADS.items():
        for lead in leads:
            runs = {str(seed): already(REPOSITORY / plan.folder, f"{base}, {lead}, {seed}")
                    for seed in range(plan.seeds)}
            runs = {seed: one for seed, one in runs.items() if one}
            if runs:
                found.setdefault(base, {})[lead] = {
                    "accuracy": {seed: one["accuracy"] for seed, one in runs.items()},
                    "cpu_seconds": {seed: one["cpu_seconds"] for seed, one in runs.items()},
                    "steps": next(iter(runs.values()))["steps"]}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help='leads to run (default: all), as "BASE, LEAD"')
    parser.add_argument("--seed", type=int, action="append", help="run this seed only; may be given again")
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, a few hundred images, for CI")
    options = parser.parse_args()
    location, device, plan = prepare(), choose_device(), Plan()
    if options.quick:
        plan = Plan(seeds=1, epochs=1, images=512, folder="runs/quick/leads")
        shutil.rmtree(REPOSITORY / plan.folder, ignore_errors=True)
    precision = choose_precision(device)
    train, validation = ([part[:plan.images] for part in split] for split in split_validation(*load("train", location)))
    for seed in options.seed or range(plan.seeds):
        for base, (recipe, leads) in LEADS.items():
            for lead, changes in leads.items():
                recipe_of_lead = recipe | changes | ({"epochs": plan.epochs} if plan.epochs else {})
                if not options.names or f"{base}, {lead}" in options.names:
                    kept(REPOSITORY / plan.folder, f"{base}, {lead}, {seed}", lambda r=recipe_of_lead, s=seed: run(
                        r, s, train=train, validation=validation, device=device, precision=precision))
    out = results_file("leads", device=device.type, quick=options.quick)
    write_json(out, {
        "bases": {base: recipe for base, (recipe, _) in LEADS.items()},
        "changes": {base: leads for base, (_, leads) in LEADS.items()},
        "train_images": len(train[1]), "validation_images": len(validation[1]), "device": device.type,
        "precision": str(precision), "data": "sample" if location.is_sample else "full", "leads": summarise(plan),
        "provenance": provenance(seeds=list(range(plan.seeds)))})
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
