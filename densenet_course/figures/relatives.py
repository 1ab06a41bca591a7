"""Pictures of DenseNet and its relatives as measured: what each family costs, and its error by size."""

import statistics

from densenet_course.figures.style import COLOURS, describe, new_figure
from densenet_course.studies.families import curves, largest, points, step_ratios

FAMILIES = {  # colour and hatch of a bar, marker and line of a curve
    "DenseNet-BC": {"color": COLOURS["new"], "hatch": "", "marker": "o", "linestyle": "-"},
    "ResNet": {"color": COLOURS["residual"], "hatch": "//", "marker": "^", "linestyle": "--"},
    "Inception": {"color": "#56B4E9", "hatch": "..", "marker": "s", "linestyle": ":"},
}
COSTS = (  # what a panel shows: title, unit, how to read it from a network
    ("multiply-adds", "millions", lambda network: network["multiply_adds"] / 1e6),
    ("saved bytes", "kB", lambda network: network["saved_bytes"] / 1e3),
)


def comparison(measured):
    """Draw what the families cost and reach at equal parameters: accuracy, multiply-adds, saved bytes, step time.

    Args:
        measured: what ``benchmarks/relatives.py`` writes.

    Returns:
        A figure with alt text: four panels, a row for each family; a dot is one seed, or one round of timing.

    Raises:
        ValueError: there is no network.
    """
    networks = largest(measured)
    figure, panels = new_figure(height=2.5, ncols=4, sharey=True)
    rows, told = range(len(networks)), []
    for row, (family, network) in zip(rows, networks.items(), strict=True):
        style, values = FAMILIES[family], points(network)
        ratios = step_ratios(measured, family)
        for panel, each, middle in ((panels[0], values, statistics.mean), (panels[3], ratios, statistics.median)):
            panel.plot([middle(each)] * 2, [row - 0.3, row + 0.3], color=COLOURS["ink"], linewidth=1.5)
            heights = [row + 0.4 * (i / max(len(each) - 1, 1) - 0.5) for i in range(len(each))]  # marks side by side
            panel.plot(each, heights, linestyle="none", marker=style["marker"], markersize=4, color=style["color"])
        numbers = [read(network) for _, _, read in COSTS]
        for panel, number in zip(panels[1:3], numbers, strict=True):
            panel.barh(row, number, 0.6, color=style["color"], hatch=style["hatch"], edgecolor="white")
            panel.text(number, row, f" {number:.3g}" if number < 100 else f" {number:.0f}", va="center", fontsize=10)
        told.append(f"{family}: accuracy {statistics.mean(values):.2f} %, {numbers[0]:.2f} million multiply-adds, "
                    f"{numbers[1]:.0f} kB saved, a step of {statistics.median(ratios):.2f} times DenseNet-BC's "
                    f"({min(ratios):.2f} to {max(ratios):.2f})")
    labels = [("accuracy", "% correct"), *((title, unit) for title, unit, _ in COSTS),
              ("training step", "× DenseNet-BC")]
    for panel, (title, unit) in zip(panels, labels, strict=True):
        panel.set_title(title)
        panel.set_xlabel(unit)
        panel.margins(x=0.4 if panel in panels[1:3] else 0.2)
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(rows, list(networks))
    panels[0].set_ylim(len(networks) - 0.5, -0.5)
    return describe(figure, f"Networks of about {next(iter(networks.values()))['parameters']:,} parameters, mean of "
                            f"{len(points(network))} seed(s), per image and for one training step. {'; '.join(told)}.")


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
