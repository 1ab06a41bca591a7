"""Lesson 13: its Keras functions are PyTorch's network, each default it mends breaks that, its pictures are true."""

import ast
import os
import types
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from densenet_course.figures.keras import axis_orders, same_padding, window_centres
from densenet_course.models import class_densenet, densenet121

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_TORCH_DEVICE"] = "cpu"
keras = pytest.importorskip("keras", reason="needs the optional group keras")
PYTORCHS = {"epsilon": 1e-5, "momentum": 0.9}
LESSON = Path(__file__).resolve().parent.parent / "notebooks" / "source" / "13_keras.py"


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def lesson():
    """The lesson's own functions."""
    functions = [node for node in ast.parse(LESSON.read_text(encoding="utf-8")).body if type(node) is ast.FunctionDef]
    names = {"keras": keras, "layers": keras.layers, "nn": nn}
    exec(compile(ast.Module(functions, []), LESSON.name, "exec"), names)
    return types.SimpleNamespace(**names)


def varied(model, size):
    """Give every BN numbers of its own, as training would."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
        for _ in range(3):
            model.train()(torch.randn(8, model.config.in_channels, size, size))
    return model.eval()


def mismatch(lesson, model, twin, size):
    lesson.copy_weights(model, twin)
    images = torch.randn(2, model.config.in_channels, size, size)
    with torch.no_grad():
        return lesson.difference(twin(images.permute(0, 2, 3, 1), training=False), model(images))


def test_class_network_is_the_same_function(lesson):
    model = varied(class_densenet(), 28)
    twin = lesson.keras_densenet(model.config, 28, lesson.class_stem, **PYTORCHS)
    assert mismatch(lesson, model, twin, 28) < 1e-5
    assert mismatch(lesson, model, lesson.keras_densenet(model.config, 28, lesson.class_stem), 28) > 1e-3


def test_settings_reach_every_normalisation(lesson):
    config = densenet121(10).config
    twin = lesson.keras_densenet(config, 64, lesson.padded_stem, epsilon=1e-4, momentum=0.8)
    norms = [layer for layer in twin.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 121 and {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-4, 0.8)}


def test_densenet121_needs_the_padded_stem_on_even_sizes(lesson):
    model = varied(densenet121(10), 64)
    assert mismatch(lesson, model, lesson.keras_densenet(model.config, 64, lesson.padded_stem, **PYTORCHS), 64) < 1e-5
    assert mismatch(lesson, model, lesson.keras_densenet(model.config, 64, lesson.same_stem, **PYTORCHS), 64) > 0.05
    assert mismatch(lesson, model, lesson.keras_densenet(model.config, 65, lesson.same_stem, **PYTORCHS), 65) < 1e-5


def test_weights_of_another_network_are_refused(lesson):
    model = class_densenet()
    plain = lesson.keras_densenet(model.config, 28, lesson.class_stem, layer=lesson.keras_conv_block)
    with pytest.raises(ValueError, match="shape"):
        lesson.copy_weights(model, plain)


@pytest.mark.parametrize(("size", "kernel_size", "stride"), [(16, 7, 2), (17, 7, 2), (9, 3, 2), (9, 3, 1), (8, 1, 2)])
def test_same_padding_is_that_of_keras(size, kernel_size, stride):
    row = torch.arange(1.0, size + 1).reshape(1, size, 1)  # (N, W, C): no pixel is 0, the frame is
    taps = torch.eye(kernel_size).unsqueeze(1)  # (W, in, out): one output channel for each pixel of a window
    windows = keras.ops.conv(row, taps, strides=stride, padding="same")[0]
    before, after = same_padding(size, kernel_size=kernel_size, stride=stride)
    padded = torch.nn.functional.pad(row[0, :, 0], (before, after))
    assert torch.equal(windows, padded.unfold(0, kernel_size, stride))


def test_window_centres_draws_what_both_frameworks_read():
    figure = window_centres(16)
    bold = [t.get_text() for t in figure.axes[0].texts if t.get_fontweight() == "bold"]
    assert bold == [str(x) for x in (*range(0, 16, 2), *range(1, 16, 2))]
    assert "2 zeros before, 3 after" in figure.alt_text
    with pytest.raises(ValueError, match="odd"):
        window_centres(16, kernel_size=6)


def test_axis_orders_draws_the_shapes_of_both_frameworks():
    figure = axis_orders(nn.Conv2d(3, 10, 3), torch.zeros(2, 3, 8, 5))
    maps, kernel = ([t.get_text() for t in panel.texts] for panel in figure.axes)
    assert maps[1::2] == ["N = 2", "C = 3", "H = 8", "W = 5"] == maps[0::2]
    places = [sorted((t.get_position()[0], t.get_text()) for t in panel.texts if t.get_position()[1] < 1)
              for panel in figure.axes]
    assert [[text for _, text in row] for row in places] == [
        ["N = 2", "H = 8", "W = 5", "C = 3"], ["H = 3", "W = 3", "I = 3", "O = 10"]]
    assert "(2, 8, 5, 3)" in figure.alt_text and "(3, 3, 3, 10)" in figure.alt_text and len(kernel) == 8
    with pytest.raises(ValueError, match="expected"):
        axis_orders(nn.Conv2d(3, 10, 3), torch.zeros(2, 4, 8, 8))
