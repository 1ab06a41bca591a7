"""Pictures of lesson 14: the trained networks of the sweep, one knob at a time, and an explorer that never trains."""

import statistics

from matplotlib.ticker import NullLocator

from densenet_course.figures.style import COLOURS, describe, new_figure, show_live
from densenet_course.studies.design_space import KNOBS, networks, unbeaten

COSTS = (  # what a panel shows: axis label, how to read it from a network, ticks
    ("parameters (thousands)", lambda network: network.parameters / 1e3, (20, 50, 100, 200, 500)),
    ("CPU seconds of an epoch", lambda network: network.seconds, (20, 50, 100, 200)),
)
NAMES = {"growth_rate": "growth rate k", "block_layers": "layers per block", "compression": "compression θ"}
BY_RATE = (("input", "o"), ("transition", "s"), ("new", "^"), ("bottleneck", "D"))  # colour and marker, smallest first


def landscape(measured, chosen=None):
    """Draw accuracy against parameters and against seconds, a point for each network; the unbeaten ones are joined.

    Args:
        measured: what ``benchmarks/design_space.py`` writes.
        chosen: a network of it to point out, or None.

    Returns:
        A figure with alt text: two panels with the same accuracies; a bar spans the seeds.

    Raises:
        ValueError: there is no network.
    """
    trained = networks(measured)
    figure, panels = new_figure(height=3.9 if chosen else 3.5, ncols=2, sharey=True)
    told = []
    for panel, (label, cost, ticks) in zip(panels, COSTS, strict=True):
        front = sorted(unbeaten([(cost(n), n.accuracy) for n in trained]), key=lambda i: cost(trained[i]))
        for i, network in enumerate(trained):
            style = ("s", COLOURS["new"]) if i in front else ("o", COLOURS["input"])
            panel.plot([cost(network)] * 2, [min(network.accuracies), max(network.accuracies)], color=style[1],
                       linewidth=1, alpha=0.7)
            panel.plot(cost(network), network.accuracy, style[0], color=style[1], markersize=6, zorder=3)
        panel.step([cost(trained[i]) for i in front], [trained[i].accuracy for i in front], where="post",
                   color=COLOURS["new"], linewidth=1)
        if chosen is not None:
            panel.plot(cost(chosen), chosen.accuracy, "D", color=COLOURS["wrong"], markersize=11, zorder=4,
                       markeredgecolor="white")
        _log_axis(panel, label, ticks)
        told.append(f"unbeaten by {label}: " + "; ".join(f"{trained[i]} with {trained[i].accuracy:.1f} %"
                                                         for i in front))
    panels[0].set_ylabel("validation accuracy (%)")
    about = f"{len(trained)} networks, accuracy against parameters and against seconds. {'. '.join(told)}."
    if chosen is None:
        figure.suptitle("squares: no other network costs less and reaches more", fontsize=11)
    else:
        said = _said(chosen)
        figure.suptitle(f"{chosen}\n{said}", fontsize=11)
        about = f"{chosen}: {said}, among {about}"
    return describe(figure, about)


def _said(network):
    spread = f" ({min(network.accuracies):.1f} to {max(network.accuracies):.1f})" if len(network.accuracies) > 1 else ""
    return (f"{network.parameters:,} parameters, {network.multiply_adds / 1e6:.1f} million multiply-adds, "
            f"{network.seconds:.0f} s, {network.accuracy:.1f} %{spread}")


def _log_axis(panel, label, ticks):
    panel.set_xscale("log")
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel(label)
    panel.grid(alpha=0.3)


def one_knob(measured):
    """Draw accuracy over each knob: a thin line holds the other two, a thick one is the mean of all.

    Args:
        measured: what ``benchmarks/design_space.py`` writes.

    Returns:
        A figure with alt text: three panels with the same accuracies.

    Raises:
        ValueError: there is no network.
    """
    trained = networks(measured)
    figure, panels = new_figure(height=3.2, ncols=3, sharey=True, width_ratios=(4, 4, 2.6))
    told = []
    for panel, knob in zip(panels, KNOBS, strict=True):
        values = sorted({getattr(n, knob) for n in trained}, key=lambda v: (sum(v) if isinstance(v, tuple) else v))
        lines = {}
        for network in trained:
            rest = tuple(getattr(network, other) for other in KNOBS if other != knob)
            lines.setdefault(rest, {})[getattr(network, knob)] = network.accuracy
        for line in lines.values():
            panel.plot([line.get(value) for value in values], color=COLOURS["input"], linewidth=1, alpha=0.7)
        means = [statistics.mean(n.accuracy for n in trained if getattr(n, knob) == value) for value in values]
        panel.plot(means, "o-", color=COLOURS["new"], linewidth=2.5)
        names = [",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" for value in values]
        panel.set_xticks(range(len(values)), names, fontsize=10)
        panel.margins(x=0.12)
        panel.set_xlabel(NAMES[knob])
        panel.grid(axis="y", alpha=0.3)
        told.append(f"{NAMES[knob]}: " + ", ".join(f"{a} {b:.1f} %" for a, b in zip(names, means, strict=True)))
    panels[0].set_ylabel("validation accuracy (%)")
    return describe(figure, f"Accuracy by one knob, the others held. Means by {'; '.join(told)}.")


def seconds_by(measured, counts):
    """Draw the CPU seconds of an epoch over one count or more, a panel for each; a marker for each growth rate.

    Args:
        measured: what ``benchmarks/design_space.py`` writes.
        counts: axis label → a count for each network, in the order of the file.

    Returns:
        A figure with alt text.

    Raises:
        ValueError: there is no network, or a list of another length.
    """
    trained = networks(measured)
    rates = sorted({network.growth_rate for network in trained})
    for label, numbers in counts.items():
        if len(numbers) != len(trained):
            raise ValueError(f"{label}: expected a count for each of {len(trained)} networks, got {len(numbers)}")
    figure, panels = new_figure(height=3.3, ncols=len(counts), sharey=True, squeeze=False)
    told = []
    for panel, (label, numbers) in zip(panels[0], counts.items(), strict=True):
        for rate, (role, marker) in zip(rates, BY_RATE, strict=False):
            chosen = [(x, n.seconds) for x, n in zip(numbers, trained, strict=True) if n.growth_rate == rate]
            panel.plot(*zip(*chosen, strict=True), marker, color=COLOURS[role], label=f"k = {rate}",
                       markeredgecolor="white", markersize=8)
        panel.set_xlabel(label)
        panel.set_xlim(0)
        panel.set_ylim(0)
        panel.grid(alpha=0.3)
        each = [[n.seconds / x for x, n in zip(numbers, trained, strict=True) if n.growth_rate == rate]
                for rate in (rates[0], rates[-1])]
        told.append(f"{label}: {statistics.mean(each[0]):.2g} seconds each at k = {rates[0]}, "
                    f"{statistics.mean(each[1]):.2g} at k = {rates[-1]}")
    panels[0, 0].set_ylabel("CPU seconds of an epoch")
    panels[0, 0].legend(frameon=False, handletextpad=0.1)
    return describe(figure, f"CPU seconds of {len(trained)} networks. By {'; by '.join(told)}.")


def make_controls(measured):
    """Make a selection slider for each knob, over the values that were trained; it starts in the lower middle."""
    from ipywidgets import Layout, SelectionSlider

    trained = networks(measured)
    common = {"style": {"description_width": "120px"}, "layout": Layout(width="420px"), "continuous_update": False}
    controls = {}
    for knob in KNOBS:
        values = sorted({getattr(n, knob) for n in trained}, key=lambda v: (sum(v) if isinstance(v, tuple) else v))
        controls[knob] = SelectionSlider(options=[(str(value), value) for value in values], description=NAMES[knob],
                                         value=values[(len(values) - 1) // 2], **common)
    return controls


def explorer(measured):
    """Show where a network lies, and below it the sliders that choose another; everything is read, nothing trained.

    The picture is an ordinary output, so a notebook without a kernel still shows it.

    Args:
        measured: what ``benchmarks/design_space.py`` writes.

    Returns:
        The controls by knob; setting ``controls["growth_rate"].value`` redraws as the slider does.

    Raises:
        ValueError: there is no network.
    """
    controls = make_controls(measured)
    by_knobs = {tuple(getattr(n, knob) for knob in KNOBS): n for n in networks(measured)}

    def draw():
        return landscape(measured, by_knobs[tuple(controls[knob].value for knob in KNOBS)])

    show_live(draw, controls)
    return controls
