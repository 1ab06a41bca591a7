"""Exercise bottleneck: BN → ReLU → 1×1 convolution to 4k → BN → ReLU → 3×3 convolution to k, and its cost."""

from dataclasses import replace

import torch
from torch import nn

from densenet_course import layers
from densenet_course.accounting import conv_multiply_adds
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.expect import expect
from densenet_course.checks.engine.explain import NETWORK, Explaining
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.kinds.networks import BATCH, MISFIT, RUNNING, NetworkCase, always

EXERCISE = Exercise(
    "bottleneck", names=["BottleneckLayer", "layer_cost"], title="The bottleneck layer", lesson="05_bottleneck"
)


def arguments(draw):
    """Draw (in_channels, growth_rate, bottleneck_factor), the factor not 4, so that all widths differ."""
    while True:
        c, k, b = draw.integer(5, 19), draw.integer(3, 6), draw.random.choice((2, 3, 5))
        if len({c, k, c + k, b * k, 4 * k, b * c, 4 * c}) == 7:
            return c, k, b


def two_arguments(draw):
    """Draw (in_channels, growth_rate): the factor is 4 by default."""
    return arguments(draw)[:2]


def images(draw, arguments):
    """Draw maps whose channels differ in mean and spread, with H ≠ W; small spreads show a wrong epsilon."""
    shape = draw.integer(2, 4), arguments[0], draw.integer(4, 7), draw.integer(8, 11)
    maps = draw.normal(*shape)
    return maps * draw.normal(1, shape[1], 1, 1).exp() * 0.05 + draw.normal(1, shape[1], 1, 1)


def _without(*names):
    """Build the layer with some parts left out."""

    def build(*arguments):
        layer = layers.BottleneckLayer(*arguments)
        for name in names:
            setattr(layer, name, nn.Identity())
        return layer

    return build


def _ordered(*names):
    """Build the layer with its parts in another order; BatchNorm fits the channels at its new place."""

    def build(in_channels, growth_rate, bottleneck_factor=4):
        layer, channels, parts = layers.BottleneckLayer(in_channels, growth_rate, bottleneck_factor), in_channels, []
        for name in names:
            parts.append(nn.BatchNorm2d(channels) if name.startswith("norm") else getattr(layer, name))
            channels = getattr(parts[-1], "out_channels", channels)
        return nn.Sequential(*parts)

    return build


def _changed(**options):
    """Build the layer with attributes of some parts changed, named part__attribute."""

    def build(*arguments):
        layer = layers.BottleneckLayer(*arguments)
        for name, value in options.items():
            part, attribute = name.split("__")
            setattr(getattr(layer, part), attribute, value)
        return layer

    return build


class _Joining(layers.BottleneckLayer):
    def forward(self, maps):
        return torch.cat([maps, super().forward(maps)], dim=1)


class _Joining_in_front(layers.BottleneckLayer):
    def forward(self, maps):
        return torch.cat([super().forward(maps), maps], dim=1)


class _Nothing(layers.BottleneckLayer):
    def forward(self, maps):
        return super().forward(maps) * 0


JOINED = "The input is joined to the new maps. Return only the k new maps; the block joins."
SUSPECTS = (
    (_Nothing, MISFIT),
    (always(layers.BottleneckLayer, training=False), RUNNING),
    (always(layers.BottleneckLayer, training=True), BATCH),
    (_Joining, JOINED),
    (_Joining_in_front, JOINED),
    (_ordered("relu1", "norm1", "conv1", "relu2", "norm2", "conv2"),
     "this is ReLU → BN → convolution. BatchNorm stands before the ReLU."),
    (_ordered("norm1", "conv1", "relu1", "norm2", "conv2", "relu2"),
     "this is BN → convolution → ReLU. The ReLU stands before the convolution."),
    (_without("norm2", "relu2"), "BN and ReLU between the two convolutions are missing."),
    (_without("relu1", "relu2"), "both ReLUs are missing."),
    (_without("relu2"), "the ReLU between the two convolutions is missing."),
    (_without("relu1"), "the ReLU before the 1×1 convolution is missing."),
    (_without("norm2"), "BatchNorm between the two convolutions is missing."),
    (_without("norm1", "relu1"), "BN and ReLU before the 1×1 convolution are missing."),
    (_without("norm1"), "BatchNorm before the 1×1 convolution is missing."),
    (_without("norm1", "norm2"), "both BatchNorms are missing."),
    (_changed(conv2__padding=(0, 0)), "Without padding a 3×3 convolution takes a pixel from each side. Use padding=1."),
    (_changed(conv1__padding=(1, 1)), "Padding of the 1×1 convolution adds pixels. Only the 3×3 has padding=1."),
    (_changed(conv1__padding=(1, 1), conv2__padding=(0, 0)),
     "the border is not zero: the padding belongs to the 3×3 convolution, not to the 1×1."),
    (_changed(conv1__stride=(2, 2)), "A stride of 2 halves the maps. A layer keeps height and width."),
    (_changed(conv2__stride=(2, 2)), "A stride of 2 halves the maps. A layer keeps height and width."),
    (_changed(norm1__eps=1e-3, norm2__eps=1e-3), "BatchNorm's eps is 1e-3 (Keras's); expected PyTorch's, 1e-5."),
    (_changed(norm1__momentum=0.01, norm2__momentum=0.01),
     "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
    (_changed(norm1__momentum=0.9, norm2__momentum=0.9), "BatchNorm's momentum is 0.9; expected PyTorch's, 0.1."),
    (lambda *a: nn.Sequential(layers.BottleneckLayer(*a), nn.ReLU()),
     "a ReLU stands at the end; nothing follows the 3×3 convolution."),
)


def notes(in_channels, growth_rate, bottleneck_factor=4):
    """Name the cause of parameters of a wrong shape."""
    c, k, b = in_channels, growth_rate, bottleneck_factor
    w = b * k
    return {
        (c + k, w, 3, 3): "The 3×3 convolution makes the k new maps only.",
        (k, c, 3, 3): "This is a plain layer: the 1×1 convolution to bottleneck_factor·k is missing in front.",
        (w, c, 3, 3): "The first convolution is 3×3; expected 1×1.",
        (k, w, 1, 1): "The second convolution is 1×1; expected 3×3.",
        (c * b, c, 1, 1): "The waist is a multiple of in_channels; expected bottleneck_factor·growth_rate.",
        (k, c, 1, 1): "The waist is k wide; expected bottleneck_factor·k.",
        (4 * k, c, 1, 1) if b != 4 else None: "The waist is 4k here too: bottleneck_factor is not used.",
        (w, c): "Write the 1×1 convolution as nn.Conv2d, so that its weight has four axes.",
        (w, c, 1, 1): "Are both convolutions parts of the module, each once?",
        (c,): "A BatchNorm of in_channels stands before the 1×1: BN → ReLU → convolution, not the order of ResNet.",
        (w,): "One BatchNorm stands between the convolutions, and the 1×1 has no bias: set bias=False.",
        (k,): "The 3×3 convolution has no bias (set bias=False), and nothing follows it.",
    }


CASE = NetworkCase("BottleneckLayer", layers.BottleneckLayer, arguments, images, suspects=SUSPECTS, notes=notes)
DEFAULT = replace(CASE, arguments=two_arguments)
LAYER = {"of": "BottleneckLayer"}


@EXERCISE.finding("shape", points=1, **LAYER)
def shape(answer, draw):
    """The k new maps come out, whatever the sizes; bottleneck_factor may be named."""
    CASE.finding("shape")(answer, draw)
    in_channels, growth_rate = draw.integer(5, 9), draw.integer(3, 4)
    keywords = {"growth_rate": growth_rate, "bottleneck_factor": 3}
    script = [{"do": "run", "images": draw.normal(2, in_channels, 5, 5)}]
    script.insert(0, script[0] | {"do": "warm up"})
    got = Explaining(answer, NETWORK).ask(
        probes.play, name="BottleneckLayer", arguments=[in_channels], keywords=keywords, script=script,
    )
    expect("output shape", (2, growth_rate, 5, 5), tuple(got[1]["output"].shape))


@EXERCISE.finding("parameters", points=1, **LAYER)
def parameters(answer, draw):
    """The parameters have the right shapes for the default waist and for another one."""
    DEFAULT.parameters(answer, draw)
    CASE.parameters(answer, draw)


@EXERCISE.finding("values", points=2.5, **LAYER)
def values(answer, draw):
    """The output has the right values in eval mode, for the default waist and for others."""
    DEFAULT.finding("values_in_eval")(answer, draw)
    CASE.finding("values_in_eval")(answer, draw)


EXERCISE.finding("training", points=1.5, **LAYER)(CASE.finding("repeatable", "values_in_training", "start_values"))
EXERCISE.finding("gradients and side effects", points=1, **LAYER)(
    CASE.finding("repeatable", "gradients", "side_effects", "fresh")
)


def waist_cost(in_channels, growth_rate, height, width, bottleneck_factor=4):
    """Count the multiply-adds of both convolutions."""
    waist, size = bottleneck_factor * growth_rate, {"height": height, "width": width}
    return (conv_multiply_adds(in_channels, waist, kernel_size=1, **size)
            + conv_multiply_adds(waist, growth_rate, kernel_size=3, **size))


def cost_suspects(c, k, h, w, b=4):
    """Pair wrong counts with the mistakes that give them."""
    waist, right = b * k, waist_cost(c, k, h, w, b)
    first, second = h * w * c * waist, h * w * 9 * waist * k
    return (
        (2 * right, "This counts products and sums apart; a multiply-add is both in one."),
        (right // (h * w), "These are the weights: each of them works once for every pixel, H·W times."),
        (9 * c * k * h * w, "This is a plain layer's single 3×3 convolution."),
        (first, "The 3×3 convolution is missing: 9·(4k)·k for every pixel."),
        (second, "The 1×1 convolution is missing: C·4k for every pixel."),
        (first + second // 9, "The 3×3 convolution has nine weights for each pair of channels."),
        (9 * first + second, "The 1×1 convolution has one weight for each pair of channels, not nine."),
        (first + second // 3, "A 3×3 kernel has 9 weights, not 3."),
        (waist_cost(c, k, h, w, 1), "This is a waist of k; expected bottleneck_factor·k."),
        (waist_cost(c, k, h, w, 4), "This is a waist of 4k: bottleneck_factor is not used."),
        (h * w * c * b * c + h * w * 9 * b * c * k, "The waist is a multiple of in_channels; expected of growth_rate."),
        (waist_cost(c, k, h, h, b), "This is for an image of H·H; expected H·W."),
        (waist_cost(c, k, w, w, b), "This is for an image of W·W; expected H·W."),
        (first + (h - 2) * (w - 2) * 9 * waist * k, "Padding 1 keeps H·W pixels after the 3×3 convolution too."),
        (right + 2 * (c + waist) * h * w, "This counts BatchNorm too; only the two convolutions are asked for."),
        (right + (waist + k) * h * w, "This counts biases; the convolutions have none."),
        (right // (h * w) + 2 * (c + waist), "These are the parameters. Multiply-adds: every weight works H·W times."),
    )


def _cost(answer, arguments, keywords=None):
    got = answer.ask(probes.call, name="layer_cost", arguments=list(arguments), keywords=keywords, result="int")
    values = [*arguments, *(keywords or {}).values()]
    call = ", ".join([*map(str, arguments), *(f"{key}={value}" for key, value in (keywords or {}).items())])
    because = "= H·W·(C·bk + 9·bk·k)"
    expect(f"layer_cost({call})", waist_cost(*values), got["result"], because=because,
           suspects=cost_suspects(*values))


@EXERCISE.finding("cost", points=2, of="layer_cost")
def cost(answer, draw):
    """The multiply-adds are right for a waist of 4k, H ≠ W."""
    for _ in range(4):
        height, width = draw.sample(7, 40, 2)
        _cost(answer, (draw.integer(20, 400), draw.integer(5, 48), height, width))


@EXERCISE.finding("cost for other widths", points=1, of="layer_cost")
def other_widths(answer, draw):
    """The multiply-adds are right for other waists, by position and by name."""
    height, width = draw.sample(7, 40, 2)
    sizes = draw.integer(20, 400), draw.integer(5, 48)
    _cost(answer, (*sizes, height, width, draw.integer(5, 8)))
    _cost(answer, sizes, {"height": height, "width": width, "bottleneck_factor": draw.integer(1, 3)})
