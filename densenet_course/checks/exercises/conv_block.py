"""Exercise conv_block: BN → ReLU → 3×3 convolution."""

from dataclasses import replace

from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.mistakes import Mistake, Solution
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

MISTAKES = [
    Mistake(SHAPE, slips.ONE_IMAGE, slips.MODULE, "Squeezed("),
    Mistake(SHAPE, "without padding a 3×3 convolution takes a pixel from each side. Use padding=1.", PADDING,
            "padding=0"),
    Mistake(SHAPE, "padding 2 adds a pixel on each side. Use padding=1.", PADDING, "padding=2"),
    Mistake(SHAPE, "a stride of 2 halves the maps. Height and width stay as they are.", PADDING,
            "padding=1, stride=2"),
    Mistake(SHAPE, slips.JOINED, slips.MODULE, "Joining("),
    Mistake(SHAPE, slips.JOINED, slips.MODULE, "JoiningBehind("),
    Mistake(PARAMETERS, "the convolution has a bias. The next BatchNorm would subtract it: set bias=False.",
            "bias=False", "bias=True"),
    Mistake(PARAMETERS, "the kernel is 1×1; expected 3×3.", KERNEL, "kernel_size=1", PADDING, "padding=0"),
    Mistake(PARAMETERS, "the kernel is 5×5; expected 3×3.", KERNEL, "kernel_size=5", PADDING, "padding=2"),
    Mistake(PARAMETERS, "BatchNorm has a γ and a β for each of the input's channels: not affine=False.", NORM,
            "nn.BatchNorm2d(in_channels, affine=False)"),
    Mistake(PARAMETERS, "the convolution works in groups. Each new map reads all channels: leave groups at 1.", "bias=",
            "groups=2 if in_channels % 2 == out_channels % 2 == 0 else 1, bias="),
    Mistake(PARAMETERS, "the convolution works in groups. Each new map reads all channels: leave groups at 1.", "bias=",
            "groups=in_channels if out_channels % in_channels == 0 else 1, bias="),
    Mistake(VALUES, "this is convolution → BN → ReLU, the order of ResNet. DenseNet's is BN → ReLU → convolution.",
            NORM, "nn.BatchNorm2d(out_channels)", PARTS, "(conv, norm, relu)"),
    Mistake(VALUES, "this is BN → convolution → ReLU. The ReLU stands before the convolution.", PARTS,
            "(norm, conv, relu)"),
    Mistake(VALUES, "this is ReLU → BN → convolution. BatchNorm stands before the ReLU.", PARTS, "(relu, norm, conv)"),
    Mistake(VALUES, "the ReLU is missing.", PARTS, "(norm, conv)"),
    Mistake(VALUES, "BatchNorm is missing.", PARTS, "(relu, conv)"),
    Mistake(VALUES, "BatchNorm and ReLU are missing.", PARTS, "(conv)"),
    Mistake(VALUES, "a second ReLU stands at the end. Nothing follows the convolution.", PARTS,
            "(norm, relu, conv, relu)"),
    Mistake(VALUES, slips.SHORTCUT, slips.MODULE, "Residual("),
    *(Mistake(VALUES, f"the border holds {what}; expected zeros.", PADDING, f"{PADDING}, padding_mode='{mode}'")
      for mode, what in (("reflect", "mirrored pixels"), ("replicate", "repeated pixels"),
                         ("circular", "pixels of the other side"))),
    *slips.activations(VALUES),
    *slips.norms(VALUES, TRAINING),
    Mistake(START, "γ starts at 0; leave BatchNorm's start values as PyTorch makes them.", NORM,
            f"{NORM}\n    nn.init.zeros_(norm.weight)"),
    Mistake(START, "BatchNorm's γ starts at random; leave its start values as PyTorch makes them.", NORM,
            f"{NORM}\n    nn.init.constant_(norm.weight, 0.5)"),
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


@EXERCISE.finding("gradients and side effects", points=1)
def clean(answer, draw):
    """Gradients flow, the input is left alone, calls and modules are independent."""
    CASE.gradients(answer, draw)
    CASE.side_effects(answer, draw)
    CASE.fresh(answer, draw)
