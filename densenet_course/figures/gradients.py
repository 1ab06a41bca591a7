"""The picture of gradients by depth in three small stacks."""

from matplotlib.ticker import NullLocator

from densenet_course.figures.style import COLOURS, describe, new_figure
from densenet_course.studies.gradients import KINDS, SETTINGS, measure

WIRINGS = {  # one colour, one marker and one line style for each way of wiring
    "plain": {"color": COLOURS["ink"], "marker": "s", "linestyle": ":"},
    "residual": {"color": COLOURS["residual"], "marker": "^", "linestyle": "--"},
    "dense": {"color": COLOURS["new"], "marker": "o", "linestyle": "-"},
}
RATIOS = (1e-3, 1e4)  # what the axis shows; a line below it runs out of the picture


def gradient_norms(norms):
    """Draw gradient lengths by layer as ratios to the last layer, one panel for each setting, on one axis.

    Args:
        norms: setting → kind of stack → list of lengths, first layer first.

    Raises:
        ValueError: nothing to draw, an unknown kind, or a length that is not above zero.
    """
    check_norms(norms)
    figure, panels = new_figure(height=3.4, ncols=len(norms), sharey=True, squeeze=False)
    for ax, (setting, by_kind) in zip(panels[0], norms.items(), strict=True):
        for kind, lengths in by_kind.items():
            ratios = [length / lengths[-1] for length in lengths]
            layers = range(1, len(lengths) + 1)
            ax.semilogy(layers, ratios, **WIRINGS[kind], label=kind, markersize=4, markevery=(0, 3), linewidth=1.6)
            if min(ratios) < RATIOS[0]:
                cut = max(i for i, ratio in enumerate(ratios) if ratio < RATIOS[0])
                ax.annotate(f"to {min(ratios):.0e}", (cut + 1, RATIOS[0]), (-2, 4), textcoords="offset points",
                            ha="right", fontsize=9)
        ax.set(xlabel="layer", xticks=[1, *ticks(len(layers))], ylim=RATIOS)
        ax.set_title(setting if len(norms) > 1 else "", fontsize=10)
        ax.yaxis.set_minor_locator(NullLocator())
        ax.grid(axis="y", alpha=0.3)
        ax.annotate("", (0.25, 0.93), (0.75, 0.93), xycoords="axes fraction",
                    arrowprops={"arrowstyle": "->", "color": COLOURS["ink"]})
    panels[0, 0].set_ylabel("gradient's length ÷\nthat at the last layer")
    lines = {line.get_label(): line for ax in panels[0] for line in ax.lines}
    figure.legend(lines.values(), lines, loc="outside upper center", ncols=len(lines), frameon=False)
    return describe(figure, " ".join(spoken(*item) for item in norms.items()))


def ticks(num_layers):
    """Choose at most two layers to label besides the first, the last one among them."""
    step = -(-num_layers // 2)
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
    ends = [f"{kind} {lengths[0] / lengths[-1]:.1g}" for kind, lengths in by_kind.items()]
    return f"{setting}: the gradient's length at layer 1, relative to the last layer: {'; '.join(ends)}."


def measured_norms():
    """Measure every stack in every setting and draw it."""
    norms = {setting: {kind: measure(kind, setting) for kind in KINDS} for setting in SETTINGS}
    return gradient_norms(norms)


FILES = {"gradient_norms": measured_norms}
