"""Bug hunt, the bugs in a network's plan: no bottleneck, and a stem that is too greedy for 28×28 pixels."""

from functools import partial

import torch
from torch import nn

from densenet_course import layers, models
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.expect import expect
from densenet_course.checks.engine.explain import Explaining
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds.modules import ModuleCase
from densenet_course.config import DenseNetConfig

DENSENET121 = (6, 12, 24, 16), 32, 1000


def network(stem, body_layer, block_layers, growth_rate, num_classes, *, pool=None):
    """Build a network from the modules of a stem, which end in 2k channels, and a kind of layer."""
    channels, parts = 2 * growth_rate, list(stem)
    for i, num_layers in enumerate(block_layers, start=1):
        parts.append(layers.DenseBlock(num_layers, channels, growth_rate, body_layer))
        channels += num_layers * growth_rate
        if i < len(block_layers):
            step = layers.transition(channels)
            step.pool = pool or step.pool
            parts.append(step)
            channels //= 2
    parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(channels, num_classes))


def imagenet_stem(growth_rate, in_channels=3):
    """Build the 7×7 stem."""
    conv = nn.Conv2d(in_channels, 2 * growth_rate, 7, stride=2, padding=3, bias=False)
    return conv, nn.BatchNorm2d(2 * growth_rate), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)


# Bug 3: a DenseNet-121 with no bottleneck


class PlainWaist(nn.Sequential):
    """1×1 and 3×3 convolution without BN and ReLU between them."""

    def __init__(self, in_channels, growth_rate):
        super().__init__(*layers.conv_block(in_channels, 4 * growth_rate)[:2],
                         nn.Conv2d(in_channels, 4 * growth_rate, 1, bias=False),
                         nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False))


class LinearWaist(layers.BottleneckLayer):
    """A bottleneck layer whose second ReLU is missing."""

    def __init__(self, in_channels, growth_rate):
        super().__init__(in_channels, growth_rate)
        self.relu2 = nn.Identity()


class WideWaist(nn.Sequential):
    """The 3×3 convolution to 4k stands first, the 1×1 to k second."""

    def __init__(self, in_channels, growth_rate):
        super().__init__(*layers.conv_block(in_channels, 4 * growth_rate), nn.BatchNorm2d(4 * growth_rate), nn.ReLU(),
                         nn.Conv2d(4 * growth_rate, growth_rate, 1, bias=False))


def _imagenet(layer, **options):
    return lambda block_layers, growth_rate, num_classes: network(
        imagenet_stem(growth_rate), layer, block_layers, growth_rate, num_classes, **options)


def _oracle_imagenet(block_layers, growth_rate, num_classes):
    return models.DenseNet(DenseNetConfig(block_layers=block_layers, growth_rate=growth_rate, num_classes=num_classes,
                                          init_channels=2 * growth_rate))


COUNTED = (
    (layers.conv_block, "Each layer is still one 3×3 convolution over all channels: the bottleneck is missing."),
    (partial(layers.BottleneckLayer, bottleneck_factor=1), "The bottleneck is k wide; expected 4k."),
    (partial(layers.BottleneckLayer, bottleneck_factor=2), "The bottleneck is 2k wide; expected 4k."),
    (PlainWaist, "BN and ReLU between the 1×1 and the 3×3 convolution are missing."),
    (WideWaist, "The 3×3 convolution stands first. The 1×1 does: it makes the 3×3 cheap."),
)


def small_arguments(draw):
    """Draw (block_layers, growth_rate, num_classes) for a network that is quick to run."""
    return [draw.integer(1, 2) for _ in range(draw.integer(2, 3))], draw.integer(3, 4), draw.integer(5, 7)


def colour_images(draw, arguments):
    """Draw images (N, 3, H, W) that the ImageNet stem and the transitions can halve."""
    return draw.normal(draw.integer(3, 4), 3, 32, draw.integer(16, 20) * 2)


def bottleneck_notes(block_layers, growth_rate, num_classes):
    """Name the cause of parameters of a wrong shape."""
    k = growth_rate
    return {
        (k, 2 * k, 3, 3): "A 3×3 convolution still reads all channels of its block: the bottleneck is missing.",
        (4 * k, 2 * k, 3, 3): "The 3×3 convolution still reads all channels of its block. The 1×1 stands first.",
        (k, k, 3, 3): "The bottleneck is k wide; expected 4k.",
        (2 * k, 2 * k, 1, 1): "The bottleneck is 2k wide; expected 4k.",
        (k, 4 * k, 3, 3): "Is there a 3×3 convolution from the bottleneck's 4k channels to k in each layer?",
        (4 * k,): "BatchNorm and ReLU stand before the 3×3 convolution too.",
    }


BOTTLENECK = ModuleCase(
    "densenet_bc", _oracle_imagenet, small_arguments, colour_images, notes=bottleneck_notes,
    suspects=(
        (_imagenet(LinearWaist), "the ReLU before the 3×3 convolution is missing."),
        (_imagenet(layers.BottleneckLayer, pool=nn.MaxPool2d(2)), "the transitions take the maximum, not the average."),
    ),
)


def count_is_right(answer, draw):
    """DenseNet-121 has its number of parameters."""
    script = [{"do": "warm up", "images": draw.normal(1, 3, 64, 64)}, {"do": "parameters"}]
    got = answer.ask(probes.play, name="densenet_bc", arguments=DENSENET121, script=script, cpu_seconds=8)[1]
    count = sum(torch.Size(shape).numel() for _, shape, _ in got)
    expected = _count(layers.BottleneckLayer)
    suspects = [(f"{_count(layer):,}", message) for layer, message in COUNTED] if count != expected else ()
    expect("parameters of DenseNet-121", f"{expected:,}", f"{count:,}", suspects=suspects)


def _count(layer):
    """Count the parameters of DenseNet-121 made of another kind of layer."""
    with torch.device("meta"):  # shapes only: nothing is drawn
        return sum(parameter.numel() for parameter in _imagenet(layer)(*DENSENET121).parameters())


def bottlenecks_are_there(answer, draw):
    """Every layer is a bottleneck layer, in smaller networks too."""
    BOTTLENECK.parameters(answer, draw)
    BOTTLENECK.values_in_eval(answer, draw)
    BOTTLENECK.values_in_training(answer, draw)


# Bug 4: the ImageNet stem on 28×28 pixels


def _small(*stem, **options):
    def build(block_layers, growth_rate, num_classes):
        conv = nn.Conv2d(1, 2 * growth_rate, 3, padding=1, bias=False, **options)
        return network((conv, *stem), layers.BottleneckLayer, block_layers, growth_rate, num_classes)

    return build


def _doubled(block_layers, growth_rate, num_classes):
    return nn.Sequential(nn.Upsample(scale_factor=2), _small()(block_layers, growth_rate, num_classes))


def _oracle_small(block_layers, growth_rate, num_classes):
    return models.DenseNet(DenseNetConfig(block_layers=block_layers, growth_rate=growth_rate, num_classes=num_classes,
                                          init_channels=2 * growth_rate, in_channels=1, stem="cifar"))


def stem_notes(block_layers, growth_rate, num_classes):
    """Name the cause of parameters of a wrong shape."""
    k = growth_rate
    return {
        (2 * k, 1, 7, 7):
            "The 7×7 stem is still there. Replace it: enlarging or rounding up only hides the lost pixels.",
        (2 * k, 3, 3, 3): "The images are grey: one channel.",
        (2 * k,): "The new stem is a bare convolution: no bias, no BatchNorm of its own.",
    }


def four_blocks(draw):
    """Draw (block_layers, growth_rate, num_classes) with four blocks, which 28×28 pixels just allow."""
    return [draw.integer(1, 2) for _ in range(4)], draw.integer(3, 4), draw.integer(5, 7)


def grey_images(draw, arguments):
    """Draw images (N, 1, H, W): what is right for 28×28 pixels only is not right."""
    return draw.normal(draw.integer(3, 4), 1, *draw.random.choice(((28, 32), (32, 28), (32, 32))))


STEM = ModuleCase(
    "densenet_28", _oracle_small, four_blocks, grey_images, notes=stem_notes,
    suspects=(
        (_small(nn.MaxPool2d(3, stride=2, padding=1)), "the stem still pools. The first block should see all pixels."),
        (_small(stride=2), "the stem still has stride 2. The first block should see all pixels."),
        (_small(nn.ReLU()), "a ReLU stands after the stem. It is a bare convolution."),
        (_doubled, "the images are enlarged first. That costs four times the work and adds no detail."),
    ),
)


TOO_SMALL = ((r"Output size is too small|xpected more than 1 spatial",
              "The stem and the first transitions left one pixel."),)


def small_images_pass(answer, draw):
    """Images of 28×28 pixels pass through four blocks."""
    arguments = four_blocks(draw)
    images = draw.normal(3, 1, 28, 28)
    script = [{"do": "warm up", "images": images}, {"do": "run", "images": images}]
    got = Explaining(answer, TOO_SMALL).ask(probes.play, name="densenet_28", arguments=arguments, script=script)[1]
    expect("output shape", (3, arguments[2]), tuple(got["output"].shape))


def stem_keeps_the_size(answer, draw):
    """The first block sees every pixel, and the rest of the network is as it was."""
    try:
        STEM.parameters(answer, draw)
        STEM.values_in_eval(answer, draw)
        STEM.values_in_training(answer, draw)
    except AnswerError as error:
        if "Output size is too small" not in error.raised:
            raise
        raise Wrong("the stem still leaves too few pixels for three transitions.") from None
