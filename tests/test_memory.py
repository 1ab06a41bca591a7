"""Bytes kept for the backward pass are counted as they can be worked out by hand."""

import gc
import weakref

import torch
from torch import nn

from densenet_course.measure import saved_bytes

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
