"""What the pictures of whole networks draw is what the live network is."""

import pytest
import torch
import torchvision
from matplotlib import pyplot as plt

from densenet_course import accounting
from densenet_course.config import DenseNetConfig
from densenet_course.figures import networks
from densenet_course.models import DenseNet


@pytest.fixture
def small():
    return DenseNet(DenseNetConfig(block_layers=(2, 3), growth_rate=4, init_channels=8, num_classes=5))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_ribbon_shows_measured_shapes(small):
    figure = networks.shape_ribbon(small, 64)
    assert networks.measure_shapes(small, 64) == [
        ("conv0", 8, 32), ("pool0", 8, 16), ("denseblock1", 16, 16), ("transition1", 8, 8), ("denseblock2", 20, 8)
    ]
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([8, 8, 8, 8, 8, 8, 12])  # a block is two bars: what it was given and what it added
    assert "denseblock2 20×8×8" in figure.alt_text
    assert {"8", "16", "20", "32", "block 1", "block 2"} <= set(texts(figure))


def test_measuring_leaves_no_trace(small):
    before = {name: value.clone() for name, value in small.state_dict().items()}
    small.train()
    networks.measure_shapes(small, 64)
    assert small.training
    assert not any(module._forward_hooks for module in small.modules())
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_ribbon_refuses_a_small_image_and_cleans_up(small):
    with pytest.raises(ValueError, match="too small"):
        networks.shape_ribbon(small, 4)
    assert not any(module._forward_hooks for module in small.modules())


def test_bars_are_shares_of_the_network_and_of_its_work(small):
    figure = networks.parameters_and_work(small, 32)
    rows = accounting.trace(small.config, 32)
    for axes, counts in zip(figure.axes, ([r.parameters for r in rows], [r.multiply_adds for r in rows]), strict=True):
        lengths = [bar.get_width() for bar in axes.patches]
        assert len(lengths) == 5  # stem, two blocks, one transition, head
        assert lengths == pytest.approx([100 * count / sum(counts) for count in counts])
    assert f"{100 * rows[-1].parameters / sum(r.parameters for r in rows):.1f}%" in figure.alt_text


@pytest.mark.parametrize(("count", "words"), [(2_834_161_664, "2.8 billion"), (7_978_856, "8.0 million")])
def test_large_numbers_are_told_in_words(count, words):
    assert networks._in_words(count) == words


def test_torchvisions_densenet_draws_too():
    figure = networks.shape_ribbon(torchvision.models.densenet121(), 224)
    assert "denseblock4 1024×7×7" in figure.alt_text
    sides = [int(text) for text in texts(figure) if text.isdigit()][1::2]
    assert sides == [112, 56, 56, 28, 28, 14, 14, 7, 7]


def test_family_plots_errors():
    rows = networks.published("densenet121", "densenet161")
    assert rows == [("DenseNet-121", 7_978_856, 74.434), ("DenseNet-161", 28_681_000, 77.138)]
    figure = networks.family(rows, [("ResNet-50", 25_557_032, 76.13)])
    errors = [y for line in figure.axes[0].lines for y in line.get_ydata()]
    assert errors == pytest.approx([25.566, 22.862, 23.87])
    assert texts(figure) == ["DenseNet-121", "DenseNet-161", "ResNet-50"]
    assert "DenseNet-121 8.0 million, 25.57 %" in figure.alt_text


def test_family_refuses_no_rows():
    with pytest.raises(ValueError, match="at least one"):
        networks.family([])
