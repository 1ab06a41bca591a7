"""Pictures of what the layers learn: maps of one image, and who weighs whose maps."""

import torch

from densenet_course.figures.style import COLOURS, MAX_WIDTH, describe, new_figure
from densenet_course.studies.features import maps_by_depth, reuse


@torch.no_grad()
def through_the_network(model, image, places=None, columns=6):
    """Draw the strongest maps of one image at some depths, one row for each; each map has its own range of grey.

    Args:
        model: a DenseNet, used in the mode it is in.
        image: normalised (1, C, H, W).
        places: names of ``maps_by_depth``; by default the stem, and the last place of every block.
        columns: maps in a row, the one with the largest mean first.

    Returns:
        A figure with alt text.

    Raises:
        ValueError: more than one image, or a place that the network does not have.
    """
    if len(image) != 1:
        raise ValueError(f"image: expected (1, C, H, W), got {tuple(image.shape)}")
    found = dict(maps_by_depth(model, image))
    names = list(found)
    if places is None:
        ends = [a for a, b in zip(names, [*names[1:], "transition"], strict=True) if b.startswith("transition")]
        places = ["stem", *ends]
    missing = [place for place in places if place not in found]
    if missing:
        raise ValueError(f"places: expected names among {', '.join(names)}, got {', '.join(missing)}")
    rows = [("image", image[0]), *((place, found[place][0]) for place in places)]  # maps (C, H, W)
    side = MAX_WIDTH / (columns + 1.3)
    figure, panels = new_figure(height=len(rows) * side * 1.08, nrows=len(rows), ncols=columns, squeeze=False)
    for row, (place, maps) in zip(panels, rows, strict=True):
        for panel, map_ in zip(row, maps[maps.mean(dim=(1, 2)).argsort(descending=True)], strict=False):
            panel.imshow(map_.numpy(), cmap="gray", interpolation="nearest")
        for panel in row:
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
        channels, height, width = maps.shape
        row[0].set_ylabel(f"{place.replace(', ', chr(10))}\n{channels} × {height}×{width}", rotation=0, ha="right",
                          va="center", fontsize=10, labelpad=6)
    told = "; ".join(f"{place}: {found[place].shape[1]} maps of {found[place].shape[2]}×{found[place].shape[3]} pixels"
                     for place in places)
    return describe(figure, f"The {columns} maps with the largest mean at {len(places)} depths, for one image. {told}.")


def shares(block):
    """Divide each row of an entry of ``features.reuse`` by its mean: 1 where a reader weighs all its sources alike."""
    return block["weights"] / block["weights"].nanmean(dim=1, keepdim=True)


def _brief(name):
    return name.replace("layer ", "").replace("input", "in").replace("classifier", "class.").replace("transition", "T")


def reuse_map(model):
    """Draw who weighs whose maps: for each block a triangle of readers and sources, relative to the reader's mean.

    Args:
        model: a DenseNet.

    Returns:
        A figure with alt text: a cell holds the average absolute weight divided by the mean of its row; darker is more.

    Source: after figure 5 of Huang et al. 2017, there with readers as columns.
    """
    blocks = reuse(model)
    widths = [len(block["sources"]) for block in blocks]
    tallest = max(len(block["readers"]) for block in blocks)
    figure, panels = new_figure(height=1.05 + 0.34 * tallest, ncols=len(blocks), width_ratios=widths, squeeze=False)
    told = []
    for number, (panel, block) in enumerate(zip(panels[0], blocks, strict=True), start=1):
        share = shares(block)
        panel.imshow(share.numpy(), cmap="Blues", vmin=0.5, vmax=1.6, aspect="auto")
        for row, column in torch.nonzero(~share.isnan()).tolist():
            value = share[row, column].item()
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9,
                       color="white" if value > 1.2 else COLOURS["ink"])
        panel.set_yticks(range(len(block["readers"])), map(_brief, block["readers"]), fontsize=10)
        panel.set_xticks(range(len(block["sources"])), map(_brief, block["sources"]), fontsize=10)
        panel.set_title(f"block {number}", fontsize=11)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        last = [f"{source} {value:.2f}" for source, value in zip(block["sources"], share[-1].tolist(), strict=True)]
        told.append(f"block {number}, {block['readers'][-1]}: {', '.join(last)}")
    panels[0, 0].set_ylabel("reader")
    figure.supxlabel("source: a layer of the block, or \"in\", what enters the block", fontsize=10.5)
    return describe(figure, f"Average absolute weight of each link, divided by its reader's mean, in {len(blocks)} "
                            f"triangles. Last rows: {'. '.join(told)}.")
