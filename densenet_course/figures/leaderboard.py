"""The picture of a class's leaderboard: accuracy against parameters."""

from densenet_course.figures.style import COLOURS, describe, new_figure
from densenet_course.studies.design_space import unbeaten

LISTED = 12  # names beside the picture
SPAN = 5  # percent that the picture spans at least, so that what luck does looks small


def leaderboard(entries, *, max_parameters=100_000):
    """Draw each network as a point, numbered by rank; those that nobody beats in both measures are joined by a line.

    Args:
        entries: name → {"accuracy": fraction, "parameters": int, …}, the best first.
        max_parameters: the budget.

    Returns:
        A figure with alt text; the names of the best stand beside it.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not entries:
        raise ValueError("entries: expected at least one, got none")
    points = [(entry["parameters"] / 1000, 100 * entry["accuracy"]) for entry in entries.values()]
    front = unbeaten(points)
    figure, (panel, names) = new_figure(height=4.2, ncols=2, width_ratios=(3, 1.25))
    panel.step(*zip(*sorted(points[i] for i in front), strict=True), where="post", color=COLOURS["new"], zorder=1)
    for i in reversed(range(len(points))):  # the best on top
        shape, colour = ("s", "new") if i in front else ("o", "input")
        panel.plot(*points[i], shape, color=COLOURS[colour], markersize=15, markeredgecolor="white", zorder=2)
        panel.text(*points[i], i + 1, ha="center", va="center_baseline", fontsize=9, zorder=2, fontweight="bold",
                   color="white" if i in front else COLOURS["ink"])
    panel.axvline(max_parameters / 1000, color=COLOURS["wrong"], linestyle="--", linewidth=1)
    panel.set_xlim(-0.06 * max_parameters / 1000, 1.06 * max_parameters / 1000)  # no mark is cut
    panel.text(max_parameters / 1000 - 1, 0.02, "budget", transform=panel.get_xaxis_transform(), ha="right",
               fontsize=10, color=COLOURS["wrong"])
    panel.margins(y=0.15)
    low, high = panel.get_ylim()
    lacking = max(0, SPAN - (high - low)) / 2
    panel.set_ylim(low - lacking, high + lacking)
    panel.set_title("squares: no other is smaller and better", fontsize=10, loc="left")
    panel.set_xlabel("parameters (thousands)")
    panel.set_ylabel("accuracy on held-back images (%)")
    panel.grid(alpha=0.3)
    _list(names, [f"{_short(name)}{' *' * entry.get('sample', False)}" for name, entry in entries.items()])
    best, entry = next(iter(entries.items()))
    return describe(figure, f"Leaderboard of {len(entries)} networks, accuracy against parameters. First: {best}, "
                            f"{100 * entry['accuracy']:.1f} % with {entry['parameters']:,} parameters. Not beaten in "
                            f"both: {', '.join(list(entries)[i] for i in sorted(front))}.")


def _list(panel, names):
    panel.set_axis_off()
    lines = [f"{rank}  {name}" for rank, name in enumerate(names[:LISTED], start=1)]
    if len(names) > LISTED:
        lines.append(f"and {len(names) - LISTED} more")
    lines += ["* on the sample"] * any(name.endswith(" *") for name in names)
    for i, line in enumerate(lines):
        panel.text(0, 0.97 - i / (LISTED + 2), line, transform=panel.transAxes, va="top", fontsize=10,
                   parse_math=False)


def _short(name):
    return name if len(name) <= 16 else name[:15] + "…"
