"""Measure lesson 07's training: ``python benchmarks/class_training.py``, and once more with ``--fp32``.

Trains the class network on all training images with the defaults of ``fit``, three seeds: six epochs, where the lesson
takes three. The test set is read once for each seed, after the last epoch. Run it on a quiet machine. ``--quick`` is
for CI: one seed, one epoch, a few hundred images, written to runs/.
"""

import time

STARTED = time.perf_counter()  # before the imports, which the cold time includes

import argparse  # noqa: E402
import json  # noqa: E402

import torch  # noqa: E402
from harness import REPOSITORY, provenance, results_file  # noqa: E402

from densenet_course.data import ResidentBatches, load, prepare  # noqa: E402
from densenet_course.files import write_json  # noqa: E402
from densenet_course.models import class_densenet  # noqa: E402
from densenet_course.training import evaluate, fit  # noqa: E402
from densenet_course.training.precision import choose_device, choose_precision  # noqa: E402


def run(seed, *, train, device, precision, **options):
    """Train with one seed.

    Returns:
        (model, seconds): the trained network, and the seconds of its epochs.
    """
    torch.manual_seed(seed)
    model = class_densenet()
    batches = ResidentBatches(*train, batch_size=128, device=device, shuffle=True, augment="flip", drop_last=True,
                              seed=seed)
    history = fit(model, batches, device=device, precision=precision, **options)
    return model, sum(row["seconds"] for row in history)


def measure(seeds, *, train, test, device, precision, **options):
    """Train with every seed.

    Returns:
        A dict: accuracy and seconds by seed, and cold_seconds from the start of this script, with imports and data, to
        the end of the first training.
    """
    found = {"accuracy": {}, "seconds": {}}
    test = ResidentBatches(*test, batch_size=1000, device=device)
    for seed in seeds:
        model, seconds = run(seed, train=train, device=device, precision=precision, **options)
        found.setdefault("cold_seconds", round(time.perf_counter() - STARTED, 1))
        found["accuracy"][str(seed)] = round(evaluate(model, test, precision=precision)[1], 6)
        found["seconds"][str(seed)] = round(seconds, 1)
        print(f"{precision}, seed {seed}: {found['accuracy'][str(seed)]:.4f}, {seconds:.1f} s", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--fp32", action="store_true", help="plain fp32 even where the device has bf16 units")
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, a few hundred images, for CI")
    options = parser.parse_args()
    location, device = prepare(), choose_device()
    out = results_file("class_training", device=device.type, quick=options.quick)
    seeds, settings = list(range(options.seeds)), {}
    train, test = load("train", location), load("test", location)
    if options.quick:
        seeds, settings = [0], {"epochs": 1}
        train, test = ([part[:384] for part in split] for split in (train, test))
    precision = choose_precision(device, allow_bf16=not options.fp32)
    found = measure(seeds, train=train, test=test, device=device, precision=precision, **settings)
    found |= {"device": device.type, "train_images": len(train[1]), "test_images": len(test[1]),
              "data": "sample" if location.is_sample else "full", "provenance": provenance(seeds=seeds)}
    results = json.loads(out.read_text()) if out.exists() else {"precisions": {}}
    results["precisions"][str(precision)] = found  # the other precision's figures stay
    write_json(out, results)
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
