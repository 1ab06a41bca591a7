"""Measure the design space of lesson 14: ``python benchmarks/design_space.py``.

Trains class networks of many shapes for one epoch on 55,000 images and judges them on the 5,000 validation images; the
test set is never read. Varied: growth rate, layers per block, compression; each with two seeds (``--seeds``), whose
difference tells how large the noise is. Seconds are CPU seconds of the training, all threads together, because wall
time would depend on what else the machine does. Each finished run is kept in runs/design_space, so a stopped script
goes on where it was. ``--quick`` is for CI: four shapes, a few hundred images, written to runs/quick.
"""

import argparse
import itertools
import time

import torch
from harness import REPOSITORY, kept, provenance

from densenet_course import accounting
from densenet_course.data import ResidentBatches, load, prepare, split_validation
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.training import choose_device, choose_precision, evaluate, fit

GROWTH_RATES = (8, 12, 16, 24)
BLOCKS = ((2, 2, 2), (2, 4, 4), (4, 4, 4), (3, 6, 6))
COMPRESSIONS = (0.5, 1.0)


def network(shape):
    """Build one shape: (growth rate, layers per block, compression)."""
    growth_rate, block_layers, compression = shape
    return class_densenet(growth_rate=growth_rate, init_channels=2 * growth_rate, block_layers=block_layers,
                          compression=compression)


def run(shape, seed, *, train, held_out, device, precision):
    """Train one shape for one epoch.

    Returns:
        A dict: cpu_seconds, accuracy.
    """
    torch.manual_seed(seed)
    model = network(shape)
    batches = ResidentBatches(*train, batch_size=128, device=device, shuffle=True, augment="flip", drop_last=True,
                              seed=seed)
    started = time.process_time()
    fit(model, batches, epochs=1, device=device, precision=precision)
    seconds = time.process_time() - started
    judged = ResidentBatches(*held_out, batch_size=1000, device=device)
    accuracy = evaluate(model, judged, precision=precision)[1]
    return {"cpu_seconds": round(seconds, 1), "accuracy": round(accuracy, 6)}


def describe(shape, runs):
    """Put together what is known of one shape: its knobs, its costs by formula, and its runs, seed → run."""
    config = network(shape).config
    return {
        "growth_rate": shape[0], "block_layers": list(shape[1]), "compression": shape[2],
        "parameters": accounting.parameters(config), "multiply_adds": accounting.multiply_adds(config, 28),
        "cpu_seconds": {str(seed): found["cpu_seconds"] for seed, found in runs.items()},
        "accuracy": {str(seed): found["accuracy"] for seed, found in runs.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--quick", action="store_true", help="four shapes, a few hundred images, for CI")
    options = parser.parse_args()
    seeds, shapes = list(range(options.seeds)), list(itertools.product(GROWTH_RATES, BLOCKS, COMPRESSIONS))
    out, folder = REPOSITORY / "benchmarks/results/design_space.json", REPOSITORY / "runs/design_space"
    location = prepare()
    train, held_out = split_validation(*load("train", location))
    if options.quick:
        out, folder = REPOSITORY / "runs/quick/design_space.json", REPOSITORY / "runs/quick/design_space"
        shapes = list(itertools.product(GROWTH_RATES[:2], BLOCKS[:1], COMPRESSIONS))
        train, held_out = ([part[:384] for part in split] for split in (train, held_out))
        for path in folder.glob("*.json"):
            path.unlink()
    device = choose_device()
    precision = choose_precision(device)
    common = {"train": train, "held_out": held_out, "device": device, "precision": precision}
    runs = {}
    for seed in seeds:
        for shape in shapes:
            name = f"{shape[0]}-{'-'.join(map(str, shape[1]))}-{shape[2]}{f'-seed{seed}' if seed else ''}"
            found = kept(folder, name, lambda shape=shape, seed=seed: run(shape, seed, **common))
            runs.setdefault(shape, {})[seed] = found
    write_json(out, {
        "provenance": provenance(seeds=seeds), "epochs": 1, "train_images": len(train[1]),
        "validation_images": len(held_out[1]), "batch_size": 128, "precision": str(precision), "device": device.type,
        "data": "sample" if location.is_sample else "full", "seeds": seeds,
        "networks": [describe(shape, found) for shape, found in runs.items()],
    })
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
