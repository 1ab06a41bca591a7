"""Gradients by depth: plain, residual and dense stacks of one kind of layer, untrained, fed with noise."""

import torch
import torch.nn.functional as F
from torch import nn

KINDS = ("plain", "residual", "dense")
SETTINGS = ("PyTorch's weights", "He", "BatchNorm", "BatchNorm and He")
CHANNELS, GROWTH_RATE = 12, 3  # 24 layers then hold nearly the same number of weights in all three stacks


def make_layer(in_channels, out_channels, setting="PyTorch's weights"):
    """Build ReLU → 3×3 convolution, with BatchNorm in front or He initialisation where the setting says so."""
    norm = nn.BatchNorm2d(in_channels) if "BatchNorm" in setting else nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    if "He" in setting:
        nn.init.kaiming_normal_(conv.weight)
    return nn.Sequential(norm, nn.ReLU(), conv)


def stack(kind, num_layers=24, setting="PyTorch's weights"):
    """Build the layers of a stack; those of a dense one read more and more, and each makes fewer maps."""
    if kind == "dense":
        widths = [(CHANNELS + i * GROWTH_RATE, GROWTH_RATE) for i in range(num_layers)]
    else:
        widths = [(CHANNELS, CHANNELS)] * num_layers
    return nn.ModuleList(make_layer(*width, setting) for width in widths)


def combine(kind, features, new_maps):
    """Hand on what the next layer reads."""
    if kind == "plain":
        return new_maps
    if kind == "residual":
        return features + new_maps
    return torch.cat([features, new_maps], dim=1)


def run_stack(kind, layers, images):
    """Run a stack; return what leaves it, and a list of the maps that each layer made."""
    features, made = images, []
    for layer in layers:
        new_maps = layer(features)  # (N, k, H, W)
        made.append(new_maps)
        features = combine(kind, features, new_maps)
    return features, made


def class_loss(features, labels):
    """Classify the average of each map by a fresh linear layer; return the cross-entropy."""
    pooled = features.mean(dim=(2, 3))  # (N, C)
    return F.cross_entropy(nn.Linear(pooled.shape[1], 10)(pooled), labels)


def one_run(kind, setting, num_layers, seed):
    """Run a fresh stack on noise with random labels; return the loss, what leaves, and what each layer made."""
    torch.manual_seed(seed)
    images, labels = torch.randn(32, CHANNELS, 8, 8), torch.randint(10, (32,))
    features, made = run_stack(kind, stack(kind, num_layers, setting), images)
    return class_loss(features, labels), features, made


def measure(kind, setting="PyTorch's weights", *, num_layers=24, seed=0):
    """Measure the length of the loss's gradient at the maps of each layer.

    Args:
        kind: one of ``KINDS``.
        setting: one of ``SETTINGS``.
        num_layers: depth of the stack.
        seed: of the noise images, the labels and the weights.

    Returns:
        A list of lengths, first layer first.
    """
    loss, _, made = one_run(kind, setting, num_layers, seed)
    return [gradient.norm().item() for gradient in torch.autograd.grad(loss, made)]


def first_over_last(kind, setting="PyTorch's weights", *, num_layers=24, seeds=range(5)):
    """Divide the gradient's length at the first layer by that at the last, once for each seed."""
    runs = [measure(kind, setting, num_layers=num_layers, seed=seed) for seed in seeds]
    return [lengths[0] / lengths[-1] for lengths in runs]


def direct_share(setting, *, num_layers=24, seed=0):
    """Compare two lengths at each layer of a dense stack: the gradient straight from the classifier, and the whole.

    Args:
        setting: one of ``SETTINGS``.
        num_layers: depth of the stack.
        seed: as for ``measure``.

    Returns:
        A list of quotients, first layer first; the last layer's is 1, for only the classifier reads its maps.
    """
    loss, features, made = one_run("dense", setting, num_layers, seed)
    at_end, *at_layers = torch.autograd.grad(loss, [features, *made])
    direct = at_end[:, CHANNELS:].split(GROWTH_RATE, dim=1)  # one (N, k, H, W) for each layer
    return [(part.norm() / whole.norm()).item() for part, whole in zip(direct, at_layers, strict=True)]
