"""DenseNet's relatives are of equal size and do what their names say; their pictures show the measured numbers."""

import math

import matplotlib
import pytest
import torch
from torch import nn

matplotlib.use("Agg")

from densenet_course.figures import relative_layers
from densenet_course.figures import relatives as figures
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block
from densenet_course.models import class_densenet
from densenet_course.studies import descendants, families
from densenet_course.studies.relatives import (
    BLOCKS,
    FAMILIES,
    InceptionBlock,
    ResidualBlock,
    class_densenet_of,
    class_densenet_with,
    nearest_in_size,
    resnet,
)


def network(family, parameters, *accuracy, multiply_adds=None, saved_bytes=300_000):
    return {"family": family, "parameters": parameters, "multiply_adds": multiply_adds or 50 * parameters,
            "saved_bytes": saved_bytes, "accuracy": {str(seed): value for seed, value in enumerate(accuracy)}}


MEASURED = {
    "networks": [
        network("DenseNet-BC", 10_000, 0.84, 0.86), network("DenseNet-BC", 40_000, 0.89, 0.91, saved_bytes=700_000),
        network("ResNet", 10_000, 0.79, 0.81, multiply_adds=250_000), network("ResNet", 40_000, 0.88, 0.88),
        network("Inception", 40_000, 0.87, 0.89),
    ],
    "step_seconds": {"DenseNet-BC": {"values": [0.2, 0.4, 0.2]}, "ResNet": {"values": [0.1, 0.3, 0.1]},
                     "Inception": {"values": [0.3, 0.6, 0.4]}},
}


def silenced(block):
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    return block.eval()


def test_of_size_finds_the_class_network():
    assert sum(p.numel() for p in nearest_in_size("DenseNet-BC", 140_000).parameters()) == 141_130
    with pytest.raises(KeyError):
        nearest_in_size("VGG", 1000)


@pytest.mark.parametrize(("family", "blocks", "size"), [("ResNet", None, 20_000), ("ResNet", (4, 4, 1), 60_000),
                                                        ("Inception", None, 100_000)])
def test_only_the_width_is_chosen_and_none_comes_nearer(family, blocks, size):
    found = nearest_in_size(family, size, blocks)
    count = [sum(p.numel() for p in FAMILIES[family](width, blocks or BLOCKS[family]).parameters())
             for width in range(2, 24)]
    assert sum(p.numel() for p in found.parameters()) == min(count, key=lambda parameters: abs(parameters - size))


@pytest.mark.parametrize("family", FAMILIES)
def test_families_classify_and_every_parameter_learns(family):
    model = FAMILIES[family](8)
    logits = model(torch.randn(4, 1, 28, 28))
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_residual_block_adds_and_inception_joins():
    images = torch.randn(2, 4, 8, 8)
    assert torch.equal(silenced(ResidualBlock(4, 4))(images), images)
    assert ResidualBlock(4, 6, stride=2)(images).shape == (2, 6, 4, 4)
    block = InceptionBlock(4, 5).eval()
    out = block(images)
    assert out.shape == (2, 20, 8, 8)
    assert torch.equal(out[:, :5], block.point(images)) and torch.equal(out[:, 15:], block.pooled(images))


def test_resnet_widens_where_it_shrinks():
    strides = [module.stride for module in resnet(8, (2, 2, 2)).modules()
               if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    assert strides.count((2, 2)) == 3  # the stem and two stages


def test_combined_draws_as_many_channels_as_leave():
    blocks = {"a": ResidualBlock(3, 3), "b": DenseBlock(2, 3, 10), "c": InceptionBlock(3, 10)}
    figure = relative_layers.combined(blocks, torch.randn(1, 3, 8, 8))
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [3, 3, 10, 10, 10, 10, 10, 10]
    assert "b: 3 of x, 10 of H, 10 of H" in figure.alt_text
    with pytest.raises(TypeError, match="got Sequential"):
        relative_layers.combined({"d": conv_block(3, 3)}, torch.randn(1, 3, 8, 8))


def test_comparison_draws_the_largest_networks():
    figure = figures.comparison(MEASURED)
    accuracy, work, saved, step = figure.axes
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["DenseNet-BC", "ResNet", "Inception"]
    assert list(accuracy.lines[0].get_xdata()) == [90, 90] and list(accuracy.lines[1].get_xdata()) == [89, 91]
    assert [bar.get_width() for bar in work.patches] == [2, 2, 2]
    assert [bar.get_width() for bar in saved.patches] == [700, 300, 300]
    assert list(step.lines[3].get_xdata()) == pytest.approx([0.5, 0.75, 0.5])  # round by round
    assert list(step.lines[2].get_xdata()) == pytest.approx([0.5, 0.5])  # their median
    assert "ResNet: accuracy 88.00 %, 2.00 million multiply-adds, 300 kB saved, a step of 0.50 times" in figure.alt_text


def test_efficiency_draws_errors_over_both_sizes():
    figure = figures.efficiency(MEASURED)
    left, right = figure.axes
    dense, residual = left.containers[0].lines[0], right.containers[1].lines[0]
    assert list(dense.get_xdata()) == [10, 40] and list(dense.get_ydata()) == pytest.approx([15, 10])
    assert list(residual.get_xdata()) == [0.25, 2] and list(residual.get_ydata()) == pytest.approx([20, 12])
    assert left.get_xscale() == "log" and "DenseNet-BC: 15.00 % with 10,000" in figure.alt_text


def test_size_needed_reads_between_the_sizes():
    residual = families.curves(MEASURED)["ResNet"]
    assert families.size_needed(residual, 84) == pytest.approx(20_000)  # halfway on a log scale
    assert families.size_needed(residual, 84, "multiply_adds") == pytest.approx(math.sqrt(250_000 * 2_000_000))
    assert families.size_needed(residual, 88.1) == math.inf
    assert families.size_needed(residual, 79) == 0


def test_needed_reads_mean_and_both_ends_and_names_what_lies_outside():
    lines = families.needed(MEASURED).splitlines()
    assert lines.pop(0).strip() == "ResNet needs so many times the" and lines[0].strip().startswith("DenseNet-BC of")
    shares = (5 / 8, 4 / 8, 6 / 8)  # where 85, 84 and 86 % of accuracy lie on the way from 80 to 88
    parameters, work = ([f"{start * growth ** share:.2f}" for share in shares] for start, growth in ((1, 4), (0.5, 8)))
    told = [f"{middle} ({low} to {high})" for middle, low, high in (parameters, work)]
    assert lines[1].split() == ["10,000", "85.00", "%", *" ".join(told).split()]
    assert lines[2].split() == ["40,000", "90.00", "%", *["more", "than", "1.00"] * 2]
    assert families.needed(MEASURED, other="DenseNet-BC", ours="ResNet").splitlines()[2].split()[3:] == [
        "less", "than", "1.00", "less", "than", "2.00"]


def test_table_and_gaps_tell_the_seeds():
    head, dense, residual, _ = families.table(MEASURED).splitlines()
    assert len(head) < 90 and dense.split()[:3] == ["DenseNet-BC", "40,000", "2,000,000"]
    assert dense.endswith("700 kB  × 1.00 (1.00–1.00)  90.00, 89.00 to 91.00 %")
    assert residual.endswith("300 kB  × 0.50 (0.50–0.75)  88.00, 88.00 to 88.00 %")
    assert families.gaps(MEASURED, "ResNet") == pytest.approx([-1, -3])


@pytest.mark.parametrize("read", [families.table, families.largest, figures.comparison, figures.efficiency])
def test_an_empty_result_is_refused(read):
    with pytest.raises(ValueError, match="got none"):
        read({"networks": []})


def test_class_network_takes_another_layer_in_every_block():
    usual, plain = class_densenet(), class_densenet_with(conv_block)
    assert [key for key in class_densenet_with(BottleneckLayer).state_dict()] == list(usual.state_dict())
    assert plain(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert not any(isinstance(module, BottleneckLayer) for module in plain.modules())
    assert plain.features.denseblock3.denselayer4.conv1.weight.std().item() == pytest.approx(
        math.sqrt(2 / (9 * 96)), rel=0.1)  # initialised as the package does


def test_cost_by_growth_counts_live_layers():
    figure = relative_layers.cost_by_growth({"plain": conv_block, "bottleneck": BottleneckLayer}, 64, 16)
    plain, narrow = figure.axes[0].lines
    assert list(plain.get_ydata()) == [9 * 64 * 8 / 1e3, 9 * 64 * 16 / 1e3]
    assert list(narrow.get_ydata()) == [(4 * 64 * k + 36 * k * k) / 1e3 for k in (8, 16)]
    assert plain.get_linestyle() != narrow.get_linestyle()  # never by colour alone
    with pytest.raises(ValueError, match="1 to 4, got 0"):
        relative_layers.cost_by_growth({})


def test_conv_weights_counts_a_condensed_convolution_by_what_is_left():
    assert relative_layers.conv_weights(descendants.condense_layer(64, 8)) == 64 * 32 // 4 + 9 * 32 * 8 // 4


LAYERS = [descendants.se_layer, descendants.TwoWayLayer, descendants.condense_layer, descendants.grouped_layer,
          descendants.rd_layer]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_descendants_layer_makes_k_maps_and_every_parameter_learns(layer):
    torch.manual_seed(0)
    made = layer(16, 8)
    maps = made(torch.randn(4, 16, 6, 6))
    assert maps.shape == (4, 8, 6, 6)
    maps.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


def test_groups_drop_their_weakest_channels_and_keep_a_quarter():
    learned = descendants.LearnedGroupConv(8, 8)
    with torch.no_grad():
        learned.weight.copy_(torch.arange(1.0, 65).reshape(8, 8, 1, 1))  # later channels weigh more in each output
    learned.condense()
    assert learned.mask.sum(1).tolist() == [6] * 4 and not learned.mask[:, :2].any()
    for _ in range(2):
        learned.condense()
    assert (learned.masked_weight() != 0).sum() == 16 and learned.mask[:, 6:].all()


def test_fixed_groups_share_the_channels_out():
    for shuffled in (False, True):
        mask = descendants.grouped_layer(16, 4, shuffled=shuffled).conv1.mask
        assert mask.sum(0).tolist() == [1] * 16 and mask.sum(1).tolist() == [4] * 4
    assert descendants.grouped_layer(16, 4).conv1.mask[0].tolist() == [1] * 4 + [0] * 12


def test_a_one_shot_block_joins_the_input_and_a_chain():
    block = descendants.OneShotBlock(3, 5, 4).eval()
    maps = torch.randn(2, 5, 6, 6)
    first = block.layer1(maps)
    second = block.layer2(first)
    assert torch.equal(block(maps), torch.cat([maps, first, second, block.layer3(second)], 1))
    assert class_densenet_of(descendants.OneShotBlock)(torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_layers_are_read_beside_a_plain_network_of_their_size():
    rows = [{"name": "bottleneck", "parameters": 40_000, "multiply_adds": 9, "accuracy": {"0": 0.9}},
            {"name": "small", "parameters": 20_000, "multiply_adds": 5, "accuracy": {"0": 0.86}},
            {"name": "large", "parameters": 90_000, "multiply_adds": 7, "accuracy": {"0": 0.92}}]
    plain = [{"name": "plain", "parameters": 10_000, "multiply_adds": 2, "accuracy": {"0": 0.8}}]
    seconds = {"bottleneck": {"values": [1, 2]}, "small": {"values": [2, 2]}, "large": {"values": [3, 3]}}
    told = families.layer_table({"networks": rows, "plain": plain, "step_seconds": seconds, "seeds": [0]}).splitlines()
    assert "%, one seed" in told[0] and "× 1.50 (1.00–2.00)" in told[2]
    assert " to " not in told[1] and told[1].endswith("+0.0")
    assert told[2].endswith("+1.0")  # halfway between 80 and 90 on a log scale
    assert told[3].endswith(" 92.0")  # larger than any plain one
