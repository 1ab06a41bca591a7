"""Pictures of wiring: every link of one dense block, and three stacks side by side."""

from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from densenet_course.accounting import channels_after, connections, layer_inputs
from densenet_course.figures.style import COLOURS, MAX_WIDTH, describe, new_figure

MAX_LAYERS = 6


def dense_connectivity(num_layers=5, *, in_channels=3, growth_rate=10):
    """Draw a dense block with all its links: each layer reads the input and every earlier layer.

    Args:
        num_layers: layers L of the block, 1 to 6; more would not be legible.
        in_channels: channels of the block's input.
        growth_rate: new maps of each layer.

    Raises:
        ValueError: ``num_layers`` is out of range.
    """
    if not 1 <= num_layers <= MAX_LAYERS:
        raise ValueError(f"num_layers: expected 1 to {MAX_LAYERS} so that the labels stay legible, got {num_layers}")
    size = (0.78, 0.72)
    room = 0.42  # for the arrow that leaves
    pitch = (MAX_WIDTH - size[0] - room) / num_layers
    above, below = (size[1] / 2 + 0.02 + 0.75 * (0.14 + rise(num_layers) * passed) for passed in
                    (num_layers, num_layers - 1 if num_layers > 2 else 0))
    figure, ax = canvas(height=above + below + 0.5)
    middle = below + 0.4
    centres = [(0.03 + size[0] / 2 + i * pitch, middle) for i in range(num_layers + 1)]
    reads = layer_inputs(in_channels, num_layers=num_layers, growth_rate=growth_rate)
    box(ax, centres[0], size, f"input\n{in_channels} maps", "input")
    for i in range(1, num_layers + 1):
        box(ax, centres[i], size, f"layer {i}\nreads {reads[i - 1]}\n+{growth_rate} maps", "new")
    dense_links(ax, centres, size)
    links = connections(num_layers)
    leaving = channels_after(in_channels, num_layers=num_layers, growth_rate=growth_rate)
    end = centres[-1][0] + size[0] / 2
    arrow(ax, [(end + 0.02, middle), (MAX_WIDTH - 0.02, middle)], "ink", "output")
    ax.text((end + MAX_WIDTH) / 2, middle + 0.06, f"{leaving}\nmaps", ha="center", va="bottom", fontsize=10)
    ax.text(0.03, 0.06, f"{num_layers} layers: {num_layers} · {num_layers + 1} / 2 = {links} links", va="bottom")
    ax.text(MAX_WIDTH - 0.03, 0.06, f"{in_channels} + {num_layers} · {growth_rate} = {leaving} maps leave",
            ha="right", va="bottom")
    return describe(figure, (
        f"A dense block as a row of boxes: the input with {in_channels} maps, then {num_layers} layers that append "
        f"{growth_rate} maps each. Arrows run from the input to every layer and from each layer to every later one, "
        f"{links} in all. The layers read {', '.join(map(str, reads))} maps; {leaving} leave the block."
    ))


def three_stacks():
    """Draw three layers wired as a plain, a residual and a dense stack."""
    figure, ax = canvas(height=4.3)
    rows = {
        "plain": (3.72, "Plain: a layer reads only what the layer before it made."),
        "residual": (2.62, "Residual: a layer's maps are added to what came before (⊕; black: a sum)."),
        "dense": (0.9, "Dense: a layer's maps are put beside all that came before."),
    }
    size = (0.9, 0.46)
    for kind, (height, title) in rows.items():
        centres = [(0.9 + i * 1.5, height) for i in range(4)]
        box(ax, centres[0], size, "input", "input")
        for i in range(1, 4):
            box(ax, centres[i], size, f"layer {i}", "new")
        arcs = {"plain": 0.1, "residual": 0.28, "dense": 0.92}[kind]  # room between the boxes and the title
        ax.text(0.45, height + size[1] / 2 + arcs, title, ha="left", va="bottom")
        {"plain": plain_links, "residual": residual_links, "dense": dense_links}[kind](ax, centres, size)
    return describe(figure, (
        "Three rows, each with an input and three layers. Plain: one arrow from each box to the next, 3 links. "
        "Residual: the same, and a bypass around each layer to a plus sign, where old and new maps are added; "
        "black arrows carry sums. "
        "Dense: arrows from the input and from every layer to each later layer, 6 links, nothing added up."
    ))


def canvas(height):
    """Make a full-width figure whose coordinates are inches."""
    figure, ax = new_figure(height=height)
    figure.get_layout_engine().set(w_pad=0, h_pad=0)
    ax.set(xlim=(0, MAX_WIDTH), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return figure, ax


def box(ax, centre, size, label, role):
    """Draw a labelled box; white letters on the dark blue, ink on grey."""
    corner = (centre[0] - size[0] / 2, centre[1] - size[1] / 2)
    ax.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=0.06", linewidth=0,
                                facecolor=COLOURS[role], gid=f"box-{label.split(chr(10))[0].replace(' ', '-')}"))
    colour = COLOURS["ink"] if role == "input" else "white"
    ax.text(*centre, label, ha="center", va="center", color=colour, fontsize=10, linespacing=1.25)


def arrow(ax, vertices, role, gid):
    """Draw an arrow along two points, or along a curve through four Bézier points."""
    codes = [Path.MOVETO] + [Path.LINETO if len(vertices) == 2 else Path.CURVE4] * (len(vertices) - 1)
    ax.add_patch(FancyArrowPatch(path=Path(vertices, codes), arrowstyle="-|>,head_length=5,head_width=2.4",
                                 mutation_scale=1, linewidth=1.6, color=COLOURS[role], joinstyle="miter", gid=gid))


def plain_links(ax, centres, size):
    """Join each box to the next."""
    for i in range(len(centres) - 1):
        start, end = centres[i][0] + size[0] / 2 + 0.02, centres[i + 1][0] - size[0] / 2 - 0.02
        arrow(ax, [(start, centres[i][1]), (end, centres[i][1])], role_of(i), f"link-{i}-{i + 1}")


def residual_links(ax, centres, size):
    """Join each box to the next through a plus sign behind every layer, and lead a bypass around the layer."""
    height, (width, tall) = centres[0][1], size
    plus = [x + width / 2 + 0.24 for x, _ in centres]
    for i in range(1, len(centres)):
        left = (centres[0][0] + width / 2 if i == 1 else plus[i - 1] + 0.09) + 0.02
        role = "input" if i == 1 else "ink"  # behind a plus sign flows the sum of input and new maps
        arrow(ax, [(left, height), (centres[i][0] - width / 2 - 0.02, height)], role, f"link-{i - 1}-{i}")
        arrow(ax, [(centres[i][0] + width / 2, height), (plus[i] - 0.09, height)], "new", f"new-{i}")
        start, top = left + 0.08, height + tall / 2 + 0.3
        arrow(ax, [(start, height), (start, top), (plus[i], top), (plus[i], height + 0.1)], role, f"bypass-{i}")
        ax.add_patch(Circle((plus[i], height), 0.09, facecolor="white", edgecolor=COLOURS["ink"], gid=f"plus-{i}"))
        ax.text(plus[i], height - 0.005, "+", ha="center", va="center", fontsize=11)
    arrow(ax, [(plus[-1] + 0.11, height), (plus[-1] + 0.29, height)], "ink", "output")


def dense_links(ax, centres, size):
    """Join each box to all later ones: neighbours straight, others in arcs, from even boxes above, from odd below."""
    plain_links(ax, centres, size)
    last, half = len(centres) - 1, size[1] / 2 + 0.02
    step = rise(last)
    for source in range(last - 1):
        side = 1 if source % 2 == 0 else -1
        for target in range(source + 2, last + 1):
            # The longest arc is the outermost, so it leaves first and arrives last: siblings never cross.
            start = centres[source][0] + 0.1 * (last - target) + (0.07 if source > 1 else -0.15)
            end = centres[target][0] - 0.14 * (source // 2) - 0.07
            base = centres[source][1] + side * half
            peak = base + side * (0.14 + step * (target - source))
            curve = [(start, base), (start, peak), (end, peak), (end, base)]
            arrow(ax, curve, role_of(source), f"link-{source}-{target}")


def rise(last):
    """Return the inches that an arc rises for each box it passes, so that the longest stays inside the canvas."""
    return min(0.31, 1.5 / last)


def role_of(source):
    return "input" if source == 0 else "new"


FILES = {"dense_connectivity": dense_connectivity, "three_stacks": three_stacks}
