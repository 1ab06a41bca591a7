"""Measure techniques that lesson 07's recipe does without: ``python benchmarks/techniques.py``.

As ``ablation.py`` does it: 55,000 training images, 5,000 validation images, 3 epochs, seeds in pairs; the test set is
never read. Each variant adds one technique to the full recipe; both forms of evaluation, plain and with mirror images,
are noted for each. Finished runs are kept in runs/techniques. ``--quick`` is for CI: one seed, one epoch, a few hundred
images, written to runs/quick.
"""

import argparse
import shutil
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from harness import REPOSITORY, kept, provenance, results_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from densenet_course.data import ResidentBatches, load, normalise, prepare, split_validation
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.training import choose_device, choose_precision, evaluate, fit

VARIANTS = {
    "full recipe": {},
    "Muon": {"optimizer": "muon"},
    "alternating flip": {"alternating": True},
    "whitened stem": {"whitened": True},
    "weight averaging": {"average": 0.98},
}


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    epochs: int = 3
    seeds: int = 3
    images: int = None  # all
    folder: str = "runs/techniques"


class Alternating(ResidentBatches):
    """Flip half of the images in even epochs and the other half in odd ones. Source: Jordan 2024."""

    def __init__(self, images, labels, **options):
        flipped = torch.rand(len(images), generator=torch.Generator().manual_seed(options["seed"])) < 0.5
        sides = torch.stack([images, images.flip(-1)])
        every = torch.arange(len(images))
        self.halves = [sides[flipped.long(), every], sides[(~flipped).long(), every]]
        super().__init__(images, labels, **options)

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        self.images = self.halves[epoch % 2]


class Averaging:
    """Pass batches on, and after every fifth step move a running average of the weights towards them."""

    def __init__(self, batches, model, decay):
        self.batches, self.model = batches, model
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.set_epoch = batches.set_epoch

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for i, batch in enumerate(self.batches):
            yield batch
            if i % 5 == 4:
                self.average.update_parameters(self.model)


@torch.no_grad()
def whiten(model, images):
    """Let the first 18 of the stem's filters turn 3×3 pixels into uncorrelated numbers, and into their negatives.

    Source: the whitening layer of Page 2018, here as first weights only; filters keep the size of the others.
    """
    patches = F.unfold(normalise(images[:5000]), 3, padding=1).transpose(1, 2).reshape(-1, 9)  # (patches, 9 pixels)
    sizes, directions = torch.linalg.eigh(torch.cov(patches.T))
    filters = directions.T / (sizes[:, None] + 0.01).sqrt()  # (9, 9), a filter in each row
    weight = model.features.conv0.weight
    filters *= weight.flatten(1).norm(dim=1).mean() / filters.norm(dim=1, keepdim=True)
    weight[:18] = torch.cat([filters, -filters]).view(18, 1, 3, 3)


def run(variant, seed, *, train, validation, plan, device, precision):
    """Train one variant with one seed; a dict: validation accuracy, plain and mirrored, and CPU seconds."""
    options = dict(VARIANTS[variant])
    torch.manual_seed(seed)
    model = class_densenet()
    if options.pop("whitened", False):
        whiten(model, train[0])
    make, augment = (Alternating, None) if options.pop("alternating", False) else (ResidentBatches, "flip")
    batches = make(*train, batch_size=128, device=device, shuffle=True, drop_last=True, seed=seed, augment=augment)
    decay = options.pop("average", None)
    if decay:
        model.to(device)
        batches = Averaging(batches, model, decay)
    started = time.process_time()  # of all threads; other programs hardly change it
    fit(model, batches, epochs=plan.epochs, device=device, precision=precision, **options)
    seconds = time.process_time() - started
    judged = batches.average.module if decay else model
    held_out = ResidentBatches(*validation, batch_size=1000, device=device)
    plain, mirrored = (evaluate(judged, held_out, precision=precision, flip=flip)[1] for flip in (False, True))
    return {"plain": round(plain, 6), "mirrored": round(mirrored, 6), "cpu_seconds": round(seconds, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, a few hundred images, for CI")
    quick = parser.parse_args().quick
    location, device, plan = prepare(), choose_device(), Plan()
    if quick:
        plan = Plan(epochs=1, seeds=1, images=384, folder="runs/quick/techniques")
        shutil.rmtree(REPOSITORY / plan.folder, ignore_errors=True)
    precision = choose_precision(device)
    train, validation = ([part[:plan.images] for part in split] for split in split_validation(*load("train", location)))
    runs = {variant: {} for variant in VARIANTS}
    for seed in range(plan.seeds):
        for variant in VARIANTS:
            runs[variant][str(seed)] = kept(
                REPOSITORY / plan.folder, f"{variant}-{seed}", lambda v=variant, s=seed: run(
                    v, s, train=train, validation=validation, plan=plan, device=device, precision=precision))
    variants = {variant: {"accuracy": {seed: one["plain"] for seed, one in found.items()}}
                for variant, found in runs.items()}
    variants["mirror images in the test"] = {
        "accuracy": {seed: one["mirrored"] for seed, one in runs["full recipe"].items()}}
    variants["Muon and mirror images"] = {"accuracy": {seed: one["mirrored"] for seed, one in runs["Muon"].items()}}
    seconds = {variant: [one["cpu_seconds"] for one in found.values()] for variant, found in runs.items()}
    out = results_file("techniques", device=device.type, quick=quick)
    write_json(out, {
        "epochs": plan.epochs, "train_images": len(train[1]), "validation_images": len(validation[1]),
        "device": device.type, "precision": str(precision), "data": "sample" if location.is_sample else "full",
        "seeds": list(range(plan.seeds)), "variants": variants, "cpu_seconds": seconds,
        "provenance": provenance(seeds=list(range(plan.seeds)))})
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
