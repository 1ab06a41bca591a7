"""The four parts of a DenseNet: conv_block, BottleneckLayer, DenseBlock, transition.

The lessons build each of them in the open; a test holds lesson and package equal. Children carry torchvision's names,
so that a ``state_dict`` fits both.
"""

from collections import OrderedDict

import torch
from torch import nn


def conv_block(in_channels, out_channels):
    """Build the composite function H: BN → ReLU → 3×3 convolution.

    Args:
        in_channels: channels C of the input (N, C, H, W).
        out_channels: channels k of the output (N, k, H, W).

    Returns:
        An ``nn.Sequential``; height and width stay as they are.

    Source: Huang et al. 2017, section 3, "Composite function".
    """
    return nn.Sequential(OrderedDict(
        norm1=nn.BatchNorm2d(in_channels),
        relu1=nn.ReLU(),
        conv1=nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
    ))


class BottleneckLayer(nn.Sequential):
    """Make k new maps through a narrow waist: BN → ReLU → 1×1 conv to 4k → BN → ReLU → 3×3 conv to k.

    Args:
        in_channels: channels C of the input (N, C, H, W).
        growth_rate: new maps k; the output is (N, k, H, W).
        bottleneck_factor: width of the waist, in multiples of k.

    Source: Huang et al. 2017, section 3, "Bottleneck layers" (DenseNet-B).
    """

    def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
        width = bottleneck_factor * growth_rate
        super().__init__(OrderedDict(
            norm1=nn.BatchNorm2d(in_channels),
            relu1=nn.ReLU(),
            conv1=nn.Conv2d(in_channels, width, kernel_size=1, bias=False),  # (N, 4k, H, W)
            norm2=nn.BatchNorm2d(width),
            relu2=nn.ReLU(),
            conv2=nn.Conv2d(width, growth_rate, kernel_size=3, padding=1, bias=False),  # (N, k, H, W)
        ))


class DenseBlock(nn.Module):
    """Let each layer read everything made before it, and append its own maps.

    Args:
        num_layers: number of layers L.
        in_channels: channels C of the input (N, C, H, W).
        growth_rate: new maps k of each layer; the output is (N, C + L·k, H, W).
        layer: what builds one layer from (in_channels, growth_rate): ``conv_block``, ``BottleneckLayer`` or your own.

    Source: Huang et al. 2017, equation 2.
    """

    def __init__(self, num_layers, in_channels, growth_rate, layer=conv_block):
        super().__init__()
        for i in range(num_layers):
            self.add_module(f"denselayer{i + 1}", layer(in_channels + i * growth_rate, growth_rate))

    def forward(self, features):
        for layer in self.children():
            new_maps = layer(features)  # (N, k, H, W)
            features = torch.cat([features, new_maps], dim=1)  # (N, C + k, H, W), then (N, C + 2k, H, W), …
        return features


def transition(in_channels, compression=0.5):
    """Build the step between two blocks: BN → ReLU → 1×1 convolution → 2×2 average pooling.

    Args:
        in_channels: channels C of the input (N, C, H, W).
        compression: θ, the share of channels kept, 0 < θ ≤ 1.

    Returns:
        An ``nn.Sequential`` from (N, C, H, W) to (N, ⌊θ·C⌋, ⌊H/2⌋, ⌊W/2⌋).

    Source: Huang et al. 2017, section 3, "Pooling layers" and "Compression".
    """
    out_channels = int(compression * in_channels)
    return nn.Sequential(OrderedDict(
        norm=nn.BatchNorm2d(in_channels),
        relu=nn.ReLU(),
        conv=nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False),  # (N, ⌊θ·C⌋, H, W)
        pool=nn.AvgPool2d(kernel_size=2, stride=2),  # (N, ⌊θ·C⌋, ⌊H/2⌋, ⌊W/2⌋)
    ))
