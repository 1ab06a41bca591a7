"""Pictures of the conv block and the dense block: what each step does, whose channels are whose, who reads whom."""

from itertools import pairwise

import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import nn

from densenet_course.accounting import connections
from densenet_course.figures.style import COLOURS, describe, link_cell, new_figure
from densenet_course.measure import who_reads

STEPS = {nn.BatchNorm2d: "BN", nn.ReLU: "ReLU", nn.Conv2d: "conv"}
FOUND = {"input": "#DADADA", "new": "#BBD9EE"}  # what a layer finds: the role's colour, paler
EXPECTED = "pass a DenseBlock, for instance DenseBlock(4, 3, growth_rate=10)"


def step_values(block, images):
    """Draw the values of a batch before and after each step of a conv block, channel by channel.

    Args:
        block: an ``nn.Sequential`` such as ``conv_block(3, 10)``, run in the mode it is in.
        images: a batch (N, C, H, W).

    Returns:
        A figure with alt text: one panel for each step; a bar holds the middle 90 % of a channel, a dot its mean.
    """
    steps, values = [("input", images)], images
    with torch.no_grad():
        for step in block.children():
            values = step(values)
            steps.append((f"after {STEPS.get(type(step), type(step).__name__)}", values))
    figure, panels = new_figure(height=2.9, ncols=len(steps))
    told = []
    for panel, (name, values) in zip(panels, steps, strict=True):
        channels = values.cpu().transpose(0, 1).flatten(1).numpy()  # (C, N·H·W)
        low, high = np.quantile(channels, (0.05, 0.95), axis=1)
        colour = COLOURS["new" if name == steps[-1][0] else "input"]
        panel.bar(range(len(channels)), high - low, bottom=low, width=0.7, color=colour)
        panel.plot(channels.mean(1), "o", markersize=4, color=COLOURS["ink"])
        panel.axhline(0, color=COLOURS["ink"], linewidth=0.8, linestyle=":")
        panel.set_title(f"{name}\n{len(channels)} channels", fontsize=10.5)
        panel.set_xlabel("channel", fontsize=10)
        panel.tick_params(labelsize=9.5)
        panel.set_xticks(range(0, len(channels), 1 if len(channels) < 6 else 3))
        panel.use_sticky_edges = False
        panel.margins(y=0.1)
        told.append(f"{name}: values from {low.min():.1f} to {high.max():.1f}")
    panels[0].set_ylabel("value", fontsize=10)
    return describe(figure, f"The middle 90 % of each channel's values, step by step. {'; '.join(told)}.")


def block_channels(block):
    """Look up what a dense block's layers read and make.

    Args:
        block: a ``DenseBlock`` whose layers start with a BatchNorm named norm1.

    Returns:
        A list of pairs (channels read, maps made), one for each layer.

    Raises:
        ValueError: a module that is no such layer, or a layer that does not read all made before it.
    """
    found = []
    for number, layer in enumerate(block.children(), start=1):
        convs = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
        if not hasattr(layer, "norm1") or not convs:
            raise ValueError(f"layer {number}: expected norm1 and a convolution, got {layer}; {EXPECTED}")
        reads, there = layer.norm1.num_features, sum(found[-1]) if found else layer.norm1.num_features
        if reads != there:
            raise ValueError(f"layer {number}: expected to read all {there} channels made before it, got {reads}; "
                             "give the layer at index i in_channels + i·growth_rate channels")
        found.append((reads, convs[-1].out_channels))
    if not found:
        raise ValueError(f"block: expected at least one layer, got none; {EXPECTED}")
    return found


def channel_ledger(block):
    """Draw the books of a dense block: for each layer the channels it finds and the maps it appends.

    Args:
        block: a ``DenseBlock``; the numbers are read from its layers.

    Returns:
        A figure with alt text. Input grey, new maps blue; pale: found, strong: appended by this layer.

    Raises:
        ValueError: ``block`` is no dense block, see ``block_channels``.
    """
    layers = block_channels(block)
    total, last = sum(layers[-1]), len(layers)
    figure, axes = new_figure(height=0.95 + 0.42 * (last + 1))
    for row in range(last + 1):
        paler = row < last
        _segment(axes, row, 0, layers[0][0], total, f"{layers[0][0]}", role="input", paler=paler)
        for number, (start, width) in enumerate(layers[:row], start=1):
            _segment(axes, row, start, width, total, f"{width} of layer {number}", paler=paler)
        if paler:
            _segment(axes, row, *layers[row], total, f"+{layers[row][1]} new")
    names = [f"layer {number} reads {reads}" for number, (reads, _) in enumerate(layers, start=1)]
    axes.set_yticks(range(last + 1), [*names, f"{total} leave"], fontsize=10.5)
    axes.text(0, -0.44, "input", fontsize=10.5)
    axes.set(xlim=(0, total), ylim=(last + 0.5, -0.9), xticks=[0, *(reads for reads, _ in layers), total])
    axes.set_xlabel("channel of features", fontsize=10.5)
    axes.tick_params(axis="x", labelsize=10)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return describe(figure, f"A staircase of channels. {layers[0][0]} enter. The layers read "
                            f"{', '.join(str(reads) for reads, _ in layers)} channels in turn, and append "
                            f"{', '.join(f'+{makes}' for _, makes in layers)} new maps at the end. "
                            f"{total} channels leave, the input first.")


def _segment(axes, row, start, width, total, label, *, role="new", paler=False):
    """Draw one run of channels in one row; the label is shortened, then dropped, where it would not fit."""
    colour = FOUND[role] if paler else COLOURS[role]
    axes.barh(row, width, left=start, height=0.74, color=colour, edgecolor="white", linewidth=1.5)
    room, letter = 480 * width / total, 6.8 if paler else 7.8  # px
    text = next((t for t in (label, label.split()[0]) if letter * len(t) < room - 6), "")
    ink = "white" if role == "new" and not paler else COLOURS["ink"]
    axes.text(start + width / 2, row, text, ha="center", va="center", color=ink, fontsize=10,
              weight="normal" if paler else "bold")


def concatenation_step(block, images):
    """Draw the maps themselves: what each layer of a block is handed for the first image, and what leaves.

    Args:
        block: a module whose children are its layers, such as a ``DenseBlock``.
        images: a batch (N, C, H, W).

    Returns:
        A figure with alt text: one row of small pictures for each layer's input and one for the block's output.
    """
    rows = []
    handles = [layer.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0])) for layer in block.children()]
    try:
        with torch.no_grad():
            rows.append(block(images))
    finally:
        for handle in handles:
            handle.remove()
    widest, enters = max(row.shape[1] for row in rows), images.shape[1]
    figure, axes = new_figure(height=0.2 + 1.25 * len(rows) * 5.2 / widest)
    for y, row in enumerate(rows):
        for x, tile in enumerate(row[0].cpu().numpy()):
            axes.imshow(tile, cmap="gray", extent=(x + 0.08, x + 0.92, 1.25 * y + 0.92, 1.25 * y + 0.08))
            frame = {"fill": False, "edgecolor": COLOURS["input" if x < enters else "new"], "linewidth": 3}
            axes.add_patch(Rectangle((x + 0.08, 1.25 * y + 0.08), 0.84, 0.84, **frame))
    labels = [*(f"layer {i} reads {row.shape[1]}" for i, row in enumerate(rows[:-1], start=1)),
              f"{rows[-1].shape[1]} leave"]
    axes.set(xlim=(0, widest), ylim=(1.25 * len(rows) - 0.2, -0.05), aspect="equal")
    if widest == rows[-1].shape[1]:  # nothing was lost on the way, so the columns belong to the input and the layers
        edges = [0, *(row.shape[1] for row in rows)]
        groups = ["input", *(f"of layer {i}" for i in range(1, len(rows)))]
        axes.set_xticks([(a + b) / 2 for a, b in pairwise(edges)], groups, fontsize=10.5)
    else:
        axes.set_xticks([])
    axes.set_yticks([1.25 * y + 0.5 for y in range(len(rows))], labels, fontsize=10.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    repeats = all(torch.equal(one, two[:, : one.shape[1]]) for one, two in pairwise(rows))
    verdict = "Each row repeats the maps of the row above" if repeats else "Some row changes the maps of the row above"
    return describe(figure, "The maps of one image as small pictures, grey frames for the input's, blue for new ones: "
                            f"{', '.join(labels)}. {verdict}.")


def reader_matrix(block, images, *, title="Who reads whose maps"):
    """Draw who reads whose maps, measured on the live block by ``who_reads``.

    Args:
        block: any module whose children are its layers; right or wrong wiring.
        images: a batch (N, C, H, W).
        title: heading of the picture.

    Returns:
        A figure with alt text: ticked grey or blue where a reader reads a source, a dash in a red frame where it could
        and does not, empty where the source is made too late.
    """
    reads = who_reads(block, images)
    last = len(reads) - 1
    readers = [*(f"layer {i}" for i in range(1, last + 1)), "output"]
    sources = ["input", *(f"layer {i}" for i in range(1, last + 1))]
    figure, axes = new_figure(width=min(6.4, 1.5 + 0.8 * (last + 1)), height=1.0 + 0.44 * (last + 1))
    missing = []
    for row, reader in enumerate(readers):
        for column, source in enumerate(sources[:row + 1]):
            link_cell(axes, row, column, bool(reads[row, column]))
            if not reads[row, column]:
                missing.append(f"{reader} does not read {source}")
    axes.set(xlim=(-0.5, last + 0.5), ylim=(last + 0.5, -0.5))
    axes.set_title(title, fontsize=11.5)
    axes.set_xlabel("source of the maps", fontsize=10.5)
    axes.set_ylabel("reader", fontsize=10.5)
    axes.set_xticks(range(last + 1), sources, fontsize=10)
    axes.set_yticks(range(last + 1), readers, fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    verdict = f"Missing: {'; '.join(missing)}" if missing else "Every reader reads all that was made before it"
    links = f"The {last} layers have {int(reads[:last].sum())} of {connections(last)} possible links"
    return describe(figure, f"{title}. {links}, the output {int(reads[last].sum())} of {last + 1}. {verdict}.")


def _ledger_file():
    from densenet_course.layers import DenseBlock

    return channel_ledger(DenseBlock(4, 3, growth_rate=10))


def _matrix_file():
    from densenet_course.layers import DenseBlock

    torch.manual_seed(0)
    return reader_matrix(DenseBlock(4, 3, growth_rate=10), torch.randn(2, 3, 8, 8))


FILES = {"channel_ledger": _ledger_file, "reader_matrix": _matrix_file}
