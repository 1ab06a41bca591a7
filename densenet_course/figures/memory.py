"""Pictures of what training costs: bytes kept by the depth of a block, and time and bytes of a training step."""

import math
import statistics

from matplotlib.ticker import FuncFormatter, NullLocator

from densenet_course.figures.style import COLOURS, describe, new_figure

STYLES = (  # of the first curve, the second, …
    {"color": COLOURS["ink"], "marker": "s", "linestyle": ":"},
    {"color": COLOURS["residual"], "marker": "^", "linestyle": "--"},
    {"color": COLOURS["bottleneck"], "marker": "D", "linestyle": "-."},
    {"color": COLOURS["new"], "marker": "o", "linestyle": "-"},
)


def exponent(sizes, values):
    """Fit values ∝ sizes^p by a straight line through the logarithms.

    Args:
        sizes: at least two different numbers above 0.
        values: numbers above 0, one for each size.

    Returns:
        p, the slope of the line.
    """
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(v) for v in values]).slope


def bytes_by_depth(layers, kept):
    """Draw the bytes that blocks keep for the backward pass against their layers, both axes logarithmic.

    Args:
        layers: numbers of layers, at least two.
        kept: name of a block → bytes for each number of layers; at most four names.

    Returns:
        A figure with alt text; beside each curve stand its name and its fitted exponent.

    Raises:
        ValueError: no curve or more than four, or a curve without a value above 0 for every number of layers.
    """
    if not 1 <= len(kept) <= len(STYLES):
        raise ValueError(f"kept: expected 1 to {len(STYLES)} curves, got {len(kept)}")
    for name, values in kept.items():
        if len(values) != len(layers) or min(values) <= 0:
            raise ValueError(f"kept: expected {len(layers)} values above 0 for {name}, got {values}")
    figure, ax = new_figure(height=3.6)
    told = []
    for (name, values), style in zip(kept.items(), STYLES, strict=False):
        slope = exponent(layers, values)
        ax.loglog(layers, [value / 1e6 for value in values], **style, markersize=5, linewidth=1.6)
        told.append(f"{name}: {values[0] / 1e6:.3g} MB with {layers[0]} layers, {values[-1] / 1e6:.3g} MB with "
                    f"{layers[-1]}, exponent {slope:.2f}")
    _label_ends(ax, layers, kept)
    ax.set_xlabel("layers in the block")
    ax.set_ylabel("kept for the backward pass (MB)")
    ax.set_xticks(layers, [str(n) for n in layers])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.grid(which="major", alpha=0.3)
    return describe(figure, f"Bytes kept for the backward pass against the layers of a block, both logarithmic. "
                            f"{'; '.join(told)}.")


def _label_ends(ax, layers, kept, apart=1.55):
    """Write name and exponent behind the end of each curve, moved up where two would touch."""
    lowest = 0.0
    for name, values in sorted(kept.items(), key=lambda item: item[1][-1]):
        lowest = max(values[-1] / 1e6, lowest * apart)
        ax.annotate(f"{name}, exponent {exponent(layers, values):.2f}", (layers[-1], lowest), xytext=(8, 0),
                    textcoords="offset points", va="center", fontsize=10, annotation_clip=False)


def step_costs(seconds, kept):
    """Draw the time of a training step with its spread, and beside it the bytes kept for the backward pass.

    Args:
        seconds: name of a variant → seconds of each round.
        kept: the same names → bytes.

    Returns:
        A figure with alt text: left a dot for each median and a line from the fastest round to the slowest, right bars.

    Raises:
        ValueError: nothing to draw, or the names differ.
    """
    if not seconds or set(seconds) != set(kept):
        raise ValueError(f"expected seconds and bytes of the same variants, got {', '.join(seconds) or 'none'} and "
                         f"{', '.join(kept) or 'none'}")
    figure, (left, right) = new_figure(height=0.9 + 0.34 * len(seconds), ncols=2, sharey=True, width_ratios=(3, 2))
    figure.get_layout_engine().set(wspace=0.08)  # the last tick of the left axis and the first of the right stay apart
    told = []
    for row, (name, values) in enumerate(seconds.items()):
        low, middle, high = (1e3 * f(values) for f in (min, statistics.median, max))
        left.plot([low, high], [row, row], color=COLOURS["input"], linewidth=3, solid_capstyle="butt")
        left.plot(middle, row, marker="o", markersize=7, color=COLOURS["new"])
        right.barh(row, kept[name] / 1e6, 0.6, color=COLOURS["input"])
        right.text(kept[name] / 1e6, row, f" {kept[name] / 1e6:.3g}", va="center", fontsize=10)
        told.append(f"{name}: {middle:.3g} ms ({low:.3g} to {high:.3g}), {kept[name] / 1e6:.3g} MB")
    left.set_yticks(range(len(seconds)), list(seconds))
    left.set_ylim(len(seconds) - 0.5, -0.5)
    left.set_xlim(left=0)
    left.grid(axis="x", alpha=0.3)
    left.set(xlabel="ms a step: median, and all rounds")
    right.set(xlabel="MB kept")
    right.margins(x=0.25)
    right.tick_params(axis="y", length=0)
    rounds = len(next(iter(seconds.values())))
    return describe(figure, f"Time of a training step, median and range of {rounds} rounds, and megabytes kept for the "
                            f"backward pass. {'; '.join(told)}.")
