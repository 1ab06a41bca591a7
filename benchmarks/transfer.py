"""Measure transfer between classes of FashionMNIST: ``python benchmarks/transfer.py``.

The class network is pretrained on some classes and transferred to three others, with 30 or 300 labelled images of each.
Each seed (``--seeds``) has its own pretraining and its own labelled images, the same for all methods. All but frozen
classifiers get the same steps of the same batches. Each method's peak rate, or weight decay, is the one with the best
mean over the first three seeds on held-out images of the target's training set. The test images of the target are read
once for each seed, at the end. Everything finished is kept in runs/transfer, so a stopped script goes on where it was.
``--quick`` is for CI: one seed, a few images and steps, written to runs/quick.
"""

import argparse
import shutil
import statistics
import time
from dataclasses import dataclass, field

import torch
from harness import REPOSITORY, kept, provenance
from torch import nn

from densenet_course.data import CLASS_NAMES, ResidentBatches, load, normalise, prepare
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.studies.features import linear_probe
from densenet_course.studies.transfer import (
    draw_per_class,
    last_features,
    measure_batchnorm,
    select_classes,
    with_new_classifier,
)
from densenet_course.training import choose_device, choose_precision, evaluate, fit
from densenet_course.training.checkpoint import load_checkpoint, save_checkpoint
from densenet_course.training.precision import FP32

GARMENTS, SLEEVES, SHOES, BAG = (0, 1, 3), (2, 4, 6), (5, 7, 9), (8,)
SEVEN, NO_SHOES = tuple(sorted(GARMENTS + SHOES + BAG)), tuple(sorted(GARMENTS + SLEEVES + BAG))
EPOCHS = {SEVEN: 2, NO_SHOES: 2, GARMENTS: 5, SHOES: 5}  # of pretraining: some 700 steps for each source
TASKS = ((SEVEN, SLEEVES), (GARMENTS, SLEEVES), (SHOES, SLEEVES), (NO_SHOES, SHOES))  # source and target
LONGER = "from scratch, longer"  # with four times the steps
STILL = "classifier, BN still"
HELD_OUT = 1000  # images of each target class, the last of the training set; labelled images are drawn from the others


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    seeds: int = 5
    choose: int = 3  # seeds that choose rate or decay
    per_class: tuple = (30, 300)
    steps: int = 300
    batch_size: int = 30
    rates: tuple = (0.005, 0.02, 0.08, 0.32, 1.28)
    decays: tuple = (0.001, 0.01, 0.1, 1.0, 10.0)
    source_images: int = None  # all
    judged: int = None  # all
    old_test: int = 2000  # test images of the source classes, which tell what a network still knows of them
    folder: object = REPOSITORY / "runs/transfer"
    device: object = field(default_factory=choose_device)

    @property
    def precision(self):
        return choose_precision(self.device)


class Still(nn.Module):
    """A frozen network under a classifier that learns: ``train()`` does not reach the network's BatchNorm."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def train(self, mode=True):
        super().train(mode)
        self.model.features.eval()
        return self

    def forward(self, images):
        return self.model(images)


def pretrained(source, seed, *, train, plan):
    """Train the class network on the source classes, or read what was trained before; in evaluation mode."""
    path = plan.folder / f"{'-'.join(map(str, source))}-seed{seed}.pt"
    model = class_densenet(len(source))
    if not path.exists():
        torch.manual_seed(seed)
        model = class_densenet(len(source))
        images, labels = (part[:plan.source_images] for part in select_classes(*train, source))
        batches = ResidentBatches(images, labels, batch_size=128, device=plan.device, shuffle=True, augment="flip",
                                  drop_last=True, seed=seed)
        fit(model, batches, epochs=EPOCHS[source], device=plan.device, precision=plan.precision)
        save_checkpoint(path, model.cpu().state_dict())
    model.load_state_dict(load_checkpoint(path))
    return model.eval()


def probed(model, known, decay):
    """Fit a new classifier to what a frozen network puts out, computed once for each image and its mirror."""
    images, labels = known
    features = last_features(model, normalise(torch.cat([images, images.flip(-1)])))
    model.classifier = linear_probe(features, labels.repeat(2), decay=decay)
    return model


def train(method, model, known, rate, seed, *, plan):
    """Train what the method lets train: all of the network, or its classifier only."""
    batches = ResidentBatches(*known, batch_size=plan.batch_size, device=plan.device, shuffle=True, augment="flip",
                              drop_last=True, seed=seed)
    learner = model
    if method.startswith("classifier"):
        model.features.requires_grad_(False)
        learner = Still(model) if method == STILL else model
    steps = plan.steps * (4 if method == LONGER else 1)
    fit(learner, batches, epochs=steps // len(batches), peak_rate=rate, device=plan.device, precision=plan.precision)
    return model.cpu()


def transfer(method, source, target, per_class, seed, setting, *, data, plan):
    """Make one network for the target classes.

    Returns:
        (model, old, seconds): on the CPU; the classifier of the source classes, or None; and the CPU seconds of all
        threads since the pretrained network was there, because wall time depends on what else the machine does.
    """
    known = draw_per_class(*data["labelled"][target], per_class, seed=seed)
    if not source:
        torch.manual_seed(1000 + seed)
        model, old = class_densenet(len(target)), None
    else:
        before = pretrained(source, seed, train=data["train"], plan=plan)
        torch.manual_seed(2000 + seed)
        model, old = with_new_classifier(before, len(target)), before.classifier
    started = time.process_time()
    if method == "random, frozen":
        measure_batchnorm(model, normalise(torch.cat([known[0], known[0].flip(-1)])))
    if method in ("frozen", "random, frozen"):
        model = probed(model, known, setting)
    else:
        model = train(method, model, known, setting, seed, plan=plan)
    return model.eval(), old, time.process_time() - started


def score(model, judged):
    """Measure accuracy in fp32."""
    return round(evaluate(model, ResidentBatches(*judged, batch_size=1000), precision=FP32)[1], 5)


def remembered(model, old, source, data):
    """Put the old classifier back and measure what the network still knows of the source classes."""
    new, model.classifier = model.classifier, old
    accuracy = score(model, data["old test"][source])
    model.classifier = new
    return accuracy


def measure(method, source, target, per_class, *, data, plan, setting=None):
    """Choose the setting on held-out images, then judge it on the test images with every seed."""
    key = "-".join([method, "".join(map(str, source)), "".join(map(str, target)), str(per_class)])

    def one(setting, seed, judged):
        model, old, seconds = transfer(method, source, target, per_class, seed, setting, data=data, plan=plan)
        found = {"target": score(model, data[judged][target]), "cpu_seconds": round(seconds, 2)}
        return found if old is None else found | {"source": remembered(model, old, source, data)}

    held_out = {}
    if setting is None:
        for option in plan.decays if method.endswith("frozen") else plan.rates:
            held_out[str(option)] = [
                kept(plan.folder, f"{key}-{option}-{seed}", lambda o=option, s=seed: one(o, s, "held out"))
                for seed in range(min(plan.choose, plan.seeds))]
        setting = float(max(held_out, key=lambda o: statistics.mean(run["target"] for run in held_out[o])))
    runs = [kept(plan.folder, f"{key}-test-{setting}-{seed}", lambda s=seed: one(setting, s, "test"))
            for seed in range(plan.seeds)]
    return {"method": method, "source": names(source), "target": names(target), "per_class": per_class,
            "setting": setting, "held_out": held_out, "test": runs}


def names(classes):
    return [CLASS_NAMES[label] for label in classes]


def measure_all(data, plan):
    """Run every method on every task it belongs to; return what ``measure`` returns for each."""
    found = []
    for per_class in plan.per_class:
        common = {"per_class": per_class, "data": data, "plan": plan}
        scratch = [measure("from scratch", (), target, **common) for target in (SLEEVES, SHOES)]
        found += [*scratch, measure(LONGER, (), SLEEVES, setting=scratch[0]["setting"], **common)]
        found += [measure("random, frozen", (), target, **common) for target in (SLEEVES, SHOES)]
        found += [measure(method, *task, **common) for task in TASKS for method in ("frozen", "fine-tuned")]
        found += [measure(method, *TASKS[0], **common) for method in (STILL, "classifier, BN moving")]
    return found


def before_transfer(data, plan):
    """Measure the pretrained networks on the test images of their own source classes."""
    return [{"source": names(source), "epochs": EPOCHS[source],
             "test": [score(pretrained(source, seed, train=data["train"], plan=plan), data["old test"][source])
                      for seed in range(plan.seeds)]} for source in EPOCHS]


def split(location, plan):
    """Load the parts: all training images, for each target the labelled and the held-out ones, the test images."""
    train, test = load("train", location), load("test", location)
    data = {"train": train, "labelled": {}, "held out": {}, "test": {}}
    for target in (SLEEVES, SHOES):
        images, labels = select_classes(*train, target)
        size = min(HELD_OUT, len(labels) // 3 // 3)
        last = torch.cat([(labels == label).nonzero()[-size:, 0] for label in labels.unique()]).sort().values
        others = torch.ones(len(labels), dtype=torch.bool).index_fill(0, last, False)
        data["labelled"][target] = images[others], labels[others]
        data["held out"][target] = images[last[:plan.judged]], labels[last[:plan.judged]]
        data["test"][target] = tuple(part[:plan.judged] for part in select_classes(*test, target))
    data["old test"] = {
        source: tuple(part[:plan.old_test] for part in select_classes(*test, source)) for source in EPOCHS
    }
    return data


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one seed, a few images and steps, for CI")
    options = parser.parse_args()
    location, out = prepare(), REPOSITORY / "benchmarks/results/transfer.json"
    plan = Plan(seeds=options.seeds)
    if options.quick:
        out = REPOSITORY / "runs/quick/transfer.json"
        plan = Plan(seeds=1, per_class=(4, 8), steps=2, batch_size=12, rates=(0.02, 0.08), decays=(0.1, 1.0),
                    source_images=256, judged=100, old_test=100, folder=REPOSITORY / "runs/quick/transfer")
        shutil.rmtree(plan.folder, ignore_errors=True)
    elif location.is_sample:
        raise SystemExit("transfer is measured on the full set, which is not on this machine")
    data = split(location, plan)
    methods, pretraining = measure_all(data, plan), before_transfer(data, plan)
    write_json(out, {
        "provenance": provenance(seeds=list(range(plan.seeds))), "seeds": list(range(plan.seeds)),
        "data": "sample" if location.is_sample else "full", "steps": plan.steps, "batch_size": plan.batch_size,
        "per_class": list(plan.per_class), "held_out_images": len(data["held out"][SLEEVES][1]),
        "test_images": len(data["test"][SLEEVES][1]), "source_test_images": plan.old_test,
        "rates": list(plan.rates), "decays": list(plan.decays), "precision": str(plan.precision),
        "device": plan.device.type, "pretraining": pretraining, "runs": methods,
    })
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
