"""The pictures of lessons 02 and 03 show what the model does, right or wrong."""

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from torch import nn

from densenet_course.accounting import connections
from densenet_course.figures import COLOURS, blocks
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block
from densenet_course.measure import who_reads

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class DropsInput(DenseBlock):
    """Hands layer 3 and its successors zeros where the input should be: all shapes are right."""

    def forward(self, features):
        for number, layer in enumerate(self.children(), start=1):
            if number == 3:
                features = torch.cat([torch.zeros_like(features[:, :3]), features[:, 3:]], dim=1)
            features = torch.cat([features, layer(features)], dim=1)
        return features


class ReturnsNewMaps(DenseBlock):
    def forward(self, features):
        return super().forward(features)[:, features.shape[1]:]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def labels(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("layer", [conv_block, BottleneckLayer])
def test_ledger_draws_what_each_layer_reads_and_makes(layer):
    figure = blocks.channel_ledger(DenseBlock(3, 16, growth_rate=12, layer=layer))
    axes = figure.axes[0]
    spans = {}
    for bar in axes.patches:
        spans.setdefault(round(bar.get_y() + bar.get_height() / 2), []).append((bar.get_x(), bar.get_width()))
    assert spans[0] == [(0, 16), (16, 12)]
    assert spans[2] == [(0, 16), (16, 12), (28, 12), (40, 12)]
    assert spans[3] == spans[2]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["layer 1 reads 16", "layer 2 reads 28", "layer 3 reads 40", "52 leave"]
    assert "16, 28, 40" in figure.alt_text and "52 channels leave" in figure.alt_text


def test_ledger_keeps_its_labels_inside_the_bars():
    assert labels(blocks.channel_ledger(DenseBlock(4, 3, growth_rate=10))).count("+10 new") == 4
    narrow = labels(blocks.channel_ledger(DenseBlock(6, 64, growth_rate=32)))
    assert "+32" in narrow and "+32 new" not in narrow


def test_ledger_refuses_what_is_no_dense_block():
    with pytest.raises(ValueError, match="norm1"):
        blocks.channel_ledger(nn.Sequential(nn.Conv2d(3, 10, 3)))
    with pytest.raises(ValueError, match="all 13 channels made before it, got 10"):
        blocks.channel_ledger(nn.Sequential(conv_block(3, 10), conv_block(10, 10)))
    with pytest.raises(ValueError, match="at least one layer"):
        blocks.channel_ledger(nn.Sequential())


def test_a_dense_block_reads_everything_made_before():
    block = DenseBlock(4, 3, growth_rate=10)
    assert torch.equal(who_reads(block, IMAGES), torch.ones(5, 5, dtype=torch.bool).tril())
    assert int(who_reads(block, IMAGES)[:4].sum()) == connections(4)


def test_wrong_wiring_shows():
    chain = nn.Sequential(*(conv_block(c, 10) for c in (3, 10, 10)))
    assert torch.equal(who_reads(chain, IMAGES), torch.eye(4, dtype=torch.bool))
    dropped = who_reads(DropsInput(4, 3, growth_rate=10), IMAGES)
    assert dropped[:, 0].tolist() == [True, True, False, False, False] and bool(dropped[3, 1:4].all())
    assert who_reads(ReturnsNewMaps(2, 3, growth_rate=10), IMAGES)[2].tolist() == [False, True, True]


def test_measuring_leaves_the_block_as_it_was():
    block = DenseBlock(2, 3, growth_rate=10).train()
    block.denselayer2.eval()
    before = {name: value.clone() for name, value in block.state_dict().items()}
    who_reads(block, IMAGES)
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
    assert [m.training for m in block.children()] == [True, False]
    assert not any(layer._forward_hooks for layer in block.children())


def test_a_layer_that_never_runs_is_refused():
    block = ReturnsNewMaps(2, 3, growth_rate=10)
    block.forward = lambda features: block.denselayer1(features)
    with pytest.raises(ValueError, match="only 1 did"):
        who_reads(block, IMAGES)


def test_matrix_ticks_and_dashes():
    figure = blocks.reader_matrix(DropsInput(4, 3, growth_rate=10), IMAGES)
    assert labels(figure).count("✓") == 12 and labels(figure).count("–") == 3
    assert "8 of 10" in figure.alt_text and "layer 3 does not read input" in figure.alt_text
    assert "Every reader reads all" in blocks.reader_matrix(DenseBlock(2, 3, growth_rate=4), IMAGES).alt_text


def test_concatenation_step_draws_every_map_of_every_row():
    block = DenseBlock(2, 3, growth_rate=4)
    figure = blocks.concatenation_step(block, IMAGES)
    drawn = figure.axes[0].images
    assert len(drawn) == 3 + 7 + 11
    assert (drawn[-11].get_array() == IMAGES[0, 0].numpy()).all()
    frames = [to_hex(frame.get_edgecolor()).upper() for frame in figure.axes[0].patches[-11:]]
    assert frames == [COLOURS["input"]] * 3 + [COLOURS["new"]] * 8
    assert "Each row repeats" in figure.alt_text
    assert "Some row changes" in blocks.concatenation_step(DropsInput(3, 3, growth_rate=4), IMAGES).alt_text
    assert not any(layer._forward_pre_hooks for layer in block.children())


def test_step_values_draws_each_channel_after_each_step():
    figure = blocks.step_values(conv_block(3, 10), 7 + IMAGES)
    assert [len(panel.patches) for panel in figure.axes] == [3, 3, 3, 10]
    shares = [sum(bar.get_y() <= v <= bar.get_y() + bar.get_height() for v in 7 + IMAGES[:, c].flatten()) / 128
              for c, bar in enumerate(figure.axes[0].patches)]
    assert all(0.87 < share < 0.93 for share in shares)
    means = [panel.lines[0].get_ydata() for panel in figure.axes]
    assert means[0].min() > 6 and abs(means[1]).max() < 1e-5 and means[2].min() > 0
    assert "after ReLU: values from 0.0" in figure.alt_text


def test_files_are_drawn():
    assert set(blocks.FILES) == {"channel_ledger", "reader_matrix"}
    assert all(draw().alt_text for draw in blocks.FILES.values())
