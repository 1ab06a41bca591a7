"""Pictures of whole networks: the ribbon of shapes, parameters by part, and the ImageNet family."""

import math

import torch

from densenet_course import accounting
from densenet_course.figures.style import COLOURS, describe, new_figure

# colour, hatch and legend of every kind of part; the hatch tells them apart without colour
KINDS = {
    "stem": (COLOURS["input"], "", "stem, and maps handed on"),
    "block": (COLOURS["new"], "", "new maps of a dense block"),
    "transition": (COLOURS["transition"], "//", "transition"),
    "head": (COLOURS["ink"], "..", "head: final BN and classifier"),
}


def kind_of(name):
    """Tell what a child of ``features`` is: stem, block, transition or head."""
    for kind in ("block", "transition"):
        if kind in name:
            return kind
    return "head" if name in {"norm5", "classifier"} else "stem"


def measure_shapes(model, image_size):
    """Send one image through a network and note what leaves each part.

    Args:
        model: a ``DenseNet`` of this package or of torchvision.
        image_size: height and width of the image, in pixels.

    Returns:
        A list of (name, channels, side): wherever channels or side change on the way through ``model.features``.
    """
    rows, handles = [], []

    def note(name):
        def hook(module, inputs, output):
            shape = tuple(output.shape[1:3])
            if not rows or rows[-1][1:] != shape:
                rows.append((name, *shape))

        return hook

    for name, part in model.features.named_children():
        handles.append(part.register_forward_hook(note(name)))
    first = next(model.parameters())
    was_training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros(1, first.shape[1], image_size, image_size, device=first.device))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return rows


def shape_ribbon(model, image_size):
    """Draw what every part of a network puts out: box width ∝ channels, box height ∝ log₂ of the map's side.

    Args:
        model: a ``DenseNet``; its shapes are measured by forward hooks.
        image_size: height and width of the image, in pixels.

    Raises:
        ValueError: from the model, when the image is too small for it.
    """
    rows = measure_shapes(model, image_size)
    figure, axes = new_figure(height=3.0)
    gap = 0.17 * max(channels for _, channels, _ in rows)
    bottom = -math.log2(1 + max(side for *_, side in rows)) / 2
    left, before = 0, 0
    for name, channels, side in rows:
        old = before if kind_of(name) == "block" else 0  # what a block passes on unchanged
        _draw_part(axes, name, left=left, channels=channels, old=old, height=math.log2(1 + side))
        axes.text(left + channels / 2, bottom - 0.25, side, ha="center", va="top", fontsize=9)
        left, before = left + channels + gap, channels
    axes.text(-1.2 * gap, 0.15 - bottom, "channels", ha="right", va="bottom", fontsize=9)
    axes.text(-1.2 * gap, bottom - 0.25, "side, px", ha="right", va="top", fontsize=9)
    axes.set(xlim=(-4 * gap, left - 0.9 * gap), ylim=(bottom - 1, 0.9 - bottom))
    axes.axis("off")
    legend = {bar.get_label(): bar for bar in axes.containers}  # one entry for each kind
    axes.legend(handles=list(legend.values()), loc="upper right", frameon=False, fontsize=9)
    trail = ", ".join(f"{name} {channels}×{side}×{side}" for name, channels, side in rows)
    return describe(figure, f"What leaves each part for an image of {image_size}×{image_size} pixels, channels×height×"
                    f"width: {trail}. Within a block the maps keep their size and channels are added; a transition "
                    "halves both.")


def _draw_part(axes, name, *, left, channels, old, height):
    """Draw one box of the ribbon: the first ``old`` channels grey, the rest in the colour of the part's kind."""
    box = {"bottom": -height / 2, "align": "edge", "edgecolor": "white", "linewidth": 0.5}
    colour, hatch, label = KINDS[kind_of(name)]
    if old:
        axes.bar(left, height, old, color=KINDS["stem"][0], label=KINDS["stem"][2], **box)
        axes.text(left + (old + channels) / 2, 0, f"block {name[-1]}", color="white", ha="center", va="center",
                  fontsize=9, rotation=90)
    axes.bar(left + old, height, channels - old, color=colour, hatch=hatch, label=label, **box)
    axes.text(left + channels / 2, height / 2 + 0.15, channels, ha="center", va="bottom", fontsize=9)


def _in_words(count):
    """Round a large number to a tenth of a million or billion."""
    return f"{count / 1e9:,.1f} billion" if count >= 1e9 else f"{count / 1e6:,.1f} million"


def parameters_and_work(model, image_size):
    """Draw which share of the parameters and of the multiply-adds stands in stem, blocks, transitions and head.

    Parameters are counted on the live model; the work is that of its convolutions and its classifier.

    Args:
        model: a ``DenseNet`` of this package, which is left in eval mode.
        image_size: height and width of the image, in pixels.
    """
    parts = {}
    for name, part in [*model.features.named_children(), ("classifier", model.classifier)]:
        kind = kind_of(name)
        label = kind if kind in {"stem", "head"} else f"{kind} {name[-1]}"
        parts.setdefault(label, []).append(part)
    numbers = {label: sum(p.numel() for part in some for p in part.parameters()) for label, some in parts.items()}
    work = dict(zip(parts, (row.multiply_adds for row in accounting.trace(model.config, image_size)), strict=True))
    figure, panels = new_figure(height=0.9 + 0.27 * len(parts), ncols=2, sharey=True)
    told = []
    for axes, counts, what in ((panels[0], numbers, "parameters"), (panels[1], work, "multiply-adds")):
        total = sum(counts.values())
        for label, count in counts.items():
            colour, hatch, _ = KINDS[label.split()[0]]
            axes.barh(label, 100 * count / total, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
            axes.text(100 * count / total, label, f" {count / total:.1%}", va="center", fontsize=9)
        axes.set(xlabel=f"% of {_in_words(total)} {what}", xlim=(0, 50), xticks=(0, 20, 40))
        told.append(f"{what}: " + ", ".join(f"{label} {count / total:.1%}" for label, count in counts.items()))
    panels[0].invert_yaxis()
    return describe(figure, f"Two rows of bars by part of the network. {'; '.join(told)}.")


def family(rows, others=()):
    """Draw ImageNet top-1 error against parameters, one labelled point a network.

    Args:
        rows: (name, parameters, top-1 accuracy in %) of each DenseNet.
        others: the same of networks to compare with, drawn as grey squares.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("rows: expected at least one (name, parameters, top-1 accuracy in %), got none")
    figure, axes = new_figure(height=3.4)
    for points, colour, marker in ((rows, COLOURS["new"], "o"), (others, COLOURS["input"], "s")):
        points = sorted(points, key=lambda row: row[1])
        across, errors = [count / 1e6 for _, count, _ in points], [100 - accuracy for *_, accuracy in points]
        axes.plot(across, errors, color=colour, marker=marker, linewidth=1.5)
        for (name, *_), x, y in zip(points, across, errors, strict=True):
            side = "right" if marker == "o" and x < across[-1] else "left"  # left of the line, where there is room
            offset, edge = ((-4 if side == "right" else 4, -6), "top") if marker == "o" else ((4, 6), "bottom")
            axes.annotate(name, (x, y), xytext=offset, textcoords="offset points", fontsize=9, ha=side, va=edge)
    axes.set(xlabel="parameters, millions", ylabel="top-1 error on ImageNet, %")
    axes.margins(x=0.27, y=0.14)
    listing = ", ".join(f"{name} {count / 1e6:.1f} million, {100 - accuracy:.2f} %"
                        for name, count, accuracy in [*rows, *others])
    return describe(figure, f"Top-1 error against parameters. {listing}.")


def published(*names):
    """Read (name, parameters, top-1 accuracy in %) of torchvision's first ImageNet weights of each network."""
    import torchvision

    rows = []
    for name in names:
        meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
        label = name.replace("densenet", "DenseNet-").replace("resnet", "ResNet-")
        rows.append((label, meta["num_params"], meta["_metrics"]["ImageNet-1K"]["acc@1"]))
    return rows


def _densenet121():
    from densenet_course.models import densenet121  # only here: the functions above take any model

    return densenet121()


FILES = {
    "shape_ribbon": lambda: shape_ribbon(_densenet121(), 224),
    "parameters_and_work": lambda: parameters_and_work(_densenet121(), 224),
    "family": lambda: family(
        published("densenet121", "densenet161", "densenet169", "densenet201"),
        published("resnet18", "resnet34", "resnet50", "resnet101"),
    ),
}
