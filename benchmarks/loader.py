"""Measure an epoch of resident batches against a per-image DataLoader: ``python benchmarks/loader.py``.

Both yield the same 60,000 shuffled, normalised images in batches of 128, on the CPU; once plain, once flipped and
shifted. The DataLoader reads torchvision's FashionMNIST, in this process and with one worker per core. ``--quick``
takes 3,000 images and writes to runs/.
"""

import argparse

import torch
from harness import REPOSITORY, in_turns, machine, provenance, ratios, summarise
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from densenet_course.data import MEAN, STD, ResidentBatches, load, prepare
from densenet_course.files import write_json

BATCH_SIZE = 128


def per_image(location, augment, count, workers):
    """Build the usual way: one image after the other through torchvision's transforms."""
    steps = [transforms.RandomCrop(28, padding=2), transforms.RandomHorizontalFlip()] if augment else []
    transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    dataset = Subset(FashionMNIST(location.root, train=True, transform=transform), range(count))
    return DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True, num_workers=workers)


def one_epoch(batches, count):
    """Make a function that runs through one epoch and makes sure that nothing was left out."""
    def run():
        seen = sum(len(labels) for _, labels in batches)
        assert seen == count, f"expected {count} images in an epoch, got {seen}"
    return run


def compare(location, augment, count, repeats, workers):
    """Time one case, plain or augmented.

    Returns:
        Seconds of an epoch for each loader, and how many times longer each DataLoader takes.
    """
    images, labels = (part[:count] for part in load("train", location))
    resident = ResidentBatches(images, labels, batch_size=BATCH_SIZE, shuffle=True, augment=augment)
    loaders = {"resident": resident, "dataloader": per_image(location, augment, count, 0),
               "dataloader with workers": per_image(location, augment, count, workers)}
    seconds = in_turns({name: one_epoch(loader, count) for name, loader in loaders.items()}, repeats)
    return {"seconds": {name: summarise(values) for name, values in seconds.items()},
            "ratio": {name: ratios(seconds, name, "resident") for name in loaders if name != "resident"}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3,000 images, for CI")
    options = parser.parse_args()
    out = REPOSITORY / ("runs/quick" if options.quick else "benchmarks/results") / "loader.json"
    location = prepare()
    count, repeats, workers = 60_000, 5, machine()["cores"]
    if location.is_sample:
        count = 6_000
    if options.quick:
        count = 3_000
    results = {"provenance": provenance(repeats=repeats), "data": "sample" if location.is_sample else "full",
               "images": count, "batch_size": BATCH_SIZE, "workers": workers}
    torch.manual_seed(0)
    for name, augment in (("plain", None), ("augmented", "flip and shift")):
        results[name] = compare(location, augment, count, repeats, workers)
        times, factors = results[name]["seconds"], results[name]["ratio"]
        print(f"{name}: {times['resident']['median']:.3f} s an epoch; " + "; ".join(
            f"{loader} {times[loader]['median']:.2f} s, {factor['median']:.0f} times as long "
            f"({factor['min']:.0f} to {factor['max']:.0f})" for loader, factor in factors.items()), flush=True)
    write_json(out, results)
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
