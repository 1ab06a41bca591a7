"""Pictures of transfer as measured: accuracy by method, by source, and by learning rate, with every seed visible."""

import statistics

from matplotlib.ticker import MultipleLocator

from densenet_course.figures.style import COLOURS, describe, new_figure
from densenet_course.studies.transfer import find, points

PRETRAINED, NOT_PRETRAINED = COLOURS["new"], COLOURS["input"]
LOOKS = {  # colour: pretrained or not; marker: a square where a network is frozen, a diamond where there is none
    "raw pixels": (NOT_PRETRAINED, "D"),
    "random, frozen": (NOT_PRETRAINED, "s"),
    "from scratch": (NOT_PRETRAINED, "o"),
    "from scratch, longer": (NOT_PRETRAINED, "^"),
    "frozen": (PRETRAINED, "s"),
    "fine-tuned": (PRETRAINED, "o"),
}


def by_method(measured, target, source):
    """Draw accuracy by method, a panel for each number of labelled images.

    Args:
        measured: what ``benchmarks/transfer.py`` writes.
        target: names of the target classes.
        source: names of the source classes.

    Returns:
        A figure with alt text: a marker is one seed, a line and a number their mean.

    Raises:
        ValueError: a method is missing.
    """
    rows = [(method, method, source) for method in LOOKS]
    measured_methods = {run["method"] for run in measured["runs"] if run["target"] == list(target)}
    return _panels(measured, [row for row in rows if row[1] in measured_methods], target)


def by_source(measured, target, sources):
    """Draw accuracy by source, frozen and fine-tuned, a panel for each number of labelled images.

    Args:
        measured: what ``benchmarks/transfer.py`` writes.
        target: names of the target classes.
        sources: label → names of the source classes.

    Returns:
        A figure as that of ``by_method``, a row for each source and method.

    Raises:
        ValueError: a source is missing.
    """
    rows = [(f"{label} · {method}", method, source) for method in ("frozen", "fine-tuned")
            for label, source in sources.items()]
    return _panels(measured, rows, target)


def _panels(measured, rows, target):
    """Draw rows of (label, method, source): the seeds, their mean and its number."""
    regimes = measured["per_class"]
    figure, panels = new_figure(height=0.9 + 0.42 * len(rows), ncols=len(regimes), sharex=True, sharey=True,
                                squeeze=False)
    told = []
    for panel, per_class in zip(panels[0], regimes, strict=True):
        for row, (label, method, source) in enumerate(rows):
            values, (colour, marker) = points(find(measured, method, per_class, target, source)), LOOKS[method]
            mean = statistics.mean(values)
            panel.plot(values, [row] * len(values), linestyle="none", marker=marker, markersize=6, color=colour,
                       alpha=0.8, markeredgewidth=0, zorder=3)
            panel.plot([mean, mean], [row - 0.36, row + 0.36], color=COLOURS["ink"], linewidth=1.2, zorder=2)
            panel.text(max(values), row, f"  {mean:.1f}", va="center", fontsize=10)
            told.append(f"{per_class} images a class, {label}: {mean:.1f} %")
        panel.set_title(f"{per_class} images a class")
        panel.set_xlabel("test accuracy (%)")
        panel.xaxis.set_major_locator(MultipleLocator(10))
        panel.grid(axis="x", alpha=0.3)
    low, high = panels[0, 0].get_xlim()
    panels[0, 0].set_xlim(low, high + 0.2 * (high - low))  # room for the numbers
    panels[0, 0].set_yticks(range(len(rows)), [label for label, _, _ in rows])
    panels[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    return describe(figure, f"Test accuracy, mean of {len(measured['seeds'])} seed(s). {'; '.join(told)}.")


def by_rate(measured, target, source):
    """Draw accuracy on held-out images by peak learning rate, fine-tuned and from scratch.

    Args:
        measured: what ``benchmarks/transfer.py`` writes.
        target: names of the target classes.
        source: names of the source classes.

    Returns:
        A figure with alt text, a panel for each number of labelled images: the target classes with the new classifier,
        and, where fine-tuned, the source classes with the old one, before and after; a line is the mean, a band the
        range of the seeds.

    Raises:
        ValueError: a run is missing.
    """
    figure, panels = new_figure(height=3.3, ncols=len(measured["per_class"]), sharey=True, squeeze=False)
    told = []
    lines = (("fine-tuned", source, "target", "fine-tuned: new classes", "-"),
             ("fine-tuned", source, "source", "fine-tuned: old classes", ":"),
             ("from scratch", (), "target", "from scratch: new classes", "--"))
    before = next(one["test"] for one in measured["pretraining"] if one["source"] == list(source))
    for panel, per_class in zip(panels[0], measured["per_class"], strict=True):
        for method, pretrained_on, part, label, line in lines:
            held_out = find(measured, method, per_class, target, pretrained_on)["held_out"]
            rates = [float(rate) for rate in held_out]
            seeds = [[100 * one[part] for one in runs] for runs in held_out.values()]
            means = list(map(statistics.mean, seeds))
            colour, marker = LOOKS[method]
            colour, marker = (COLOURS["wrong"], "v") if part == "source" else (colour, marker)
            panel.plot(rates, means, color=colour, marker=marker, linestyle=line, label=label)
            panel.fill_between(rates, list(map(min, seeds)), list(map(max, seeds)), color=colour, alpha=0.2,
                               linewidth=0)
            told.append(f"{per_class} images a class, {label}: from {means[0]:.0f} % to {means[-1]:.0f} %")
        start = 100 * statistics.mean(before[:len(seeds[0])])  # of the seeds that chose the rates
        panel.axhline(start, color=COLOURS["wrong"], linewidth=1.2, label="old classes before fine-tuning")
        panel.set_xscale("log")
        panel.set_xticks(rates, [f"{rate:g}" for rate in rates], fontsize=9.5)
        panel.minorticks_off()
        panel.set_title(f"{per_class} images a class")
        panel.set_xlabel("peak learning rate")
        panel.grid(axis="y", alpha=0.3)
    panels[0, 0].set_ylabel("accuracy (%)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False,
                  fontsize=9.5, columnspacing=1.2)
    return describe(figure, f"Accuracy by peak learning rate from {rates[0]:g} to {rates[-1]:g}. Old classes before "
                            f"fine-tuning: {start:.1f} %. {'; '.join(told)}.")
