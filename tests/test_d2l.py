"""The package's twin of the network in Dive into Deep Learning."""

import pytest
import torch

from densenet_course.models import small_densenet


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_parameters_as_in_the_book():
    model = small_densenet()
    biases = sum(m.bias.numel() for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert (count(model), biases) == (758_226, 904)


def test_channels_and_sides_on_a_live_image():
    model, shapes = small_densenet().eval(), []
    for name, part in model.features.named_children():
        if name == "pool0" or name.startswith(("denseblock", "transition")):
            part.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        assert model(torch.randn(2, 1, 96, 96)).shape == (2, 10)
    assert [channels for channels, _, _ in shapes] == [64, 192, 96, 224, 112, 240, 120, 248]
    assert [height for _, height, _ in shapes] == [24, 24, 12, 12, 6, 6, 3, 3]


def test_smallest_image_has_29_pixels():
    model = small_densenet().eval()
    assert model(torch.randn(1, 1, 29, 29)).shape == (1, 10)
    with pytest.raises(ValueError, match="at least 29"):
        model(torch.randn(1, 1, 28, 28))
