"""Pictures of what an exercise expects beside what an answer does."""

from textwrap import fill

from matplotlib.patches import Rectangle

from densenet_course.figures.style import COLOURS, describe, link_cell, new_figure

TITLES = ("expected", "yours")
LETTERS = 32  # in a line of a panel


def readers_beside(expected, yours):
    """Draw who reads whose maps, twice.

    Args:
        expected: {"reads": L + 1 rows of L + 1 bool, readers layers 1 … L and the output, sources the input and layers
            1 … L; "order": the sources as they lie in the output, 0 for the input}.
        yours: the same, or a text to show in an empty panel.

    Returns:
        A figure with alt text: ticks where a reader reads a source, a dash in a red frame where it does not.
    """
    sides = (expected, yours)
    last = len(expected["reads"]) - 1
    figure, panels = new_figure(height=1.4 + 0.4 * (last + 1), ncols=2)
    for panel, title, side in zip(panels, TITLES, sides, strict=True):
        panel.set_title(title, fontsize=11.5)
        if isinstance(side, str):
            _write(panel, side)
            continue
        for row, reads in enumerate(side["reads"]):
            for column, filled in enumerate(reads[:row + 1]):
                link_cell(panel, row, column, filled)
        right = side["order"] == expected["order"]
        panel.set(xlim=(-0.5, last + 0.5), ylim=(last + 0.5, -0.5))
        panel.set_xticks(range(last + 1), _names(range(last + 1)), fontsize=10)
        panel.set_yticks(range(last + 1), [*(f"layer {i}" for i in range(1, last + 1)), "output"], fontsize=10)
        panel.set_xlabel("reads the maps of", fontsize=10)
        panel.text(last / 2, last + 1.95, f"{'' if right else '✗ '}output: {', '.join(_names(side['order']))}",
                   ha="center", fontsize=10, color=COLOURS["ink" if right else "wrong"],
                   weight="normal" if right else "bold")
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    order = ", ".join(_names(expected["order"]))
    return describe(figure, f"Who reads whose maps. Expected: every layer reads the input and all layers before it; "
                            f"the output holds {order}. Yours: {_told_readers(*sides)}.")


def _names(sources):
    return [str(source) if source else "input" for source in sources]


def _told_readers(expected, yours):
    if isinstance(yours, str):
        return yours.rstrip(".")
    readers = [*(f"layer {i}" for i in range(1, len(yours["reads"]))), "output"]
    sources = _names(range(len(readers)))
    missing = [f"{reader} does not read {source}"
               for reader, wanted, reads in zip(readers, expected["reads"], yours["reads"], strict=True)
               for source, want, filled in zip(sources, wanted, reads, strict=True) if want and not filled]
    same = "the same" if not missing else "; ".join(missing)
    order = "" if yours["order"] == expected["order"] else f"; the output holds {', '.join(_names(yours['order']))}"
    return f"{same}{order}" if missing or not order else f"the same links{order}"


def shapes_beside(calls, expected, yours):
    """Draw what goes into a module and what comes out, twice: a bar as tall as a map, and longer with more channels.

    Args:
        calls: list of (the call as text, shape (N, C, H, W) that goes in).
        expected: the shape that comes out of each.
        yours: the same, with a text where there is no shape; or one text to show in an empty panel.

    Returns:
        A figure with alt text. What goes in is grey, what comes out green; in a red frame where it is another shape.
    """
    figure, panels = new_figure(height=0.75 + 0.95 * len(calls), ncols=2)
    largest = max(max(shape[1] for _, shape in calls), max(shape[1] for shape in expected))
    for panel, title, side in zip(panels, TITLES, (expected, yours), strict=True):
        panel.set_title(title, fontsize=11.5)
        if isinstance(side, str):
            _write(panel, side)
            continue
        for row, ((call, shape), wanted, got) in enumerate(zip(calls, expected, side, strict=True)):
            panel.text(0, row - 0.3, call, fontsize=10)
            _bar(panel, row, 0, shape, largest, "input")
            panel.text(0, row + 0.42, _told(shape), fontsize=10)
            panel.text(0.47, row, "→", ha="center", va="center", fontsize=12)
            _outcome(panel, row, wanted, got, largest)
        for row in range(1, len(calls)):
            panel.axhline(row - 0.53, color=COLOURS["input"], linewidth=0.6)
        panel.set(xlim=(-0.02, 1.02), ylim=(len(calls) - 0.5, -0.55), xticks=[], yticks=[])
        panel.set_xlabel("channels × height×width", fontsize=10)
        panel.spines[:].set_visible(False)
    told = "; ".join(f"{call} turns {_told(shape)} into {_told(out)}" for (call, shape), out in zip(
        calls, expected, strict=True))
    return describe(figure, f"Channels × height×width. Expected: {told}. "
                            f"Yours: {_told_shapes(calls, expected, yours)}.")


def _bar(panel, row, left, shape, largest, role, edge=None):
    """Draw a bar with its height in pixels of the map, at most 10, and its length in channels."""
    width, height = min(0.4, 0.4 * shape[1] / largest), min(10, shape[2]) / 10 * 0.45
    edge = edge or COLOURS[role]
    panel.add_patch(Rectangle((left, row - height / 2), width, height, facecolor=COLOURS[role], edgecolor=edge,
                              linewidth=2.5 if edge != COLOURS[role] else 1))


def _outcome(panel, row, wanted, got, largest):
    if isinstance(got, str):
        panel.text(0.55, row, _shortened(got, 21, 4), va="center", fontsize=9.5, color=COLOURS["wrong"],
                   parse_math=False)
        return
    right = got == wanted
    if len(got) == 4:
        _bar(panel, row, 0.55, got, largest, "transition", None if right else COLOURS["wrong"])
    label = f"{'' if right else '✗ '}{_told(got)}"
    panel.text(0.55, row + 0.42, label, fontsize=10, color=COLOURS["ink" if right else "wrong"],
               weight="normal" if right else "bold")


def _told(shape):
    return f"{shape[1]} × {shape[2]}×{shape[3]}" if len(shape) == 4 else str(shape)


def _told_shapes(calls, expected, yours):
    if isinstance(yours, str):
        return yours.rstrip(".")
    if yours == expected:
        return "the same"
    return "; ".join(f"{call}: {got.rstrip('.') if isinstance(got, str) else _told(got)}"
                     for (call, _), wanted, got in zip(calls, expected, yours, strict=True) if got != wanted)


def _write(panel, text):
    """Show a text in an empty panel; as it is, for it may hold dollars."""
    panel.text(0.5, 0.5, _shortened(text, LETTERS, 8), ha="center", va="center", fontsize=10, color=COLOURS["ink"],
               transform=panel.transAxes, parse_math=False)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set(visible=True, color=COLOURS["input"], linestyle=":")


def _shortened(text, letters, lines):
    return fill(" ".join(text.split()), letters, max_lines=lines, placeholder=" …")
