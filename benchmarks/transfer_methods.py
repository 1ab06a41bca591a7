"""How a network gets to new classes: the methods that ``transfer.py`` compares, each from pretraining to a score."""

import time
from dataclasses import dataclass, field

import torch
from harness import REPOSITORY
from torch import nn

from densenet_course.data import ResidentBatches, normalise
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
LONGER = "from scratch, longer"  # with four times the steps
STILL = "BN still"  # at the end of a method's name


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
    forgetting: tuple = (0.005, 0.02)  # rates at which fine-tuning with and without moving statistics is compared
    old_test: int = 2000  # test images of the source classes, which tell what a network still knows of them
    folder: object = REPOSITORY / "runs/transfer"
    device: object = field(default_factory=choose_device)

    @property
    def precision(self):
        return choose_precision(self.device)


class Still(nn.Module):
    """A network whose BatchNorm stays in evaluation mode while it is trained: ``train()`` does not reach it."""

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


def with_mirrors(known):
    """Append the mirror images: normalised images and labels, twice as many."""
    images, labels = known
    return normalise(torch.cat([images, images.flip(-1)])), labels.repeat(2)


def probed(model, known, decay):
    """Fit a new classifier to what a frozen network puts out, computed once for each image and its mirror."""
    images, labels = with_mirrors(known)
    model.classifier = linear_probe(last_features(model, images), labels, decay=decay)
    return model


def on_pixels(known, decay):
    """Fit a linear classifier to the pixels themselves, without any network."""
    images, labels = with_mirrors(known)
    return nn.Sequential(nn.Flatten(), linear_probe(images.flatten(1), labels, decay=decay))


def train(method, model, known, rate, seed, *, plan):
    """Train what the method lets train: all of the network, or its classifier only."""
    batches = ResidentBatches(*known, batch_size=plan.batch_size, device=plan.device, shuffle=True, augment="flip",
                              drop_last=True, seed=seed)
    if method.startswith("classifier"):
        model.features.requires_grad_(False)
    learner = Still(model) if method.endswith(STILL) else model
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
        measure_batchnorm(model, with_mirrors(known)[0])
    if method == "raw pixels":
        model = on_pixels(known, setting)
    elif method in ("frozen", "random, frozen"):
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
