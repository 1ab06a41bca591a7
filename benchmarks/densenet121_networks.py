"""The networks that ``densenet121_layers.py`` probes: untrained, pretrained on seven classes, fine-tuned on three."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import REPOSITORY
from torch import nn

from densenet_course.config import DenseNetConfig
from densenet_course.data import ResidentBatches, normalise
from densenet_course.models import DenseNet, densenet121
from densenet_course.studies.transfer import measure_batchnorm, with_new_classifier
from densenet_course.training import fit
from densenet_course.training.checkpoint import load_checkpoint, save_checkpoint

SEVEN, TOPS = (0, 1, 3, 5, 7, 8, 9), (2, 4, 6)
CPU = torch.device("cpu")
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)  # mean, deviation of RGB


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    weights: str = "fashion"
    side: int = 64  # pixels
    train_images: int = None  # all of the seven classes
    parts: int = 6  # of an epoch, each kept when it is finished
    per_class: int = 300  # labelled images of each top to fine-tune on
    steps: int = 300  # of 30 images
    rate: float = 0.02  # peak, of fine-tuning
    fit_images: int = 3000
    test_images: int = 5000
    per_image: int = 2  # pixels
    settle: int = 1000  # images that the untrained network's BatchNorm is measured on
    small: bool = False  # a network of the same form with two layers a block
    folder: Path = REPOSITORY / "runs/densenet121_layers"

    @property
    def in_channels(self):
        return 3 if self.weights == "imagenet" else 1


class Enlarged(nn.Module):
    """A network behind the step that turns the course's images into those it expects."""

    def __init__(self, network, plan):
        super().__init__()
        self.network, self.plan = network, plan

    def prepare(self, images):
        """Enlarge normalised (N, 1, 28, 28); for ImageNet's weights make three channels with its mean and deviation."""
        images = F.interpolate(images, size=self.plan.side, mode="bilinear")  # (N, 1, side, side)
        if self.plan.in_channels == 3:
            black, white = normalise(torch.tensor([0, 255]))
            mean, deviation = IMAGENET
            images = ((images - black) / (white - black) - mean) / deviation  # (N, 3, side, side)
        return images

    def forward(self, images):
        return self.network(self.prepare(images))


def build(plan, weights=None):
    """Build DenseNet-121 with ten classes, or a thousand with ImageNet's weights; for CI a small one."""
    if plan.small:
        return DenseNet(DenseNetConfig(block_layers=(2, 2, 2, 2), growth_rate=8, init_channels=16, num_classes=10,
                                       in_channels=plan.in_channels))
    classes = 1000 if plan.weights == "imagenet" else 10
    return densenet121(classes, in_channels=plan.in_channels, weights=weights, efficient="native")


class Parts:
    """Batches of some images, a part of them for each epoch of ``fit``, so that a stopped training loses one part."""

    def __init__(self, images, labels, parts, **options):
        self.parts = [ResidentBatches(images[i::parts], labels[i::parts], shuffle=True, augment="flip", drop_last=True,
                                      **options) for i in range(parts)]
        self.next = 0

    def __repr__(self):
        return f"{len(self.parts)} parts like {self.parts[-1]}"

    def __len__(self):
        return len(self.parts[-1])  # the smallest

    def set_epoch(self, epoch):
        self.next = epoch % len(self.parts)
        self.parts[self.next].set_epoch(epoch // len(self.parts))

    def __iter__(self):
        return itertools.islice(self.parts[self.next], len(self))


def trained(name, network, data, *, parts, passes, batch_size, rate, plan):
    """Train with lesson 07's recipe, or load the weights that a finished training left in the folder.

    Args:
        name: of the files in the folder.
        network: changed in place.
        data: images and labels.
        parts: into which the images are cut.
        passes: how often each image is seen.
        batch_size, rate: of the training.
        plan: a ``Plan``.

    Returns:
        The network, in evaluation mode.
    """
    path = plan.folder / f"{name}.pt"
    if not path.exists():
        batches = Parts(*data, parts, batch_size=batch_size)
        history = fit(Enlarged(network, plan), batches, epochs=parts * passes, peak_rate=rate, device=CPU,
                      checkpoint=path.with_suffix(".run"))
        save_checkpoint(path, network.state_dict())
        seconds = sum(row["seconds"] for row in history)
        print(f"{name}: {len(batches) * len(history):,} steps, {seconds:.0f} s", flush=True)
    network.load_state_dict(load_checkpoint(path))
    return network.eval()


def networks(data, plan):
    """Make the networks to compare.

    Returns:
        A dict: "untrained", "pretrained", "fine-tuned" → network in evaluation mode.
    """
    torch.manual_seed(0)
    untrained, measured = build(plan), normalise(data["fit"][0][:plan.settle])
    measure_batchnorm(untrained, Enlarged(untrained, plan).prepare(measured), batch_size=100)
    torch.manual_seed(0)
    if plan.weights == "imagenet":
        pretrained = build(plan, weights="DEFAULT").eval()
    else:
        pretrained = trained("pretrained", build(plan), data["seven"], parts=plan.parts, passes=1, batch_size=64,
                             rate=0.1, plan=plan)
    torch.manual_seed(0)
    tuned = trained("fine-tuned", with_new_classifier(pretrained, len(TOPS)), data["tops"], parts=1, batch_size=30,
                    passes=max(1, plan.steps * 30 // len(data["tops"][1])), rate=plan.rate, plan=plan)
    return {"untrained": untrained, "pretrained": pretrained, "fine-tuned": tuned}
