"""Exercise bottleneck: BN → ReLU → 1×1 convolution to 4k → BN → ReLU → 3×3 convolution to k, and its cost."""

from dataclasses import replace

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.explain import NETWORK, explained
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.exercises import conv_block
from densenet_course.checks.exercises.bottleneck.mistakes import (
    COST,
    COST_SOLUTION,
    OTHER_WIDTHS,
    PARAMETERS,
    SHAPE,
    SOLUTION,
    TRAINING,
    VALUES,
    notes,
)
from densenet_course.checks.kinds.modules import ModuleCase

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


def even_arguments(draw):
    """Draw even numbers, for which convolutions in groups would fit, in_channels unlike the waist."""
    c, k = draw.random.choice(((10, 4), (14, 4), (8, 6), (10, 6)))
    return c, k, draw.random.choice((2, 3))


def equal_arguments(draw):
    """Draw in_channels = growth_rate: a shortcut would fit."""
    return (draw.integer(5, 9),) * 2


CASE = ModuleCase("BottleneckLayer", SOLUTION, arguments, conv_block.images, notes=notes)
DEFAULT, EVEN, EQUAL = (replace(CASE, arguments=drawn) for drawn in (two_arguments, even_arguments, equal_arguments))
ONE = replace(CASE, images=conv_block.ONE.images)
LAYER = {"of": "BottleneckLayer"}
EXPLAINED = explained(NETWORK)


@EXERCISE.finding(SHAPE, points=1, **LAYER)
@EXPLAINED
def shape(answer, draw):
    """The k new maps come out, whatever the sizes, for one image too; bottleneck_factor may be named."""
    for case in (CASE, DEFAULT, EQUAL):
        case.shape(answer, draw)
    in_channels, growth_rate = draw.integer(5, 9), draw.integer(3, 4)
    request = {"name": "BottleneckLayer", "arguments": [in_channels],
               "keywords": {"growth_rate": growth_rate, "bottleneck_factor": 3}}
    run = {"images": draw.normal(2, in_channels, 5, 5)}
    SOLUTION.hold(answer, draw, probes.play, request | {"script": [{"do": "warm up"} | run, {"do": "run"} | run]},
                  view=lambda replies: {"output shape": tuple(replies[1]["output"].shape)})


@EXERCISE.finding(PARAMETERS, points=1, **LAYER)
@EXPLAINED
def parameters(answer, draw):
    """The parameters have the right shapes for the default waist and for others."""
    for case in (CASE, DEFAULT, EVEN):
        case.parameters(answer, draw)


@EXERCISE.finding(VALUES, points=2.5, **LAYER)
@EXPLAINED
def values(answer, draw):
    """The output has the right values in eval mode, for the default waist and for others, and for one image."""
    for case in (DEFAULT, CASE, EQUAL, ONE):
        case.values_in_eval(answer, draw)


@EXERCISE.finding(TRAINING, points=1.5, **LAYER)
@EXPLAINED
def training(answer, draw):
    """BatchNorm uses the batch's statistics in training, remembers them, and starts as PyTorch makes it."""
    CASE.values_in_training(answer, draw)
    CASE.start_values(answer, draw)


EXERCISE.finding("gradients and side effects", points=1, **LAYER)(EXPLAINED(CASE.clean))


def _cost(answer, draw, *calls):
    """Compare multiply-adds; each call is a pair (positional arguments, keyword arguments)."""
    for arguments, keywords in calls:
        call = ", ".join([*map(str, arguments), *(f"{key}={value}" for key, value in keywords.items())])
        request = {"name": "layer_cost", "arguments": arguments, "keywords": keywords, "result": "int"}
        COST_SOLUTION.hold(answer, draw, probes.call, request, view=lambda reply, call=call: {
            f"layer_cost({call}), H·W·(C·bk + 9·bk·k)": reply["result"]})


@EXERCISE.finding(COST, points=2, of="layer_cost")
def cost(answer, draw):
    """The multiply-adds are right for a waist of 4k, H ≠ W."""
    _cost(answer, draw, *[((draw.integer(20, 400), draw.integer(5, 48), *draw.sample(7, 40, 2)), {})
                          for _ in range(4)])


@EXERCISE.finding(OTHER_WIDTHS, points=1, of="layer_cost")
def other_widths(answer, draw):
    """The multiply-adds are right for other waists, by position and by name."""
    height, width = draw.sample(7, 40, 2)
    sizes = draw.integer(20, 400), draw.integer(5, 48)
    named = {"height": height, "width": width, "bottleneck_factor": draw.integer(1, 3)}
    _cost(answer, draw, ((*sizes, height, width, draw.integer(5, 8)), {}), (sizes, named))
