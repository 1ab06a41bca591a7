"""Measure the design space of lesson 14: ``python benchmarks/design_space.py``.

Trains class networks of many shapes for one epoch on 55,000 images and judges them on the 5,000 validation images; the
test set is never read. Varied: growth rate, layers per block, compression. Seconds are CPU seconds of the training, all
threads together, because wall time would depend on what else the machine does. Each finished run is kept in
runs/design_space, so a stopped script goes on where it was. ``--quick`` is for CI: a few hundred images, written to
runs/quick.
"""

import argparse
import json
import time

import torch
from harness import REPOSITORY, provenance

from densenet_course import accounting
from densenet_course.data import ResidentBatches, load, prepare, split_validation
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.training import choose_device, choose_precision, evaluate, fit

GROWTH_RATES = (8, 12, 16, 24)
BLOCKS = ((2, 2, 2), (2, 4, 4), (4, 4, 4), (3, 6, 6))
COMPRESSIONS = (0.5, 1.0)


def run(shape, seed, *, train, held_out, device, precision):
    """Train one shape for one epoch.

    Returns:
        A dict: growth_rate, block_layers, compression, parameters, multiply_adds, cpu_seconds, accuracy.
    """
    growth_rate, block_layers, compression = shape
    torch.manual_seed(seed)
    model = class_densenet(growth_rate=growth_rate, init_channels=2 * growth_rate, block_layers=block_layers,
                           compression=compression)
    batches = ResidentBatches(*train, batch_size=128, device=device, shuffle=True, augment="flip", drop_last=True,
                              seed=seed)
    started = time.process_time()
    fit(model, batches, epochs=1, device=device, precision=precision)
    seconds = time.process_time() - started
    judged = ResidentBatches(*held_out, batch_size=1000, device=device)
    return {
        "growth_rate": growth_rate, "block_layers": list(block_layers), "compression": compression,
        "parameters": accounting.parameters(model.config),
        "multiply_adds": accounting.multiply_adds(model.config, 28),
        "cpu_seconds": round(seconds, 1),
        "accuracy": round(evaluate(model, judged, precision=precision)[1], 6),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few hundred images, for CI")
    options = parser.parse_args()
    out, folder = REPOSITORY / "benchmarks/results/design_space.json", REPOSITORY / "runs/design_space"
    location = prepare()
    train, held_out = split_validation(*load("train", location))
    if options.quick:
        out, folder = REPOSITORY / "runs/quick/design_space.json", REPOSITORY / "runs/quick/design_space"
        train, held_out = ([part[:384] for part in split] for split in (train, held_out))
        for path in folder.glob("*.json"):
            path.unlink()
    device = choose_device()
    precision = choose_precision(device)
    networks = []
    for growth_rate in GROWTH_RATES:
        for block_layers in BLOCKS:
            for compression in COMPRESSIONS:
                path = folder / f"{growth_rate}-{'-'.join(map(str, block_layers))}-{compression}.json"
                if not path.exists():
                    write_json(path, run((growth_rate, block_layers, compression), options.seed, train=train,
                                         held_out=held_out, device=device, precision=precision))
                networks.append(json.loads(path.read_text()))
                print(networks[-1], flush=True)
    result = {"epochs": 1, "train_images": len(train[1]), "validation_images": len(held_out[1]), "batch_size": 128,
              "precision": str(precision), "device": device.type, "data": "sample" if location.is_sample else "full"}
    write_json(out, {"provenance": provenance(seeds=[options.seed]), **result, "networks": networks})
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
