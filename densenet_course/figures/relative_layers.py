"""Pictures of single blocks and layers of DenseNet's relatives: what leaves a block, a layer's weights by growth."""

import torch
from torch import nn

from densenet_course.figures.style import COLOURS, describe, new_figure

PIECES = {  # what leaves a block: colour and hatch
    "x": (COLOURS["input"], ""),
    "x + H": (COLOURS["residual"], "//"),
    "H": (COLOURS["new"], ""),
}
LAYER_LINES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))
LAYER_COLOURS = (COLOURS["bottleneck"], "#56B4E9", "#8C6BB1", COLOURS["ink"])  # only the first has a role elsewhere


def pieces(block, in_channels, out_channels):
    """List (kind, channels) of what leaves a block, in the order of the channels; kinds are those of ``PIECES``.

    Raises:
        TypeError: not a block of ``relatives``, nor a ``DenseBlock``.
    """
    kind = type(block).__name__  # a lesson writes the same classes anew
    if kind == "ResidualBlock":
        return [("x + H", out_channels)]
    if kind == "DenseBlock":
        layers = len(list(block.children()))
        return [("x", in_channels)] + [("H", (out_channels - in_channels) // layers)] * layers
    if kind == "InceptionBlock":
        return [("H", out_channels // 4)] * 4
    raise TypeError(f"block: expected a residual, dense or Inception block, got {type(block).__name__}")


def combined(blocks, images):
    """Draw what leaves each block, channel by channel: the input, new maps, or their sum.

    Args:
        blocks: label → block.
        images: what they read, (N, C, H, W).

    Returns:
        A figure with alt text: a bar for each block, as long as its output has channels.
    """
    figure, panel = new_figure(height=0.7 + 0.5 * len(blocks))
    told = []
    for row, (label, block) in enumerate(blocks.items()):
        with torch.no_grad():
            parts = pieces(block, images.shape[1], block(images).shape[1])
        left = 0
        for kind, channels in parts:
            colour, hatch = PIECES[kind]
            panel.barh(row, channels, 0.6, left, color=colour, hatch=hatch, edgecolor="white")
            left += channels
        panel.text(left, row, f"  {' | '.join(kind for kind, _ in parts)}", va="center")
        told.append(f"{label}: " + ", ".join(f"{channels} of {kind}" for kind, channels in parts))
    panel.set_yticks(range(len(blocks)), list(blocks))
    panel.set_ylim(len(blocks) - 0.5, -0.5)
    panel.margins(x=0.45)
    panel.set_xlim(0)
    panel.set_xlabel("channels that leave the block")
    return describe(figure, f"What leaves a block that reads {images.shape[1]} channels. {'; '.join(told)}.")


def conv_weights(layer):
    """Count the weights of a layer's convolutions; of one with a mask, those that are left at the end."""
    kept = 0
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            kept += module.weight.numel() // getattr(module, "condensation", 1)
    return kept


def cost_by_growth(layers, in_channels=128, largest_growth=96):
    """Draw the convolution weights of several kinds of layer against the growth rate, all reading equally much.

    Args:
        layers: label → function (in_channels, growth_rate) → ``nn.Module``, at most four.
        in_channels: channels that the layer reads.
        largest_growth: last growth rate, in steps of 8.

    Returns:
        A figure with alt text.

    Raises:
        ValueError: no kind of layer, or more than four.
    """
    if not 1 <= len(layers) <= len(LAYER_LINES):
        raise ValueError(f"layers: expected 1 to {len(LAYER_LINES)}, got {len(layers)}")
    rates = range(8, largest_growth + 1, 8)
    figure, panel = new_figure(height=3.4)
    told = []
    for (label, layer), colour, (line, marker) in zip(layers.items(), LAYER_COLOURS, LAYER_LINES, strict=False):
        with torch.device("meta"):
            counts = [conv_weights(layer(in_channels, rate)) for rate in rates]
        panel.plot(rates, [count / 1e3 for count in counts], line, marker=marker, markersize=5, color=colour,
                   linewidth=2, label=label)
        told.append(f"{label} from {counts[0]:,} to {counts[-1]:,}")
    panel.set(xlabel=f"growth rate k (the layer reads {in_channels} channels)", ylabel="weights (thousands)")
    panel.set_xticks(rates[1::2])
    panel.set_xlim(0)
    panel.set_ylim(0)
    panel.legend(frameon=False, loc="upper left", handlelength=3.5)
    return describe(figure, f"Convolution weights of one layer that reads {in_channels} channels, for growth rates "
                            f"from {rates[0]} to {rates[-1]}. {'; '.join(told)}.")
