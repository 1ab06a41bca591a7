"""Every golden number, twice: from closed formulas and from the built network."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from densenet_course import accounting, models

GOLDEN = {
    "121": (lambda: models.densenet121(), 7_978_856),
    "161": (lambda: models.densenet161(), 28_681_000),
    "169": (lambda: models.densenet169(), 14_149_480),
    "201": (lambda: models.densenet201(), 20_013_928),
    "121 grey": (lambda: models.densenet121(10, in_channels=1), 6_957_834),
    "161 grey": (lambda: models.densenet161(10, in_channels=1), 26_484_682),
    "169 grey": (lambda: models.densenet169(10, in_channels=1), 12_494_858),
    "201 grey": (lambda: models.densenet201(10, in_channels=1), 18_105_866),
    "plain 40-12": (lambda: models.DenseNet(
        models.cifar_config(depth=40, growth_rate=12, bottleneck=False, compression=1)), 1_019_722),
    "BC 100-12": (lambda: models.DenseNet(models.cifar_config(depth=100, growth_rate=12)), 769_162),
    "BC 250-24": (lambda: models.DenseNet(models.cifar_config(depth=250, growth_rate=24)), 15_324_406),
    "BC 190-40": (lambda: models.DenseNet(models.cifar_config(depth=190, growth_rate=40)), 25_624_430),
    "d2l": (lambda: models.small_densenet(), 758_226),
    "class": (lambda: models.class_densenet(), 141_130),
}


def built_parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", GOLDEN)
def test_parameters_to_the_last_digit(name):
    build, expected = GOLDEN[name]
    with torch.device("meta"):
        model = build()
    assert built_parameters(model) == expected
    assert accounting.parameters(model.config) == expected


def test_class_network_is_under_its_budget():
    assert accounting.parameters(models.class_densenet().config) < 150_000


@pytest.mark.parametrize("depth, growth_rate, bottleneck, compression", [
    (40, 12, False, 1), (40, 12, False, 0.5), (40, 12, True, 1), (40, 12, True, 0.5), (100, 12, True, 0.5),
])
def test_depth_is_what_the_name_says(depth, growth_rate, bottleneck, compression):
    config = models.cifar_config(depth=depth, growth_rate=growth_rate, bottleneck=bottleneck, compression=compression)
    assert accounting.depth(config) == depth
    weights = [m for m in models.DenseNet(config).modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(weights) == depth


@pytest.mark.parametrize("name, published", [
    ("densenet121", 2.834), ("densenet161", 7.728), ("densenet169", 3.360), ("densenet201", 4.291),
])
def test_multiply_adds_match_the_published_figures_and_the_counter(name, published):
    with torch.device("meta"):
        model = getattr(models, name)().eval()
        images = torch.empty(1, 3, 224, 224)
    ours = accounting.multiply_adds(model.config, image_size=224)
    assert round(ours / 1e9, 3) == published
    with FlopCounterMode(display=False) as counter:
        model(images)
    assert counter.get_total_flops() == 2 * ours  # the counter counts multiplication and addition apart


@pytest.mark.parametrize("config, size", [
    (models.densenet121(in_channels=1, num_classes=10).config, 96),
    (models.densenet121(in_channels=1, num_classes=10).config, 45),
    (models.small_densenet().config, 96),
    (models.class_densenet().config, 28),
    (models.cifar_config(depth=40, growth_rate=12, bottleneck=False, compression=1), 32),
])
def test_trace_has_the_shapes_of_the_live_network(config, size):
    model = models.DenseNet(config).eval()
    shapes = []
    parts = [m for n, m in model.features.named_children() if "block" in n or "transition" in n]
    for part in parts:
        part.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, config.in_channels, size, size))
    rows = accounting.trace(config, size)[1:-1]
    assert [(row.channels, row.height, row.width) for row in rows] == shapes
    assert [row.parameters for row in rows] == [built_parameters(part) for part in parts]


def test_d2l_channels():
    config = models.small_densenet().config
    plan = accounting.channel_plan(
        config.block_layers, growth_rate=config.growth_rate, init_channels=config.init_channels,
        compression=config.compression,
    )
    assert plan == [64, 192, 96, 224, 112, 240, 120, 248]


def test_counts_of_a_block():
    assert accounting.connections(5) == 15
    assert accounting.layer_inputs(3, num_layers=2, growth_rate=10) == [3, 13]
    assert accounting.channels_after(3, num_layers=2, growth_rate=10) == 23


def test_smallest_image_is_the_same_for_trace_and_network():
    for config in (models.densenet121().config, models.small_densenet().config, models.class_densenet().config):
        smallest = config.min_image_size
        accounting.trace(config, smallest)
        with pytest.raises(ValueError, match=f"{smallest - 1}×{smallest - 1} image is too small"):
            accounting.trace(config, smallest - 1)
        model = models.DenseNet(config).eval()
        model(torch.zeros(1, config.in_channels, smallest, smallest))
        with pytest.raises(ValueError, match=f"need at least {smallest} pixels"):
            model(torch.zeros(1, config.in_channels, smallest - 1, smallest - 1))


def test_accounting_needs_no_torch():
    text = Path(accounting.__file__).read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith(("import ", "from "))] == [
        "from dataclasses import dataclass"
    ]
