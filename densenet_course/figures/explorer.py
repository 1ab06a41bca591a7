"""The explorer of lesson 05: three sliders and a switch that redraw a DenseNet's channels and recount its cost."""

from dataclasses import dataclass

from densenet_course import accounting
from densenet_course.figures.channels import draw_channels
from densenet_course.figures.style import describe, new_figure, show_live
from densenet_course.models import cifar_config

IMAGE_SIZE = 32  # pixels a side, as on CIFAR


@dataclass(frozen=True)
class Summary:
    """What the explorer says about one network."""

    name: str
    depth: int
    parameters: int
    multiply_adds: int


def choose(*, growth_rate=12, num_layers=16, compression=0.5, bottleneck=True):
    """Describe a three-block network for 32×32 colour images and 10 classes by what the sliders set.

    Args:
        growth_rate: k.
        num_layers: layers in each of the three blocks.
        compression: θ.
        bottleneck: True for bottleneck layers.
    """
    depth = 4 + 3 * num_layers * (2 if bottleneck else 1)
    return cifar_config(depth=depth, growth_rate=growth_rate, bottleneck=bottleneck, compression=compression)


def summarise(config):
    """Count a network by ``accounting`` and give it the paper's name."""
    letters = "B" * (config.bottleneck_factor is not None) + "C" * (config.compression < 1)
    return Summary(
        name="DenseNet" + (f"-{letters}" if letters else ""),
        depth=accounting.depth(config),
        parameters=accounting.parameters(config),
        multiply_adds=accounting.multiply_adds(config, IMAGE_SIZE),
    )


def picture(config):
    """Draw a network's channels by depth, with its name and its cost as the title.

    The network that the sliders start from stays behind it, dotted, so that a change of size can be seen.
    """
    summary = summarise(config)
    figure, axes = new_figure(height=3.4)
    if config != choose():
        *_, (x, channels, _) = draw_channels(axes, choose(), line=":", marker=".")
        axes.annotate("at the start", (x, channels), (6, 0), textcoords="offset points", va="center", fontsize=10)
    ends = draw_channels(axes, config)
    for x, channels, offset in ends:
        axes.annotate(f"{channels:,}", (x, channels), (0, offset), textcoords="offset points", ha="center", fontsize=10)
    top = max(axes.get_ylim()[1], 1.12 * max(channels for _, channels, _ in ends))
    axes.set_ylim(-0.1 * top, top)
    said = f"{summary.parameters:,} parameters, {summary.multiply_adds / 1e6:,.1f} million multiply-adds"
    axes.set_title(f"{summary.name}, L = {summary.depth}, k = {config.growth_rate}, θ = {config.compression:g}\n{said}",
                   loc="left")
    plan = " → ".join(f"{channels:,}" for _, channels, _ in ends)
    return describe(figure, f"{summary.name} with {summary.depth} layers and growth rate {config.growth_rate} on "
                    f"{IMAGE_SIZE}×{IMAGE_SIZE} images: channels {plan}; {said}.")


def make_controls():
    """Make the widgets by name, at the paper's DenseNet-BC of depth 100."""
    from ipywidgets import Checkbox, FloatSlider, IntSlider, Layout

    common = {"style": {"description_width": "120px"}, "layout": Layout(width="420px"), "continuous_update": False}
    return {
        "growth_rate": IntSlider(12, min=4, max=48, step=4, description="growth rate k", **common),
        "num_layers": IntSlider(16, min=2, max=32, step=2, description="layers per block", **common),
        "compression": FloatSlider(0.5, min=0.2, max=1, step=0.1, description="compression θ", **common),
        "bottleneck": Checkbox(True, description="bottleneck layers"),
    }


def explorer():
    """Show the picture and, below it, the controls that redraw it.

    The picture is an ordinary output, so a notebook without a kernel still shows it.

    Returns:
        The controls by name; setting ``controls["growth_rate"].value`` redraws as the slider does.
    """
    controls = make_controls()

    def draw():
        return picture(choose(**{name: control.value for name, control in controls.items()}))

    show_live(draw, controls)
    return controls
