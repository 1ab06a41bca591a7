"""Pictures of channels: through a transition, through a bottleneck, along a whole network, and what they cost."""

from itertools import pairwise
from types import SimpleNamespace

from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import FuncFormatter
from torch import nn

from densenet_course import accounting
from densenet_course.config import DenseNetConfig
from densenet_course.figures.style import COLOURS, describe, new_figure

DASHES = (("-", "o"), ("--", "s"), (":", "^"))  # networks differ by dash and marker, not by colour


def config_of(network):
    """Return the config of a network given as a ``DenseNetConfig`` or as a model that has one.

    Raises:
        TypeError: neither.
    """
    config = getattr(network, "config", network)
    if not hasattr(config, "block_layers"):
        raise TypeError(f"network: expected a DenseNetConfig or a DenseNet, got {type(network).__name__}")
    return config


def channel_steps(network):
    """List (kind, channels) in order, where kind is "stem", "layer" or "transition" and channels is what leaves it.

    Args:
        network: a ``DenseNetConfig`` or a ``DenseNet``.
    """
    config = config_of(network)
    k = config.growth_rate
    plan = accounting.channel_plan(
        config.block_layers, growth_rate=k, init_channels=config.init_channels, compression=config.compression
    )
    steps = []
    for i, num_layers in enumerate(config.block_layers):
        entry = plan[2 * i]  # plan: stem, block, transition, block, …
        steps.append(("transition" if i else "stem", entry))
        inputs = accounting.layer_inputs(entry, num_layers=num_layers, growth_rate=k)
        steps += [("layer", channels + k) for channels in inputs]
    return steps


def draw_channels(axes, network, *, line="-", marker="o"):
    """Draw one network's channels along its depth: blue where a block grows them, green where a transition cuts them.

    Returns:
        A list of (place, channels, label offset in points) where a block begins or ends; only dips are labelled below.
    """
    steps = channel_steps(network)
    kinds = [kind for kind, _ in steps] + ["end"]
    ends = [x for x in range(len(steps)) if kinds[x] != "layer" or kinds[x + 1] != "layer"]
    for left, right in pairwise(ends):
        cut = steps[right][0] == "transition"
        colour, width = (COLOURS["transition"], 2.8) if cut else (COLOURS["new"], 1.8)
        axes.plot([left, right], [steps[left][1], steps[right][1]], color=colour, linewidth=width, linestyle=line)
    heights = [steps[x][1] for x in ends]
    axes.plot(ends, heights, linestyle="none", marker=marker, markersize=4, color=COLOURS["ink"])
    axes.set(xlabel="place in the network (stem = 0, then layers and transitions)", ylabel="channels")
    return [(x, steps[x][1], -15 if steps[x][0] == "transition" else 6) for x in ends]


def channels_by_depth(networks=None):
    """Draw the channels along the depth of one or several networks: a sawtooth where transitions compress.

    Args:
        networks: label → ``DenseNetConfig`` or ``DenseNet``, at most three; DenseNet-121 at θ = 0.5 and 1 by default.

    Raises:
        ValueError: no network, or more than three.
    """
    networks = default_networks() if networks is None else networks
    if not 1 <= len(networks) <= len(DASHES):
        raise ValueError(f"networks: expected 1 to {len(DASHES)}, got {len(networks)}")
    figure, axes = new_figure(height=3.4)
    said = []
    for (label, network), (line, marker) in zip(networks.items(), DASHES, strict=False):
        ends = draw_channels(axes, network, line=line, marker=marker)
        x, channels, _ = ends[-1]
        text = f"{label}\nends with {channels:,}"
        axes.annotate(text, (x, channels), (8, 0), textcoords="offset points", va="center")
        said.append(f"{label}: " + " → ".join(f"{c:,}" for _, c, _ in ends))
    axes.set_xlim(-1, max(len(channel_steps(n)) for n in networks.values()) - 0.5)
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    first = next(iter(networks.values()))
    ends = [x for x, (kind, _) in enumerate(channel_steps(first)) if kind != "layer"] + [len(channel_steps(first))]
    for number, (left, right) in enumerate(pairwise(ends), start=1):
        name = f"block {number}" if right - left > 8 else number  # a short block has no room for the word
        axes.text((left + right - 1) / 2, 10, name, ha="center", va="bottom", fontsize=9.5)
    axes.plot([], [], color=COLOURS["new"], label="dense block: +k a layer")
    axes.plot([], [], color=COLOURS["transition"], linewidth=2.6, label="transition: × θ")
    axes.legend(frameon=False, loc="upper left", fontsize=10)
    return describe(figure, f"Channels along the depth of a DenseNet, at the ends of its blocks. {'; '.join(said)}.")


def default_networks():
    """Describe DenseNet-121 without compression and with it."""
    shape = {"block_layers": (6, 12, 24, 16), "growth_rate": 32, "init_channels": 64}
    return {f"θ = {theta:g}": DenseNetConfig(**shape, compression=theta) for theta in (0.5, 1.0)}


def draw_stages(axes, stages, links):
    """Draw maps as bars from top to bottom, as wide as their channels and as tall as their maps, joined by wedges.

    Args:
        axes: where to draw.
        stages: (channels, side of a map, colour, hatch, label) of each stack of maps.
        links: the label between each stack and the next.
    """
    widest, tallest = (max(stage[i] for stage in stages) for i in (0, 1))
    top, gap, foot = 0.0, 0.75, None
    for (channels, side, colour, hatch, label), link in zip(stages, ["", *links], strict=True):
        if foot is not None:
            (x, y) = foot
            corners = [(-x, y), (x, y), (channels / 2, top), (-channels / 2, top)]
            axes.add_patch(Polygon(corners, facecolor=COLOURS["input"], alpha=0.2))
            axes.text(0, (y + top) / 2, link, ha="center", va="center", fontsize=10)
        height = side / tallest
        axes.add_patch(Rectangle((-channels / 2, top - height), channels, height, facecolor=colour,
                                 edgecolor=COLOURS["ink"], hatch=hatch))
        axes.text(0.55 * widest, top - height / 2, f"{channels} channels\n{label}", ha="left", va="center")
        foot = (channels / 2, top - height)
        top -= height + gap
    axes.set(xlim=(-0.52 * widest, 1.05 * widest), ylim=(foot[1] - 0.05, 0.05))
    axes.axis("off")


def only_convolutions(layer, *, expected):
    """Return a layer's convolutions in order.

    Raises:
        ValueError: not as many as expected.
    """
    found = [module for module in layer.modules() if isinstance(module, nn.Conv2d)]
    if len(found) != expected:
        raise ValueError(f"layer: expected {expected} convolution(s), got {len(found)} in {type(layer).__name__}")
    return found


def bottleneck_waist(layer):
    """Draw the channels through a live ``BottleneckLayer``: what it reads, the waist, the new maps.

    Raises:
        ValueError: the layer does not have exactly two convolutions.
    """
    first, second = only_convolutions(layer, expected=2)
    figure, axes = new_figure(height=3.4)
    stages = [
        (first.in_channels, 1, COLOURS["input"], "", "read: C"),
        (first.out_channels, 1, COLOURS["bottleneck"], "//", "waist"),
        (second.out_channels, 1, COLOURS["new"], "..", "new maps: k"),
    ]
    weights = [conv.weight.numel() for conv in (first, second)]
    draw_stages(axes, stages, [f"1×1 conv, {weights[0]:,} weights", f"3×3 conv, {weights[1]:,} weights"])
    return describe(figure, f"A bottleneck layer reads {first.in_channels} channels; a 1×1 convolution of "
                    f"{weights[0]:,} weights brings them to {first.out_channels}, a 3×3 convolution of {weights[1]:,} "
                    f"weights to {second.out_channels} new maps.")


def transition_steps(layer, size=8):
    """Draw the channels and the map size through a live ``transition``.

    Args:
        layer: a transition.
        size: height and width of the incoming maps, in pixels.

    Raises:
        ValueError: the layer does not have exactly one convolution.
    """
    (conv,) = only_convolutions(layer, expected=1)
    before, after, half = conv.in_channels, conv.out_channels, size // 2
    figure, axes = new_figure(height=3.0)
    stages = [
        (before, size, COLOURS["input"], "", f"of {size}×{size} pixels"),
        (after, size, COLOURS["transition"], "//", f"of {size}×{size} pixels"),
        (after, half, COLOURS["transition"], "//", f"of {half}×{half} pixels"),
    ]
    draw_stages(axes, stages, ["BN → ReLU → 1×1 conv", "2×2 average"])
    return describe(figure, f"A transition: {before} channels of {size}×{size} pixels become {after} channels by a 1×1 "
                    f"convolution, and 2×2 average pooling leaves {half}×{half} pixels.")


def layer_work(in_channels, growth_rate, bottleneck_factor):
    """Count one layer's multiply-adds for each output pixel; a ``bottleneck_factor`` of None means a plain layer."""
    config = SimpleNamespace(growth_rate=growth_rate, bottleneck_factor=bottleneck_factor, conv_bias=False)
    return accounting.layer_cost(config, in_channels, name="layer", height=1, width=1).multiply_adds


def cost_by_input(growth_rate):
    """Draw the multiply-adds of a plain and of a bottleneck layer against the channels they read; mark the crossing.

    Raises:
        ValueError: the growth rate is below 1.
    """
    if growth_rate < 1:
        raise ValueError(f"growth_rate: expected at least 1, got {growth_rate}")
    crossing = 36 * growth_rate / 5  # 9·C·k = 4·C·k + 36·k²
    channels = range(1, round(4 * crossing))
    plain, narrow = ([layer_work(c, growth_rate, factor) for c in channels] for factor in (None, 4))
    figure, axes = new_figure(height=3.4)
    axes.plot(channels, plain, color=COLOURS["new"], linestyle="--")
    axes.plot(channels, narrow, color=COLOURS["bottleneck"], linewidth=2.4)
    axes.annotate("plain 3×3: 9·C·k", (channels[-1], plain[-1]), (-30, -2), textcoords="offset points", ha="right")
    axes.annotate("bottleneck: 4·C·k + 36·k²", (channels[-1], narrow[-1]), (0, -40), textcoords="offset points",
                  ha="right")
    axes.plot([crossing], [9 * crossing * growth_rate], marker="D", color=COLOURS["ink"], linestyle="none")
    axes.annotate(f"equal at C = 7.2·k = {crossing:g}", (crossing, 9 * crossing * growth_rate), (6, -16),
                  textcoords="offset points")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set(xlabel=f"channels C that the layer reads (k = {growth_rate})", ylabel="multiply-adds per pixel")
    axes.set_xlim(0)
    axes.set_ylim(0)
    return describe(figure, f"Multiply-adds per pixel against the channels a layer reads, for k = {growth_rate}. "
                    f"The plain layer is cheaper below {crossing:g} channels, the bottleneck layer above; at "
                    f"{channels[-1]} channels they need {plain[-1]:,} and {narrow[-1]:,}.")


FILES = {"channels_by_depth": channels_by_depth}
