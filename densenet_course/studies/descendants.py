"""The layers that DenseNet's descendants put into a dense block, as lesson 12 writes them, and a block that joins once.

Each layer goes from C channels to k new maps, so that ``DenseBlock`` takes it through its argument ``layer``.
"""

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.layers import BottleneckLayer, conv_block
from densenet_course.studies.relatives import post_conv


class SqueezeExcite(nn.Module):
    """Scale each map by a gate between 0 and 1 that is computed from the averages of all maps.

    Args:
        channels: of the maps (N, channels, H, W).
        reduction: the inner layer has channels // reduction numbers.

    Source: Hu et al. 2018, "Squeeze-and-Excitation Networks", section 3.
    """

    def __init__(self, channels, reduction=4):
        super().__init__()
        few = channels // reduction
        self.gates = nn.Sequential(
            nn.Linear(channels, few), nn.ReLU(), nn.Linear(few, channels), nn.Sigmoid()
        )

    def forward(self, maps):
        gates = self.gates(maps.mean((2, 3)))  # (N, k)
        return maps * gates[:, :, None, None]  # (N, k, H, W)


def se_layer(in_channels, growth_rate):
    """Build a bottleneck layer whose k new maps are gated."""
    layer = BottleneckLayer(in_channels, growth_rate)
    layer.add_module("excite", SqueezeExcite(growth_rate))
    return layer


class TwoWayLayer(nn.Module):
    """Make half of the new maps from 3×3 pixels, and half from 5×5 through two convolutions.

    Args:
        in_channels: channels C of the input (N, C, H, W).
        growth_rate: new maps k.
        bottleneck_factor: a waist has this times k/2 channels, and at most C/2.

    Source: Wang, Li, Ling 2018, "Pelee: A Real-Time Object Detection System on Mobile Devices", section 2.1.
    """

    def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
        super().__init__()
        half = growth_rate // 2
        waist = min(bottleneck_factor * half, in_channels // 2)
        self.near = nn.Sequential(
            post_conv(in_channels, waist, 1), post_conv(waist, half, 3)
        )
        self.far = nn.Sequential(
            post_conv(in_channels, waist, 1),
            post_conv(waist, half, 3),
            post_conv(half, half, 3),
        )

    def forward(self, maps):
        return torch.cat([self.near(maps), self.far(maps)], dim=1)  # (N, k, H, W)


class LearnedGroupConv(nn.Conv2d):
    """A 1×1 convolution whose outputs form groups, each of which drops the channels with its smallest weights.

    Outputs 0, G, 2G, … are the first group. That spreads each group over the waist, which in the paper is done by a
    shuffle, so a group convolution behind it reads from all groups. The paper's group lasso is left out.

    Args:
        in_channels: channels C of the input (N, C, H, W), a multiple of G.
        out_channels: channels of the output, a multiple of G.
        condensation: G, the number of groups; after G − 1 rounds each reads C/G channels.

    Source: Huang, Liu, van der Maaten, Weinberger 2018, "CondenseNet", section 4.
    """

    def __init__(self, in_channels, out_channels, condensation=4):
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.condensation = condensation  # G groups
        self.register_buffer("mask", torch.ones(condensation, in_channels))

    def masked_weight(self):
        repeats = self.out_channels // self.condensation
        return self.weight * self.mask.repeat(repeats, 1)[:, :, None, None]

    def condense(self):
        size = self.masked_weight().detach().abs()
        size = size.reshape(-1, *self.mask.shape).sum(0)  # (G, C)
        size = size.masked_fill(self.mask == 0, torch.inf)  # dropped already
        weakest = size.argsort(1)[:, : self.in_channels // self.condensation]
        self.mask.scatter_(1, weakest, 0)

    def forward(self, maps):
        return F.conv2d(maps, self.masked_weight())  # (N, 4k, H, W)


def condense_layer(in_channels, growth_rate):
    """Build a bottleneck layer with learned groups in its 1×1 and four fixed ones in its 3×3."""
    layer = BottleneckLayer(in_channels, growth_rate)
    waist = 4 * growth_rate
    layer.conv1 = LearnedGroupConv(in_channels, waist)
    layer.conv2 = nn.Conv2d(waist, growth_rate, 3, padding=1, groups=4, bias=False)
    return layer


def grouped_layer(in_channels, growth_rate, *, shuffled=False):
    """Build the condensed layer with groups that are fixed from the start: the control of the learned ones.

    Args:
        in_channels: channels C of the input (N, C, H, W).
        growth_rate: new maps k.
        shuffled: False for groups of neighbouring channels, True for groups of randomly drawn ones.
    """
    layer = condense_layer(in_channels, growth_rate)
    mask = layer.conv1.mask
    order = torch.randperm(in_channels) if shuffled else torch.arange(in_channels)
    mask.zero_().scatter_(1, order.reshape(len(mask), -1), 1)
    return layer


class ChannelNorm(nn.LayerNorm):
    """Normalise the channels of each pixel: LayerNorm for maps (N, C, H, W)."""

    def forward(self, maps):
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)  # (N, C, H, W)


def rd_layer(in_channels, growth_rate):
    """Build RDNet's layer without its gates and its learned scale: depthwise 7×7, LayerNorm, 1×1, GELU, 1×1.

    Source: Kim, Heo, Han 2024, "DenseNets Reloaded", section 3.
    """
    wide = 4 * in_channels
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 7, padding=3, groups=in_channels),
        ChannelNorm(in_channels),
        nn.Conv2d(in_channels, wide, 1), nn.GELU(),  # (N, 4C, H, W)
        nn.Conv2d(wide, growth_rate, 1),  # (N, k, H, W)
    )


class OneShotBlock(nn.Module):
    """A chain of conv blocks that is concatenated only once, at the end: the input, then the maps of each layer.

    Args:
        num_layers: layers L, at least 1.
        in_channels: channels C of the input (N, C, H, W).
        growth_rate: maps k of each layer; the output is (N, C + L·k, H, W).

    Source: Lee et al. 2019, "An Energy and GPU-Computation Efficient Backbone Network for Real-Time Object Detection",
        section 3.2; without its last 1×1, which our transitions do.
    """

    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        for i in range(num_layers):
            reads = growth_rate if i else in_channels
            self.add_module(f"layer{i + 1}", conv_block(reads, growth_rate))

    def forward(self, maps):
        made = [maps]
        for layer in self.children():
            made.append(layer(made[-1]))  # (N, k, H, W)
        return torch.cat(made, dim=1)  # (N, C + L·k, H, W)
