"""Pictures of DenseNet and its relatives: what each family costs, accuracy by size, and one layer's cost by growth."""

import math
import statistics
from itertools import pairwise

import torch
from torch import nn

from densenet_course.figures.gradients import LINES
from densenet_course.figures.style import COLOURS, describe, new_figure
from densenet_course.layers import DenseBlock
from densenet_course.relatives import InceptionBlock, ResidualBlock

FAMILIES = {  # colour and hatch of a bar, marker and line of a curve
    "DenseNet-BC": {"color": COLOURS["new"], "hatch": "", "marker": "o", "linestyle": "-"},
    "ResNet": {"color": LINES["residual"]["color"], "hatch": "//", "marker": "^", "linestyle": "--"},
    "Inception": {"color": COLOURS["input"], "hatch": "..", "marker": "s", "linestyle": ":"},
}
COSTS = (  # what a panel shows: title, unit, how to read it from a network and its step time in seconds
    ("multiply-adds", "millions an image", lambda network, _: network["multiply_adds"] / 1e6),
    ("saved bytes", "kB an image", lambda network, _: network["saved_bytes"] / 1e3),
    ("training step", "milliseconds", lambda _, seconds: 1e3 * seconds),
)
LAYER_LINES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))
LAYER_COLOURS = (COLOURS["bottleneck"], COLOURS["new"], COLOURS["transition"], COLOURS["ink"])


PIECES = {  # what leaves a block: colour and hatch
    "x": (COLOURS["input"], ""),
    "x + H": (LINES["residual"]["color"], "//"),
    "H": (COLOURS["new"], ".."),
}


def pieces(block, in_channels, out_channels):
    """List (kind, channels) of what leaves a block, in the order of the channels; kinds are those of ``PIECES``.

    Raises:
        TypeError: not a block of ``relatives``, nor a ``DenseBlock``.
    """
    if isinstance(block, ResidualBlock):
        return [("x + H", out_channels)]
    if isinstance(block, DenseBlock):
        layers = len(list(block.children()))
        return [("x", in_channels)] + [("H", (out_channels - in_channels) // layers)] * layers
    if isinstance(block, InceptionBlock):
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


def largest(measured):
    """Return each family's largest network, family → network.

    Args:
        measured: what ``benchmarks/relatives.py`` writes.

    Raises:
        ValueError: there is no network.
    """
    if not measured.get("networks"):
        raise ValueError("measured: expected networks as benchmarks/relatives.py writes them, got none")
    by_size = sorted(measured["networks"], key=lambda network: network["parameters"])
    found = {network["family"]: network for network in by_size}
    return {family: found[family] for family in FAMILIES if family in found}


def points(network):
    """List a network's test accuracies in percent, one for each seed."""
    return [100 * value for value in network["accuracy"].values()]


def comparison(measured):
    """Draw what the families cost and reach at equal parameters: accuracy, multiply-adds, saved bytes, step time.

    Args:
        measured: what ``benchmarks/relatives.py`` writes.

    Returns:
        A figure with alt text: four panels, a row for each family; a dot is one seed.

    Raises:
        ValueError: there is no network.
    """
    networks = largest(measured)
    figure, panels = new_figure(height=2.5, ncols=4, sharey=True)
    rows, told = range(len(networks)), []
    for row, (family, network) in zip(rows, networks.items(), strict=True):
        style, values = FAMILIES[family], points(network)
        panels[0].plot(values, [row] * len(values), linestyle="none", marker=style["marker"], color=style["color"])
        panels[0].plot([statistics.mean(values)] * 2, [row - 0.3, row + 0.3], color=COLOURS["ink"], linewidth=1.5)
        seconds = measured["step_seconds"][family]["median"]
        numbers = [read(network, seconds) for _, _, read in COSTS]
        for panel, number in zip(panels[1:], numbers, strict=True):
            panel.barh(row, number, 0.6, color=style["color"], hatch=style["hatch"], edgecolor="white")
            panel.text(number, row, f" {number:.3g}" if number < 100 else f" {number:.0f}", va="center", fontsize=10)
        told.append(f"{family}: accuracy {statistics.mean(values):.2f} %, {numbers[0]:.2f} million multiply-adds, "
                    f"{numbers[1]:.0f} kB saved, {numbers[2]:.0f} ms")
    panels[0].set_title("accuracy")
    panels[0].set_xlabel("% of test images")
    panels[0].margins(x=0.2)
    panels[0].set_yticks(rows, list(networks))
    panels[0].set_ylim(len(networks) - 0.5, -0.5)
    for panel, (title, unit, _) in zip(panels[1:], COSTS, strict=True):
        panel.set_title(title)
        panel.set_xlabel(unit)
        panel.margins(x=0.4)
        panel.tick_params(axis="y", length=0)
    return describe(figure, f"Networks of about {next(iter(networks.values()))['parameters']:,} parameters, mean of "
                            f"{len(points(network))} seed(s), per image and for one training step. {'; '.join(told)}.")


def curves(measured):
    """Group the networks by family, smallest first."""
    by_size = sorted(measured["networks"], key=lambda network: network["parameters"])
    return {family: [n for n in by_size if n["family"] == family] for family in FAMILIES}


def efficiency(measured):
    """Draw the test error against parameters and against multiply-adds, a point for each trained size.

    Args:
        measured: what ``benchmarks/relatives.py`` writes.

    Returns:
        A figure with alt text: two panels with the same errors; a bar reaches from the best seed to the worst.

    Raises:
        ValueError: there is no network.

    Source: the idea is that of Huang et al. 2017, figure 3.
    """
    largest(measured)  # refuses an empty result
    figure, panels = new_figure(height=3.2, ncols=2, sharey=True)
    told = []
    for family, networks in curves(measured).items():
        if not networks:
            continue
        style = {name: value for name, value in FAMILIES[family].items() if name != "hatch"}
        values = [[100 - point for point in points(network)] for network in networks]
        means = [statistics.mean(errors) for errors in values]
        spread = [[mean - min(errors) for mean, errors in zip(means, values, strict=True)],
                  [max(errors) - mean for mean, errors in zip(means, values, strict=True)]]
        for panel, measure, unit in ((panels[0], "parameters", 1e3), (panels[1], "multiply_adds", 1e6)):
            sizes = [network[measure] / unit for network in networks]
            panel.errorbar(sizes, means, spread, capsize=3, label=family, **style)
        told.append(f"{family}: " + ", ".join(f"{error:.2f} % with {network['parameters']:,}"
                                              for error, network in zip(means, networks, strict=True)))
    for panel, label in zip(panels, ("parameters (thousands)", "multiply-adds (millions an image)"), strict=True):
        _log_ticks(panel, *panel.get_xlim())
        panel.set_xlabel(label)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test error (%)")
    panels[0].legend(frameon=False)
    return describe(figure, f"Test error against parameters and against multiply-adds. {'; '.join(told)} parameters.")


def _log_ticks(panel, low, high):
    """Set a logarithmic axis whose few ticks read as plain numbers."""
    panel.set_xscale("log")
    low = max(low, min(x for line in panel.lines for x in line.get_xdata() if x > 0) / 1.3)
    panel.set_xlim(low, high * 1.1)
    ticks = [m * 10**e for e in range(-2, 4) for m in (1, 2, 5) if low <= m * 10**e <= high * 1.1]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()


def size_needed(networks, accuracy, measure="parameters"):
    """Estimate how large a family's network must be to reach an accuracy, on straight lines over log size.

    Args:
        networks: one family's measured networks.
        accuracy: mean accuracy to reach, in percent.
        measure: "parameters" or "multiply_adds".

    Returns:
        The size; infinity where no measured network is as accurate, 0 where all of them are more accurate.
    """
    line = sorted((statistics.mean(points(network)), math.log(network[measure])) for network in networks)
    for (low, small), (high, big) in pairwise(line):
        if low <= accuracy <= high:
            share = (accuracy - low) / (high - low) if high > low else 0.0
            return math.exp(small + share * (big - small))
    return math.inf if accuracy > line[-1][0] else 0.0


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
                   linewidth=2)
        panel.annotate(label, (rates[-1], counts[-1] / 1e3), (8, 0), textcoords="offset points", va="center")
        told.append(f"{label} from {counts[0]:,} to {counts[-1]:,}")
    panel.set(xlabel=f"growth rate k (the layer reads {in_channels} channels)", ylabel="weights (thousands)")
    panel.set_xticks(rates[1::2])
    panel.set_xlim(0, 1.35 * largest_growth)
    panel.set_ylim(0)
    return describe(figure, f"Convolution weights of one layer that reads {in_channels} channels, for growth rates "
                            f"from {rates[0]} to {rates[-1]}. {'; '.join(told)}.")
