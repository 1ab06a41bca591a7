"""What is measured on live networks is what can be worked out by hand."""

import gc
import time
import weakref

import torch
from torch import nn

from densenet_course import accounting
from densenet_course.measure import cost, in_turns, reach, saved_bytes, weights_by_map
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


def test_tasks_are_timed_in_turns_and_the_first_turn_is_not_counted():
    calls = []
    before = torch.get_num_threads()
    tasks = {name: lambda name=name: (calls.append((name, torch.get_num_threads())), time.sleep(0.001))
             for name in "ab"}
    seconds = in_turns(tasks, rounds=3)
    assert calls == [("a", 1), ("b", 1)] * 4
    assert torch.get_num_threads() == before
    assert [len(seconds[name]) for name in "ab"] == [3, 3] and min(*seconds["a"], *seconds["b"]) >= 0.001


IMAGES = torch.randn(2, 3, 8, 8)
SIZE = 4 * IMAGES.numel()


class ReadTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, images):
        return self.conv(images) + self.conv(images)


def test_each_storage_counts_once():
    twice = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Flatten(), nn.Unflatten(1, (3, 8, 8)), nn.Sigmoid())
    assert saved_bytes(twice, IMAGES) == 2 * SIZE  # the convolution keeps its input, the sigmoid its output
    assert saved_bytes(ReadTwice(), IMAGES) == SIZE


def test_parameters_and_what_needs_no_gradient_do_not_count():
    conv = nn.Conv2d(3, 3, 1, bias=False)
    assert saved_bytes(conv, IMAGES) == SIZE  # not the weight, though it is saved as well
    conv.requires_grad_(False)
    assert saved_bytes(conv, IMAGES) == 0


def test_the_loss_counts_if_given():
    conv = nn.Conv2d(3, 3, 1, bias=False)
    assert saved_bytes(conv, IMAGES, loss=lambda maps: maps.sigmoid().sum()) == 2 * SIZE


def test_freed_storages_do_not_hide_later_ones():
    """A chain whose tensors would take each other's addresses, were they freed while it is counted."""
    chain = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Sigmoid()) for _ in range(20)))
    assert saved_bytes(chain, IMAGES, loss=lambda maps: maps.square().sum()) == 21 * SIZE


def test_nothing_stays_in_memory_afterwards():
    relu, made = nn.ReLU(), []
    relu.register_forward_hook(lambda module, inputs, output: made.append(weakref.ref(output)))
    assert saved_bytes(relu, IMAGES.clone().requires_grad_()) == SIZE
    gc.collect()
    assert made[0]() is None
