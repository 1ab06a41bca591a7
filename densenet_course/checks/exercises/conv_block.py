"""Exercise conv_block: BN → ReLU → 3×3 convolution."""

from dataclasses import replace

from densenet_course.checks.engine.explain import PADDED
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.mistakes import Mistake, Solution, mistakes_at
from densenet_course.checks.kinds import slips
from densenet_course.checks.kinds.modules import ModuleCase

EXERCISE = Exercise("conv_block", names=["conv_block"], title="The composite function", lesson="02_conv_block")
SHAPE, PARAMETERS, VALUES, TRAINING, START = "shape", "parameters", "values", "training", "start values"

SOURCE = """
def conv_block(in_channels, out_channels):
    norm = nn.BatchNorm2d(in_channels)
    relu = nn.ReLU()
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(norm, relu, conv)
"""
NORM, RELU, PARTS, PADDING, KERNEL = (
    "nn.BatchNorm2d(in_channels)", "nn.ReLU()", "(norm, relu, conv)", "padding=1", "kernel_size=3",
)

GROUPS = "the convolution works in groups. Each new map reads all channels: leave groups at 1."
TWICE = "there are two BatchNorms. One is enough, in front of the ReLU."
MISTAKES = [
    *slips.outputs(SHAPE),
    *mistakes_at(SHAPE, PADDING,
                 (PADDED, "padding=0"),
                 ("padding 2 adds a pixel on each side. Use padding=1.", "padding=2"),
                 ("a stride of 2 halves the maps. Height and width stay as they are.", "padding=1, stride=2")),
    Mistake(SHAPE, slips.SWAPPED, "(in_channels, out_channels, k", "(out_channels, in_channels, k"),
    Mistake(PARAMETERS, slips.TRANSPOSED, slips.CONV, "nn.ConvTranspose2d("),
    *mistakes_at(PARAMETERS, PARTS,
                 ("a second BatchNorm stands at the end. Nothing follows the convolution.",
                  f"{PARTS[:-1]}, nn.BatchNorm2d(out_channels))"),
                 ("BatchNorm and ReLU stand at the end too. Nothing follows the convolution.",
                  f"{PARTS[:-1]}, nn.BatchNorm2d(out_channels), nn.ReLU())"),
                 (TWICE, "(norm, relu, nn.BatchNorm2d(in_channels), conv)"),
                 (TWICE, "(nn.BatchNorm2d(in_channels), norm, relu, conv)")),
    *mistakes_at(PARAMETERS, "bias=False",
                 ("the convolution has a bias. The next BatchNorm would subtract it: set bias=False.", "bias=True")),
    *mistakes_at(PARAMETERS, KERNEL, ("the kernel is 1×1; expected 3×3.", "kernel_size=1", PADDING, "padding=0"),
                 ("the kernel is 1×1; expected 3×3.", "kernel_size=1"),
                 ("the kernel is 5×5; expected 3×3.", "kernel_size=5", PADDING, "padding=2")),
    *mistakes_at(PARAMETERS, NORM, ("BatchNorm has a γ and a β for each of the input's channels: not affine=False.",
                                    "nn.BatchNorm2d(in_channels, affine=False)")),
    *mistakes_at(PARAMETERS, "bias=",
                 (GROUPS, "groups=2 if in_channels % 2 == out_channels % 2 == 0 else 1, bias="),
                 (GROUPS, "groups=in_channels if out_channels % in_channels == 0 else 1, bias=")),
    *mistakes_at(VALUES, PARTS,
                 ("this is convolution → BN → ReLU, the order of ResNet. DenseNet's is BN → ReLU → convolution.",
                  "(conv, norm, relu)", NORM, "nn.BatchNorm2d(out_channels)"),
                 ("this is BN → convolution → ReLU. The ReLU stands before the convolution.", "(norm, conv, relu)"),
                 ("this is ReLU → BN → convolution. BatchNorm stands before the ReLU.", "(relu, norm, conv)"),
                 ("the ReLU is missing.", "(norm, conv)"), ("BatchNorm is missing.", "(relu, conv)"),
                 ("BatchNorm and ReLU are missing.", "(conv)"),
                 ("a second ReLU stands at the end. Nothing follows the convolution.", "(norm, relu, conv, relu)")),
    *mistakes_at(VALUES, slips.MODULE, (slips.SHORTCUT, "Residual(")),
    *slips.borders(VALUES, PADDING),
    *slips.dilated(SHAPE, VALUES, PADDING),
    *slips.activations(VALUES, PARAMETERS),
    *slips.norms(VALUES, TRAINING),
]
SOLUTION = Solution(SOURCE, MISTAKES, **slips.NAMES)


def images(draw, arguments, count=None, contrast=0.05):
    """Draw maps whose channels differ, H ≠ W; a small contrast shows a wrong epsilon, a large one ReLU6."""
    shape = count or draw.integer(2, 4), arguments[0], draw.integer(5, 8), draw.integer(9, 12)
    return draw.maps(*shape, contrast=contrast)


def notes(in_channels, out_channels):
    """Name the cause of parameters of a wrong shape."""
    c, k = in_channels, out_channels
    return {
        (c, k, 3, 3): "in_channels and out_channels are swapped.",
        (k,): "Is it the convolution's bias (set bias=False), or BatchNorm over the output's channels?",
        (k, c, 3, 3): "Is the 3×3 convolution there, once, as a part of the module?",
        (k, k, 3, 3): "There is a second 3×3 convolution; one is enough.",
        (c,): "BatchNorm has a γ and a β for each of the input's channels, and there is only one BatchNorm.",
    }


CASE = ModuleCase("conv_block", SOLUTION, lambda draw: tuple(draw.sample(3, 17, 2)), images, notes=notes)
EVEN = replace(CASE, arguments=lambda draw: tuple(2 * n for n in draw.sample(2, 8, 2)))  # groups=2 would fit
EQUAL = replace(CASE, arguments=lambda draw: (draw.integer(4, 12),) * 2)  # a shortcut would fit
ONE = replace(CASE, images=lambda draw, arguments: images(draw, arguments, 1, contrast=4.0))


@EXERCISE.finding(SHAPE, points=2)
def shape(answer, draw):
    """The output has the right shape, for several images and for one."""
    for case in (CASE, EQUAL):
        case.shape(answer, draw)


@EXERCISE.finding(PARAMETERS, points=1)
def parameters(answer, draw):
    """The parameters have the right shapes, whatever the numbers of channels."""
    for case in (CASE, EVEN, EQUAL):
        case.parameters(answer, draw)


@EXERCISE.finding(VALUES, points=3)
def values(answer, draw):
    """The output has the right values in eval mode."""
    for case in (CASE, EVEN, EQUAL, ONE):
        case.values_in_eval(answer, draw)


EXERCISE.finding(TRAINING, points=2)(CASE.values_in_training)
EXERCISE.finding(START, points=1)(CASE.start_values)
EXERCISE.finding("gradients and side effects", points=1)(CASE.clean)
