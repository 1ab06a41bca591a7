"""Gradients by depth: three small stacks measured, and the picture of what came out."""

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.figures.style import COLOURS, describe, new_figure

SETTINGS = ("PyTorch's weights", "He's weights", "with BatchNorm")
WIRINGS = {  # one colour, one marker and one line style for each way of wiring
    "plain": {"color": COLOURS["ink"], "marker": "s", "linestyle": ":"},
    "residual": {"color": COLOURS["residual"], "marker": "^", "linestyle": "--"},
    "dense": {"color": COLOURS["new"], "marker": "o", "linestyle": "-"},
}
KINDS = tuple(WIRINGS)


def relu_conv(in_channels, out_channels, setting="PyTorch's weights"):
    """Build one layer: ReLU → 3×3 convolution, with BatchNorm in front or He's weights where the setting says so."""
    norm = nn.BatchNorm2d(in_channels) if setting == "with BatchNorm" else nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    if setting == "He's weights":
        nn.init.kaiming_normal_(conv.weight)
    return nn.Sequential(norm, nn.ReLU(), conv)


def stack(kind, num_layers=24, setting="PyTorch's weights", channels=12, growth_rate=3):
    """Build the layers of a stack; only those of a dense one grow wider, and each adds fewer maps."""
    if kind == "dense":
        widths = [(channels + i * growth_rate, growth_rate) for i in range(num_layers)]
    else:
        widths = [(channels, channels)] * num_layers
    return nn.ModuleList(relu_conv(*width, setting) for width in widths)


def join(kind, features, new_maps):
    """Pass on what the next layer reads."""
    if kind == "plain":
        return new_maps  # (N, C, H, W)
    if kind == "residual":
        return features + new_maps  # (N, C, H, W)
    return torch.cat([features, new_maps], dim=1)  # (N, C + k, H, W)


def run_stack(kind, layers, images):
    """Run a stack; return what leaves it, and a list of the maps each layer made."""
    features, made = images, []
    for layer in layers:
        new_maps = layer(features)  # (N, k, H, W)
        made.append(new_maps)
        features = join(kind, features, new_maps)
    return features, made


def class_loss(features, labels):
    """Classify the average of each map by a fresh linear layer; return the cross-entropy."""
    pooled = features.mean(dim=(2, 3))  # (N, C)
    return F.cross_entropy(nn.Linear(pooled.shape[1], 10)(pooled), labels)


def measure(kind, setting="PyTorch's weights", seed=0):
    """Measure the length of the loss's gradient at the maps of each layer, for an untrained stack.

    Args:
        kind: "plain", "residual" or "dense".
        setting: one of ``SETTINGS``.
        seed: seed of the noise images, the labels and the weights.

    Returns:
        A list of lengths, first layer first.
    """
    torch.manual_seed(seed)
    images, labels = torch.randn(32, 12, 8, 8), torch.randint(10, (32,))
    features, made = run_stack(kind, stack(kind, setting=setting), images)
    gradients = torch.autograd.grad(class_loss(features, labels), made)
    return [gradient.norm().item() for gradient in gradients]


def gradient_norms(norms):
    """Draw gradient lengths by layer, one panel for each setting, on one logarithmic axis.

    Args:
        norms: setting → kind of stack → list of lengths, first layer first.

    Raises:
        ValueError: nothing to draw, an unknown kind, or a length that is not above zero.
    """
    check_norms(norms)
    figure, panels = new_figure(height=3.2, ncols=len(norms), sharey=True, squeeze=False)
    for ax, (setting, by_kind) in zip(panels[0], norms.items(), strict=True):
        for kind, lengths in by_kind.items():
            layers = range(1, len(lengths) + 1)
            ax.semilogy(layers, lengths, **WIRINGS[kind], label=kind, markersize=4, markevery=(0, 3), linewidth=1.6)
        ax.set(title=setting if len(norms) > 1 else None, xlabel="layer", xticks=[1, *ticks(len(layers))])
        ax.grid(axis="y", alpha=0.3)
    panels[0, 0].set_ylabel("length of the gradient")
    lines = {line.get_label(): line for ax in panels[0] for line in ax.lines}
    figure.legend(lines.values(), lines, loc="outside upper center", ncols=len(lines), frameon=False)
    return describe(figure, " ".join(spoken(*item) for item in norms.items()))


def ticks(num_layers):
    """Choose at most four layers to label besides the first, the last one among them."""
    step = -(-num_layers // 4)
    return range(num_layers, 1, -step)


def check_norms(norms):
    """Refuse what a logarithmic axis cannot show."""
    if not norms:
        raise ValueError("norms: expected at least one setting with its stacks, got none")
    for by_kind in norms.values():
        unknown = set(by_kind) - set(WIRINGS)
        if unknown or not by_kind:
            raise ValueError(f"norms: expected stacks among {', '.join(WIRINGS)}, got {', '.join(unknown) or 'none'}")
        for kind, lengths in by_kind.items():
            if not lengths:
                raise ValueError(f"norms: no lengths for {kind}, expected one for each layer")
            if not all(length > 0 for length in lengths):
                raise ValueError(f"norms: expected lengths above 0 for {kind}, got {min(lengths)}")


def spoken(setting, by_kind):
    """Say one panel in words."""
    ends = [f"{kind} {lengths[0]:.0e} at layer 1, {lengths[-1]:.0e} at layer {len(lengths)}"
            for kind, lengths in by_kind.items()]
    return f"Length of the gradient by layer, {setting}: {'; '.join(ends)}."


def measured_norms():
    """Measure every stack in every setting and draw it."""
    norms = {setting: {kind: measure(kind, setting) for kind in KINDS} for setting in SETTINGS}
    return gradient_norms(norms)


FILES = {"gradient_norms": measured_norms}
