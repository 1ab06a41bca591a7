"""Pixels are drawn inside the image, and each question is answered at the pixel it is asked of."""

import pytest
import torch
import torch.nn.functional as F

from densenet_course.studies import pixels


def image(inside=200):
    """A bright square in the middle of a black image of 8×8 pixels."""
    found = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    found[:, :, 2:6, 2:6] = inside
    return found


def test_pixels_are_drawn_inside_and_differ_from_image_to_image():
    drawn = pixels.draw_pixels(500, 3, size=8, seed=0)
    assert drawn.shape == (500, 3, 2) and set(drawn.flatten().tolist()) == set(range(1, 7))
    assert torch.equal(drawn, pixels.draw_pixels(500, 3, size=8, seed=0))
    assert not torch.equal(drawn, pixels.draw_pixels(500, 3, size=8, seed=1)) and len(drawn.unique(dim=0)) > 400


def test_an_edge_runs_where_the_brightness_changes():
    where = torch.tensor([[[1, 1], [1, 3], [2, 3], [3, 3], [5, 5], [6, 6]]])
    assert pixels.edge_at(image(), where, 0.1).tolist() == [0, 1, 1, 0, 1, 0]
    assert pixels.edge_at(image(20), where, 0.1).sum() == 0, "a faint square has no steep edge"


def test_a_pixel_shows_the_background_or_its_class():
    both = torch.cat([image(), image(255)])
    where = torch.tensor([[[1, 1], [3, 3]], [[4, 2], [6, 6]]])
    assert pixels.class_at(both, torch.tensor([7, 0]), where).tolist() == [0, 8, 1, 0]
    assert pixels.class_at(image(pixels.DARK), torch.tensor([7]), where[:1]).tolist() == [0, 0]


def test_maps_of_the_size_of_the_image_are_read_at_the_pixel_itself():
    maps, where = torch.randn(5, 3, 8, 8), pixels.draw_pixels(5, 4, size=8, seed=0)
    expected = torch.stack([maps[n, :, i, j] for n, rows in enumerate(where.tolist()) for i, j in rows])
    torch.testing.assert_close(pixels.maps_at(maps, where, 8), expected)


@pytest.mark.parametrize("side", [2, 4, 16])
def test_a_linear_layer_there_is_a_convolution_whose_output_is_enlarged(side):
    maps, where = torch.randn(5, 3, side, side), pixels.draw_pixels(5, 4, size=16, seed=0)
    weight = torch.randn(2, 3)
    enlarged = F.interpolate(F.conv2d(maps, weight[:, :, None, None]), size=16, mode="bilinear")  # (5, 2, 16, 16)
    expected = torch.stack([pixels.values_at(enlarged[:, c], where) for c in range(2)], dim=1)
    torch.testing.assert_close(pixels.maps_at(maps, where, 16) @ weight.T, expected, rtol=1e-4, atol=1e-5)
