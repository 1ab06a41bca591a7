"""What is counted on live networks is what can be worked out by hand."""

import torch
from torch import nn

from densenet_course import accounting
from densenet_course.measure import cost, reach, weights_by_map
from densenet_course.models import class_densenet

SHRINKS = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 7, 1, stride=2, bias=False))


def test_cost_is_that_of_the_formulas():
    config = class_densenet().config
    assert cost(class_densenet(), 1, 28, 28) == (accounting.parameters(config), accounting.multiply_adds(config, 28))
    assert cost(SHRINKS, 3, 8, 6) == (9 * 3 * 5 + 5 + 5 * 7, 9 * 3 * 5 * 48 + 5 * 7 * 12)


def test_weights_stand_at_the_map_they_make_and_no_hook_stays():
    assert weights_by_map(SHRINKS, 3, 8, 6) == {8: 9 * 3 * 5, 4: 5 * 7}
    assert not any(module._forward_hooks for module in SHRINKS.modules())
    twice = weights_by_map(nn.Sequential(SHRINKS[0], nn.Conv2d(5, 2, 1)), 3, 8, 8)
    assert twice == {8: 9 * 3 * 5 + 5 * 2}


def test_reach_counts_the_pixels_of_the_window():
    assert reach(nn.Conv2d(4, 2, 3, padding=1), 4) == 9
    assert reach(nn.Conv2d(4, 2, 1), 4, size=5) == 1
    deep = nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1))
    assert reach(deep, 4) == 25
    assert torch.is_grad_enabled()
