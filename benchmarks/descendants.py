"""Measure the layers of DenseNet's descendants in the class network: ``python benchmarks/descendants.py``.

Every network has the class network's blocks of 2, 4 and 4 layers and k = 16; only the layer differs, or the block.
Plain DenseNet-BCs of three other sizes are the scale to read them by. All train alike: one epoch on 6,400 images,
lesson 07's recipe, three seeds (``--seeds``); the test set is read once for each seed, at the end. No rate was sought
for any layer. Then step times, taken in turns. Each finished run is kept in runs/descendants, so a stopped script goes
on where it was. ``--quick`` is for CI: a few hundred images, written to runs/quick.
"""

import argparse
import functools

import torch
import torch.nn.functional as F
from harness import REPOSITORY, in_turns, kept, provenance, results_file, summarise
from torch import nn

from densenet_course.data import ResidentBatches, load, prepare
from densenet_course.files import write_json
from densenet_course.layers import BottleneckLayer
from densenet_course.measure import cost
from densenet_course.studies.descendants import (
    LearnedGroupConv,
    OneShotBlock,
    TwoWayLayer,
    condense_layer,
    grouped_layer,
    rd_layer,
    se_layer,
)
from densenet_course.studies.relatives import class_densenet_of, class_densenet_with, nearest_in_size
from densenet_course.training import choose_device, choose_precision, evaluate, fit

IMAGES, BATCH, PEAK_RATE = 6_400, 128, 0.2
PLAIN = {f"plain {size:,}": functools.partial(nearest_in_size, "DenseNet-BC", size)
         for size in (35_000, 75_000, 240_000)}
LAYERS = {
    "bottleneck": BottleneckLayer,
    "SE": se_layer,
    "two-way": TwoWayLayer,
    "learned groups": condense_layer,
    "groups by age": grouped_layer,
    "shuffled groups": functools.partial(grouped_layer, shuffled=True),
    "RDNet": rd_layer,
}
NETWORKS = {name: functools.partial(class_densenet_with, layer) for name, layer in LAYERS.items()}
NETWORKS["one-shot"] = functools.partial(class_densenet_of, OneShotBlock)


class Condensing:
    """Batches that let the model's learned groups drop channels: a round each after 1/6, 2/6 and 3/6 of the steps."""

    def __init__(self, batches, model):
        self.batches = batches
        self.learned = [m for m in model.modules() if isinstance(m, LearnedGroupConv) and m.mask.all()]

    def __len__(self):
        return len(self.batches)

    def set_epoch(self, epoch):
        self.batches.set_epoch(epoch)

    def __iter__(self):
        rounds = [len(self) * part // 6 for part in (1, 2, 3)]
        for step, batch in enumerate(self.batches):
            for _ in range(rounds.count(step)):
                for convolution in self.learned:
                    convolution.condense()
            yield batch


def as_used(model):
    """Put an ordinary group convolution in the place of every masked one, as after the training; for counting only."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, LearnedGroupConv):
                setattr(module, name, nn.Conv2d(child.in_channels, child.out_channels, 1, groups=child.condensation,
                                                bias=False))
    return model


def train(build, seed, *, images, judged, device, precision):
    """Train one network for one epoch and return its accuracy on the judged images."""
    torch.manual_seed(seed)
    model = build()
    batches = ResidentBatches(*images, batch_size=BATCH, device=device, shuffle=True, augment="flip", drop_last=True,
                              seed=seed)
    fit(model, Condensing(batches, model), epochs=1, peak_rate=PEAK_RATE, device=device, precision=precision)
    judged = ResidentBatches(*judged, batch_size=1000, device=device)
    return round(evaluate(model, judged, precision=precision)[1], 6)


def steps(device, precision, repeats):
    """Time one training step of each kind, in turns: name → seconds of each round."""
    images = torch.randn(BATCH, 1, 28, 28, device=device).contiguous(memory_format=precision.memory_format)
    labels = torch.randint(10, (BATCH,), device=device)

    def task(build):
        model = build().to(device=device, memory_format=precision.memory_format).train()

        def step():
            with precision.autocast(device):
                loss = F.cross_entropy(model(images), labels)
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return step

    return in_turns({name: task(build) for name, build in NETWORKS.items()}, repeats, untimed=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--quick", action="store_true", help="one seed, a few hundred images, for CI")
    options = parser.parse_args()
    seeds = [0] if options.quick else list(range(options.seeds))
    location = prepare()
    images, test = ([part[:384 if options.quick else IMAGES] for part in load(split, location)]
                    for split in ("train", "test"))
    folder = REPOSITORY / "runs" / ("quick/descendants" if options.quick else "descendants")
    if options.quick:
        for path in folder.glob("*.json"):
            path.unlink()
    device = choose_device()
    precision = choose_precision(device)
    common = {"images": images, "judged": test, "device": device, "precision": precision}
    found = {}
    for seed in seeds:
        for name, build in (NETWORKS | PLAIN).items():
            found.setdefault(name, {})[str(seed)] = kept(folder, f"{name}-{seed}", lambda b=build, s=seed: train(
                b, s, **common))

    def described(name, build):
        parameters, work = cost(as_used(build()), 1, 28, 28)
        return {"name": name, "parameters": parameters, "multiply_adds": work, "accuracy": found[name]}

    seconds = steps(device, precision, 2 if options.quick else 9)
    out = results_file("descendants", device=device.type, quick=options.quick)
    write_json(out, {
        "provenance": provenance(seeds=seeds), "epochs": 1, "train_images": len(images[1]), "batch_size": BATCH,
        "peak_rate": PEAK_RATE, "precision": str(precision), "device": device.type,
        "data": "sample" if location.is_sample else "full", "seeds": seeds,
        "networks": [described(*network) for network in NETWORKS.items()],
        "plain": [described(*network) for network in PLAIN.items()],
        "step_seconds": {name: summarise(values, 5) for name, values in seconds.items()},
    })
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
