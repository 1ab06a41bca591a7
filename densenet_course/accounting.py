"""Channels, shapes, parameters and multiply-adds of a DenseNet, by closed formulas and without torch.

This is the second opinion on ``layers`` and ``models``: nothing here builds a network or looks at one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """One part of a network: the shape it puts out, what it stores and what it computes for one image."""

    name: str
    channels: int
    height: int
    width: int
    parameters: int
    multiply_adds: int


def connections(num_layers):
    """Count the links of a dense block: each of L layers reads the input and every earlier layer, L(L+1)/2 in all.

    Source: Huang et al. 2017, section 1.
    """
    return num_layers * (num_layers + 1) // 2


def layer_inputs(in_channels, *, num_layers, growth_rate):
    """List the channels each layer of a dense block reads: k0 + k·(l − 1) for l = 1 … L."""
    return [in_channels + growth_rate * i for i in range(num_layers)]


def channels_after(in_channels, *, num_layers, growth_rate):
    """Count the channels that leave a dense block: k0 + L·k."""
    return in_channels + num_layers * growth_rate


def channel_plan(block_layers, *, growth_rate, init_channels, compression=0.5):
    """List the channels after the stem, then after every block and every transition, in order."""
    plan = [init_channels]
    for i, num_layers in enumerate(block_layers):
        if i > 0:
            plan.append(int(compression * plan[-1]))
        plan.append(channels_after(plan[-1], num_layers=num_layers, growth_rate=growth_rate))
    return plan


def conv_parameters(in_channels, out_channels, *, kernel_size, bias=False):
    """Count a convolution's weights: K²·C_in·C_out, and C_out biases if it has them."""
    return kernel_size**2 * in_channels * out_channels + bias * out_channels


def conv_multiply_adds(in_channels, out_channels, *, kernel_size, height, width):
    """Count a convolution's multiply-adds for one image; height and width are those of its output, in pixels."""
    return kernel_size**2 * in_channels * out_channels * height * width


def norm_parameters(channels):
    """Count a BatchNorm's learned numbers: γ and β for every channel."""
    return 2 * channels


def stem_cost(config, height, width):
    """Cost of what stands before the first block. Height and width are those of the image, in pixels."""
    kernel_size, stride = {"imagenet": (7, 2), "class": (3, 2), "cifar": (3, 1)}[config.stem]
    height, width = -(-height // stride), -(-width // stride)  # padding rounds up
    inside, channels = config.in_channels, config.init_channels
    parameters = conv_parameters(inside, channels, kernel_size=kernel_size, bias=config.conv_bias)
    work = conv_multiply_adds(inside, channels, kernel_size=kernel_size, height=height, width=width)
    if config.stem == "imagenet":
        parameters += norm_parameters(channels)
        height, width = -(-height // 2), -(-width // 2)  # max pooling, stride 2, padding 1
    return Cost("stem", channels, height, width, parameters, work)


def layer_cost(config, in_channels, *, name, height, width):
    """Cost of one layer of a dense block; its output shape is that of the k new maps."""
    k, bias = config.growth_rate, config.conv_bias
    parameters, work, channels = 0, 0, in_channels
    if config.bottleneck_factor is not None:
        waist = config.bottleneck_factor * k
        parameters += norm_parameters(channels) + conv_parameters(channels, waist, kernel_size=1, bias=bias)
        work += conv_multiply_adds(channels, waist, kernel_size=1, height=height, width=width)
        channels = waist
    parameters += norm_parameters(channels) + conv_parameters(channels, k, kernel_size=3, bias=bias)
    work += conv_multiply_adds(channels, k, kernel_size=3, height=height, width=width)
    return Cost(name, k, height, width, parameters, work)


def block_cost(config, in_channels, num_layers, *, name, height, width):
    """Cost of a whole dense block: the sum over its layers."""
    inputs = layer_inputs(in_channels, num_layers=num_layers, growth_rate=config.growth_rate)
    layers = [layer_cost(config, channels, name=name, height=height, width=width) for channels in inputs]
    channels = channels_after(in_channels, num_layers=num_layers, growth_rate=config.growth_rate)
    parameters, work = sum(c.parameters for c in layers), sum(c.multiply_adds for c in layers)
    return Cost(name, channels, height, width, parameters, work)


def transition_cost(config, in_channels, *, name, height, width):
    """Cost of a transition; its output has ⌊θ·C⌋ channels and half the height and width."""
    channels = int(config.compression * in_channels)
    parameters = norm_parameters(in_channels)
    parameters += conv_parameters(in_channels, channels, kernel_size=1, bias=config.conv_bias)
    work = conv_multiply_adds(in_channels, channels, kernel_size=1, height=height, width=width)
    return Cost(name, channels, height // 2, width // 2, parameters, work)


def trace(config, image_size):
    """Follow one image through a network, part by part.

    Args:
        config: a ``DenseNetConfig``, or anything with its fields.
        image_size: height and width of the square image, in pixels.

    Returns:
        A list of ``Cost``: stem, blocks and transitions in order, then the head (final BN and classifier).

    Raises:
        ValueError: the image is too small to be halved at every transition.
    """
    rows = [stem_cost(config, image_size, image_size)]
    for i, num_layers in enumerate(config.block_layers, start=1):
        if i > 1:
            last = rows[-1]
            size = {"height": last.height, "width": last.width}
            rows.append(transition_cost(config, last.channels, name=f"transition{i - 1}", **size))
            if rows[-1].height == 0:
                raise ValueError(f"a {image_size}×{image_size} image is too small: transition {i - 1} "
                                 f"gets {last.height}×{last.width} and cannot halve it")
        last = rows[-1]
        size = {"height": last.height, "width": last.width}
        rows.append(block_cost(config, last.channels, num_layers, name=f"denseblock{i}", **size))
    channels = rows[-1].channels
    work = channels * config.num_classes
    rows.append(Cost("head", config.num_classes, 1, 1, norm_parameters(channels) + work + config.num_classes, work))
    return rows


def parameters(config):
    """Count the learned numbers of a network."""
    return sum(row.parameters for row in trace(config, image_size=1024))


def multiply_adds(config, image_size):
    """Count the multiply-adds of convolutions and classifier for one square image."""
    return sum(row.multiply_adds for row in trace(config, image_size))


def depth(config):
    """Count the layers with weights as the paper does: convolutions and the classifier."""
    per_layer = 1 if config.bottleneck_factor is None else 2
    return 1 + per_layer * sum(config.block_layers) + len(config.block_layers) - 1 + 1
