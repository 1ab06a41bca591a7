"""Measure what each ingredient of lesson 07's recipe is worth: ``python benchmarks/ablation.py``.

Trains the class network on 55,000 images and judges it on the 5,000 validation images; the test set is never read.
Each variant changes one thing; ``--set choices`` tries other batch sizes, and Adam at three rates. Seeds are paired:
seed s gives every variant the same first weights, order and flips. 3 epochs, as in the lesson. Each finished run is
saved, so a killed script goes on where it was. ``--quick`` is for CI: one seed, a few hundred images, written to runs/.
"""

import argparse
import json
import time

import torch
from harness import REPOSITORY, provenance

from densenet_course.data import ResidentBatches, load, prepare, split_validation
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.training import choose_device, choose_precision, evaluate, fit

INGREDIENTS = {
    "full recipe": {},
    "without momentum": {"momentum": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "constant learning rate": {"schedule": "constant"},
    "step schedule": {"schedule": "step"},
    "without flip": {"augment": None},
    "with shift crop": {"augment": "flip and shift"},
    "with dropout 0.2": {"drop_rate": 0.2},
    "with label smoothing 0.1": {"label_smoothing": 0.1},
}
CHOICES = {
    "full recipe": {},
    "batch size 64": {"batch_size": 64},
    "batch size 512": {"batch_size": 512},
    "Adam, peak 0.001": {"optimizer": "adam", "peak_rate": 0.001},
    "Adam, peak 0.003": {"optimizer": "adam", "peak_rate": 0.003},
    "Adam, peak 0.01": {"optimizer": "adam", "peak_rate": 0.01},
}


SETS = {"ablation": INGREDIENTS, "choices": CHOICES}


def run(options, seed, *, train, validation, epochs, device, precision):
    """Train one variant, named by its options, with one seed.

    Returns:
        A dict: accuracy on the validation images after the last epoch, and seconds of training.
    """
    options = dict(options)
    torch.manual_seed(seed)
    model = class_densenet(drop_rate=options.pop("drop_rate", 0.0))
    batches = ResidentBatches(*train, batch_size=options.pop("batch_size", 128), augment=options.pop("augment", "flip"),
                              device=device, shuffle=True, drop_last=True, seed=seed)
    started = time.perf_counter()
    fit(model, batches, epochs=epochs, device=device, precision=precision, **options)
    seconds = time.perf_counter() - started
    held_out = ResidentBatches(*validation, batch_size=1000, device=device)
    return {"accuracy": round(evaluate(model, held_out, precision=precision)[1], 6), "seconds": round(seconds, 1)}


def read_progress(path, settings):
    """Read the finished runs, or start with none.

    Raises:
        ValueError: the file is of a run with other settings.
    """
    if not path.exists():
        return {}
    progress = json.loads(path.read_text())
    if progress["settings"] != settings:
        raise ValueError(f"{path} has settings {progress['settings']}, expected {settings}. Move it to start afresh.")
    return progress["runs"]


def summarise(variants, runs, seeds):
    """Sort the finished runs by variant: name → {"accuracy": {seed: fraction}}; times are class_training's business."""
    return {v: {"accuracy": {str(seed): runs[f"{v}/{seed}"]["accuracy"] for seed in seeds}} for v in variants}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=SETS, default="ablation", help="ingredients, or optimizer and batch size")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, a few hundred images, for CI")
    options = parser.parse_args()
    kept, going = ("runs/quick", "runs/quick") if options.quick else ("benchmarks/results", "runs")
    out, saved = REPOSITORY / kept / f"{options.set}.json", REPOSITORY / going / f"{options.set}_progress.json"
    seeds, epochs, variants = list(range(options.seeds)), options.epochs, SETS[options.set]
    location = prepare()
    train, validation = split_validation(*load("train", location))
    if options.quick:
        saved.unlink(missing_ok=True)
        seeds, epochs = [0], 1
        train, validation = ([part[:384] for part in split] for split in (train, validation))
    device = choose_device()
    precision = choose_precision(device)
    settings = {
        "epochs": epochs, "train_images": len(train[1]), "validation_images": len(validation[1]),
        "device": device.type, "precision": str(precision), "data": "sample" if location.is_sample else "full",
    }
    runs = read_progress(saved, settings)
    for seed in seeds:
        for variant, changes in variants.items():
            key = f"{variant}/{seed}"
            if key not in runs:
                runs[key] = run(changes, seed, train=train, validation=validation, epochs=epochs, device=device,
                                precision=precision)
                write_json(saved, {"settings": settings, "runs": runs})
            print(f"{key}: {runs[key]['accuracy']:.4f}, {runs[key]['seconds']} s", flush=True)
    results = settings | {"seeds": seeds, "variants": summarise(variants, runs, seeds)}
    write_json(out, {"provenance": provenance(seeds=seeds), **results})
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
