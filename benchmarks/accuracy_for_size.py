"""Measure the accuracy of at most 0.8 million parameters: ``python benchmarks/accuracy_for_size.py``.

One recipe, three seeds, which on a CPU of two cores are to take no more than an hour together. Everything in it was
chosen on 5,000 held-out training images: the network is the best of design_space.json, flips without shifts come from
ablation.json, Muon has the better mean in techniques.json. The test set is read once for each seed, after the last
epoch, without mirror images. A stopped script goes on after the last finished epoch: runs/accuracy_for_size.
``--quick`` is for CI: one seed, one epoch, a few hundred images, written to runs/quick.
"""

import argparse
import shutil
import statistics
from dataclasses import dataclass

import torch
from harness import REPOSITORY, kept, provenance, results_file

from densenet_course import accounting
from densenet_course.data import ResidentBatches, load, prepare
from densenet_course.files import write_json
from densenet_course.models import DenseNet, cifar_config, class_densenet
from densenet_course.training import choose_device, choose_precision, evaluate, fit

RECIPES = {  # by device; a GPU has time for the paper's network, and for enough epochs to need shifts
    "cpu": {"config": class_densenet(growth_rate=24, init_channels=48, block_layers=(3, 6, 6)).config, "epochs": 10,
            "augment": "flip"},
    "cuda": {"config": cifar_config(depth=100, growth_rate=12, in_channels=1), "epochs": 100,
             "augment": "flip and shift"},
}


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    seeds: int = 3
    epochs: int = None  # the recipe's
    images: int = None  # all
    folder: str = "runs/accuracy_for_size"


def run(seed, *, recipe, epochs, train, test, device, checkpoint):
    """Train with one seed; a dict: test accuracy, training accuracy of the last epoch, seconds of training."""
    precision = choose_precision(device)
    torch.manual_seed(seed)
    model = DenseNet(recipe["config"])
    batches = ResidentBatches(*train, batch_size=128, device=device, shuffle=True, drop_last=True, seed=seed,
                              augment=recipe["augment"])
    history = fit(model, batches, epochs=epochs, optimizer="muon", device=device, precision=precision,
                  checkpoint=checkpoint, progress=False)
    test = ResidentBatches(*test, batch_size=1000, device=device)
    found = {"accuracy": round(evaluate(model, test, precision=precision)[1], 6),
             "train_accuracy": round(history[-1]["train_accuracy"], 6),
             "seconds": round(sum(row["seconds"] for row in history), 1)}
    checkpoint.unlink()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, a few hundred images, for CI")
    quick, plan = parser.parse_args().quick, Plan()
    location, device = prepare(), choose_device()
    if quick:
        plan = Plan(seeds=1, epochs=1, images=256, folder="runs/quick/accuracy_for_size")
        shutil.rmtree(REPOSITORY / plan.folder, ignore_errors=True)
    recipe, folder = RECIPES[device.type], REPOSITORY / plan.folder
    epochs = plan.epochs or recipe["epochs"]
    train, test = ([part[:plan.images] for part in load(split, location)] for split in ("train", "test"))
    runs = {str(seed): kept(folder, str(seed), lambda s=seed: run(
        s, recipe=recipe, epochs=epochs, train=train, test=test, device=device, checkpoint=folder / f"{s}.pt"))
        for seed in range(plan.seeds)}
    mean = statistics.mean(one["accuracy"] for one in runs.values())
    out = results_file("accuracy_for_size", device=device.type, quick=quick)
    write_json(out, {
        "network": str(recipe["config"]), "parameters": accounting.parameters(recipe["config"]),
        "multiply_adds": accounting.multiply_adds(recipe["config"], 28), "epochs": epochs, "optimizer": "muon",
        "augment": recipe["augment"], "runs": runs, "mean": round(mean, 6), "device": device.type,
        "precision": str(choose_precision(device)), "data": "sample" if location.is_sample else "full",
        "provenance": provenance(seeds=list(range(plan.seeds)))})
    print(f"{accounting.parameters(recipe['config']):,} parameters: {100 * mean:.2f} %")
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
