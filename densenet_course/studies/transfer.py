"""What transfer needs: some classes, few images, a new classifier, features of a frozen network; and runs compared."""

import copy
import statistics

import torch
import torch.nn.functional as F
from torch import nn


def select_classes(images, labels, classes):
    """Keep the images of some classes; the first of them becomes label 0, the second 1, and so on.

    Args:
        images: (N, …).
        labels: int64 (N,).
        classes: the labels to keep, each once.

    Returns:
        (images, labels): (M, …) and int64 (M,), in the order of the input.

    Raises:
        ValueError: a class is named twice, or has no image.
    """
    if len(set(classes)) != len(classes):
        raise ValueError(f"classes: expected each once, got {tuple(classes)}")
    missing = sorted(set(classes) - set(labels.unique().tolist()))
    if missing:
        raise ValueError(f"classes: no image of {', '.join(map(str, missing))}")
    matches = labels[:, None] == torch.as_tensor(classes, device=labels.device)  # (N, classes)
    kept = matches.any(dim=1)
    return images[kept], matches[kept].int().argmax(dim=1)


def draw_per_class(images, labels, per_class, *, seed):
    """Draw the same number of images of every class, at random.

    Args:
        images: (N, …).
        labels: int64 (N,).
        per_class: images drawn of each class.
        seed: of the draw.

    Returns:
        (images, labels): ``per_class`` of each class, class after class.

    Raises:
        ValueError: a class has fewer images, or less than one is asked for.
    """
    counts = torch.bincount(labels)
    least = int(counts[counts > 0].min())
    if not 1 <= per_class <= least:
        raise ValueError(f"per_class: expected 1 … {least}, the size of the smallest class, got {per_class}")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    drawn = torch.cat([order[labels[order] == label][:per_class] for label in labels.unique()])
    return images[drawn], labels[drawn]


def with_new_classifier(model, num_classes):
    """Copy a DenseNet and give the copy a new classifier with random weights; the original stays as it is.

    Args:
        model: a DenseNet of this package, or torchvision's.
        num_classes: outputs of the new classifier.

    Returns:
        The copy. Everything in it can be trained, whatever was frozen in the original.
    """
    new = copy.deepcopy(model).requires_grad_(True)
    new.classifier = nn.Linear(model.classifier.in_features, num_classes).to(model.classifier.weight.device)
    return new


@torch.no_grad()
def last_features(model, images, *, batch_size=500):
    """Compute what the classifier reads, in evaluation mode; the model's mode is restored.

    Args:
        model: a DenseNet of this package, or torchvision's.
        images: normalised (N, in_channels, H, W).
        batch_size: images computed together.

    Returns:
        float32 (N, C).
    """
    was_training = model.training
    model.eval()
    try:
        maps = (F.relu(model.features(batch)) for batch in images.split(batch_size))  # (B, C, H', W')
        return torch.cat([F.adaptive_avg_pool2d(part, 1).flatten(1) for part in maps])
    finally:
        model.train(was_training)


@torch.no_grad()
def measure_batchnorm(model, images, *, batch_size=500):
    """Measure the BatchNorm statistics of an untrained network: the plain mean over all batches. No weight changes.

    Args:
        model: left in evaluation mode, BatchNorm's momentum as it was.
        images: normalised (N, in_channels, H, W).
        batch_size: images computed together.

    Returns:
        The model.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # what BatchNorm calls the plain mean
    try:
        model.train()
        for batch in images.split(batch_size):
            model(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return model.eval()


WITHOUT_SOURCE = ("from scratch", "from scratch, longer", "random, frozen", "raw pixels")


def find(measured, method, per_class, target, source=()):
    """Pick one run out of what ``benchmarks/transfer.py`` writes.

    Args:
        measured: the whole result.
        method: for instance "fine-tuned".
        per_class: labelled images of each target class.
        target: names of the target classes.
        source: names of the source classes; a method without pretraining has none, whatever is given.

    Raises:
        ValueError: there is no such run.
    """
    source = [] if method in WITHOUT_SOURCE else list(source)
    wanted = {"method": method, "per_class": per_class, "target": list(target), "source": source}
    for run in measured["runs"]:
        if wanted.items() <= run.items():
            return run
    raise ValueError(f"no run with {', '.join(f'{name} {value}' for name, value in wanted.items())}")


def points(run, part="target"):
    """List a run's test accuracies in percent, one for each seed, on its target or its "source" classes."""
    return [100 * one[part] for one in run["test"]]


def compare(run, other):
    """Say by how many points one run leads another, seed by seed.

    Args:
        run, other: as ``find`` returns them.

    Returns:
        The mean, the range, and whether all seeds agree on the sign.
    """
    leads = [a - b for a, b in zip(points(run), points(other), strict=True)]
    agree = min(leads) > 0 or max(leads) < 0
    told = f"all {len(leads)} seeds agree" if agree else "the seeds disagree"
    return f"{statistics.mean(leads):+5.1f} points ({min(leads):+.1f} to {max(leads):+.1f}; {told})"
