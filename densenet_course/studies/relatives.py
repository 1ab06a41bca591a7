"""Networks to hold DenseNet against, on equal terms: the class network's stem and head around other blocks."""

import bisect
import functools

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.accounting import channel_plan
from densenet_course.layers import DenseBlock
from densenet_course.models import class_densenet, initialise


class ResidualBlock(nn.Module):
    """Add two convolutions to their input: x + conv(ReLU(BN(conv(ReLU(BN(x)))))).

    Args:
        in_channels: channels C of the input (N, C, H, W).
        out_channels: channels of the output; where they differ from C, a 1×1 convolution carries the input across.
        stride: 2 halves height and width.

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", figure 1b.
    """

    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        same = in_channels == out_channels and stride == 1
        self.carry = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x):
        y = self.conv1(F.relu(self.norm1(x)))  # (N, out_channels, H/stride, W/stride)
        return self.carry(x) + self.conv2(F.relu(self.norm2(y)))


def post_conv(in_channels, out_channels, kernel_size, stride=1):
    """Build convolution → BN → ReLU, in this order: BN can be folded into the convolution after training."""
    pad = kernel_size // 2
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, pad, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class InceptionBlock(nn.Module):
    """Look at the input in four ways at once, and join what they see: 1×1, 3×3, two 3×3, and 3×3 pooling.

    Args:
        in_channels: channels of the input (N, C, H, W).
        width: maps of each branch; the output is (N, 4 · width, H, W).

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", figure 2b, with BatchNorm.
    """

    def __init__(self, in_channels, width):
        super().__init__()
        self.point = post_conv(in_channels, width, 1)
        self.small = nn.Sequential(post_conv(in_channels, width, 1), post_conv(width, width, 3))
        self.large = nn.Sequential(
            post_conv(in_channels, width, 1), post_conv(width, width, 3), post_conv(width, width, 3)
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), post_conv(in_channels, width, 1))

    def forward(self, x):
        ways = [self.point(x), self.small(x), self.large(x), self.pooled(x)]
        return torch.cat(ways, dim=1)  # (N, 4 · width, H, W)


def resnet(width=16, blocks=(1, 2, 2), num_classes=10, in_channels=1):
    """Build a residual network: the class stem, three stages of width w, 2w and 4w, global pooling.

    Args:
        width: channels of the first stage.
        blocks: residual blocks in each stage.
        num_classes: outputs of the classifier.
        in_channels: channels of the images (N, in_channels, 28, 28).
    """
    layers, channels = [], width
    for stage, count in enumerate(blocks):
        for i in range(count):
            out_channels = width * 2**stage
            layers.append(ResidualBlock(channels, out_channels, stride=2 if stage and not i else 1))
            channels = out_channels
    return _network(layers, width, channels, num_classes, in_channels)


def inception(width=16, blocks=(1, 2, 2), num_classes=10, in_channels=1):
    """Build an Inception network: the class stem, three stages with max pooling between them, global pooling.

    Args:
        width: maps of each branch in the first stage; later stages have 1.5 and 2 times as many.
        blocks: Inception blocks in each stage.
        num_classes: outputs of the classifier.
        in_channels: channels of the images (N, in_channels, 28, 28).
    """
    layers, channels = [nn.BatchNorm2d(2 * width), nn.ReLU()], 2 * width
    for stage, count in enumerate(blocks):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(count):
            branch = width * (2 + stage) // 2
            layers.append(InceptionBlock(channels, branch))
            channels = 4 * branch
    return _network(layers, 2 * width, channels, num_classes, in_channels)


def _network(layers, stem_channels, channels, num_classes, in_channels):
    model = nn.Sequential(
        nn.Conv2d(in_channels, stem_channels, 3, stride=2, padding=1, bias=False),  # (N, stem_channels, 14, 14)
        *layers, nn.BatchNorm2d(channels), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes),
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return model


def densenet(growth_rate=16, block_layers=(2, 4, 4), num_classes=10, in_channels=1):
    """Build the class network with another growth rate; twice as many channels leave the stem.

    Args:
        growth_rate: new maps k of each layer.
        block_layers: layers in each block.
        num_classes: outputs of the classifier.
        in_channels: channels of the images (N, in_channels, 28, 28).
    """
    return class_densenet(
        num_classes, in_channels=in_channels, growth_rate=growth_rate, init_channels=2 * growth_rate,
        block_layers=block_layers,
    )


FAMILIES = {"DenseNet-BC": densenet, "ResNet": resnet, "Inception": inception}
BLOCKS = {"DenseNet-BC": (2, 4, 4), "ResNet": (1, 3, 2), "Inception": (1, 2, 2)}  # one shape for all sizes


def nearest_in_size(family, parameters, blocks=None):
    """Build the member of a family, with its blocks fixed, whose number of parameters is nearest.

    Args:
        family: a name in ``FAMILIES``.
        parameters: how many are wanted.
        blocks: blocks in each of the three stages, or layers for a DenseNet; default: those in ``BLOCKS``.

    Returns:
        A freshly initialised ``nn.Module``; of two equally near ones the narrower.
    """
    build, blocks = FAMILIES[family], blocks or BLOCKS[family]

    @functools.cache
    def size(width):
        with torch.device("meta"):
            return sum(p.numel() for p in build(width, blocks).parameters())

    wide = bisect.bisect_left(range(1, 256), parameters, lo=1, key=size) + 1  # the first that has as many
    return build(min((wide - 1, wide), key=lambda width: abs(size(width) - parameters)), blocks)


def class_densenet_with(layer):
    """Build the class network with another layer in its dense blocks.

    Args:
        layer: a function (in_channels, growth_rate) → ``nn.Module``, from C channels to k new maps.

    Returns:
        A freshly initialised network, from (N, 1, 28, 28) to (N, 10).
    """
    return class_densenet_of(functools.partial(DenseBlock, layer=layer))


def class_densenet_of(block):
    """Build the class network with other blocks in place of its dense blocks.

    Args:
        block: a function (num_layers, in_channels, growth_rate) → ``nn.Module``, from C to C + L·k channels.

    Returns:
        A freshly initialised network, from (N, 1, 28, 28) to (N, 10).
    """
    model = class_densenet()
    config = model.config
    plan = channel_plan(config.block_layers, growth_rate=config.growth_rate, init_channels=config.init_channels,
                        compression=config.compression)
    for i, (num_layers, channels) in enumerate(zip(config.block_layers, plan[::2], strict=True), start=1):
        setattr(model.features, f"denseblock{i}", block(num_layers, channels, config.growth_rate))
    initialise(model)
    return model
