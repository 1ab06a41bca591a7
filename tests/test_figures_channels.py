"""The pictures of channels draw what the live model does."""

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from densenet_course import accounting
from densenet_course.config import DenseNetConfig
from densenet_course.figures import channels
from densenet_course.layers import BottleneckLayer, conv_block, transition
from densenet_course.models import class_densenet, densenet121


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def live_channels(model, images):
    """Record the channels after the stem, after joining every layer's maps, and after every transition."""
    steps = []
    out = images
    for name, part in model.features.named_children():
        if name.startswith("denseblock"):
            for layer in part.children():
                out = torch.cat([out, layer(out)], dim=1)
                steps.append(("layer", out.shape[1]))
            continue
        out = part(out)
        if name.startswith(("conv0", "transition")):
            steps.append(("stem" if name == "conv0" else "transition", out.shape[1]))
    return steps


def test_steps_are_those_of_the_live_network():
    model = class_densenet()
    assert channels.channel_steps(model) == live_channels(model, torch.randn(2, 1, 28, 28))
    assert channels.channel_steps(model.config) == channels.channel_steps(model)


def test_sawtooth_draws_every_end_of_a_block():
    figure = channels.channels_by_depth({"DenseNet-121": densenet121()})
    (ends,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert list(ends.get_ydata()) == [64, 256, 128, 512, 256, 1024, 512, 1024]
    assert list(ends.get_xdata()) == [0, 6, 7, 19, 20, 44, 45, 61]
    assert "64 → 256 → 128 → 512 → 256 → 1,024 → 512 → 1,024" in figure.alt_text


def test_networks_differ_by_more_than_colour():
    figure = channels.channels_by_depth()
    assert {line.get_linestyle() for line in figure.axes[0].lines} >= {"-", "--"}
    assert {line.get_marker() for line in figure.axes[0].lines} >= {"o", "s"}
    assert "θ = 1: 64 → 256 → 256" in figure.alt_text and "1,920" in figure.alt_text


@pytest.mark.parametrize("networks", [{}, {str(i): densenet121 for i in range(4)}])
def test_sawtooth_refuses_no_network_and_four(networks):
    with pytest.raises(ValueError, match="expected 1 to 3"):
        channels.channels_by_depth(networks)


def test_sawtooth_refuses_what_is_no_network():
    with pytest.raises(TypeError, match="got int"):
        channels.channels_by_depth({"seven": 7})


def bars(figure):
    return [round(p.get_width()) for p in figure.axes[0].patches if isinstance(p, Rectangle)]


def test_waist_and_transition_bars_are_the_live_channels():
    waist = channels.bottleneck_waist(BottleneckLayer(200, 16, bottleneck_factor=3))
    assert bars(waist) == [200, 48, 16]
    assert "9,600 weights" in waist.alt_text and "6,912 weights" in waist.alt_text
    steps = channels.transition_steps(transition(30, 0.4), size=7)
    assert bars(steps) == [30, 12, 12]
    assert "3×3 pixels" in steps.alt_text


def test_waist_refuses_a_layer_without_one():
    with pytest.raises(ValueError, match="expected 2 convolution"):
        channels.bottleneck_waist(conv_block(8, 4))


@pytest.mark.parametrize("k", [12, 32])
def test_cost_lines_are_those_of_accounting_and_cross_where_marked(k):
    axes = channels.cost_by_input(k).axes[0]
    plain, narrow, crossing = axes.lines
    for line, factor in ((plain, None), (narrow, 4)):
        config = DenseNetConfig(block_layers=(1,), growth_rate=k, init_channels=1, bottleneck_factor=factor)
        for c, work in zip(line.get_xdata(), line.get_ydata(), strict=True):
            assert work == accounting.layer_cost(config, int(c), name="", height=1, width=1).multiply_adds
    (marked,) = crossing.get_xdata()
    for c, first, second in zip(plain.get_xdata(), plain.get_ydata(), narrow.get_ydata(), strict=True):
        assert (first < second) == (c < marked)


def test_cost_refuses_a_growth_rate_of_zero():
    with pytest.raises(ValueError, match="growth_rate"):
        channels.cost_by_input(0)
