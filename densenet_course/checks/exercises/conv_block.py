"""Exercise conv_block: BN → ReLU → 3×3 convolution."""

from torch import nn

from densenet_course import layers
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.kinds.modules import ModuleCase

EXERCISE = Exercise("conv_block", names=["conv_block"], title="The composite function", lesson="02_conv_block")


def arguments(draw):
    """Draw (in_channels, out_channels), different from each other."""
    return tuple(draw.sample(3, 17, 2))


def images(draw, arguments):
    """Draw maps whose channels differ in mean and spread, with H ≠ W; small spreads show a wrong epsilon."""
    shape = draw.integer(2, 4), arguments[0], draw.integer(5, 8), draw.integer(9, 12)
    maps = draw.normal(*shape)
    return maps * draw.normal(1, shape[1], 1, 1).exp() * 0.05 + draw.normal(1, shape[1], 1, 1)


def _conv(in_channels, out_channels, **options):
    return nn.Conv2d(in_channels, out_channels, **{"kernel_size": 3, "padding": 1, "bias": False} | options)


def _block(norm=nn.BatchNorm2d, activation=nn.ReLU, **options):
    return lambda c, k: nn.Sequential(norm(c), activation(), _conv(c, k, **options))


SUSPECTS = (
    (lambda c, k: nn.Sequential(_conv(c, k), nn.BatchNorm2d(k), nn.ReLU()),
     "this is convolution → BN → ReLU, the order of ResNet. DenseNet's is BN → ReLU → convolution."),
    (lambda c, k: nn.Sequential(nn.BatchNorm2d(c), _conv(c, k), nn.ReLU()),
     "this is BN → convolution → ReLU. The ReLU stands before the convolution."),
    (lambda c, k: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(c), _conv(c, k)),
     "this is ReLU → BN → convolution. BatchNorm stands before the ReLU."),
    (lambda c, k: nn.Sequential(nn.BatchNorm2d(c), _conv(c, k)), "the ReLU is missing."),
    (lambda c, k: nn.Sequential(nn.ReLU(), _conv(c, k)), "BatchNorm is missing."),
    (_block(padding=0), "without padding a 3×3 convolution takes a pixel from each side. Use padding=1."),
    (_block(padding=2), "padding 2 adds a pixel on each side. Use padding=1."),
    (_block(padding=1, padding_mode="reflect"), "the border is padded with mirrored pixels; expected zeros."),
    (_block(padding=1, padding_mode="replicate"), "the border is padded with repeated pixels; expected zeros."),
    (_block(padding=1, padding_mode="circular"), "the border is padded with pixels of the other side; expected zeros."),
    (_block(activation=lambda: nn.LeakyReLU(0.01)), "this is a leaky ReLU; expected a plain one."),
    (_block(activation=nn.GELU), "this is GELU; expected ReLU."),
    (_block(norm=lambda c: nn.BatchNorm2d(c, eps=1e-3)),
     "BatchNorm's eps is 1e-3 (Keras's default); expected PyTorch's, 1e-5."),
    (_block(norm=lambda c: nn.BatchNorm2d(c, momentum=0.01)),
     "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
    (_block(norm=lambda c: nn.BatchNorm2d(c, momentum=0.9)), "BatchNorm's momentum is 0.9; expected PyTorch's, 0.1."),
    (_block(norm=lambda c: nn.BatchNorm2d(c, track_running_stats=False)),
     "BatchNorm uses the batch's statistics in eval mode too; expected the running ones."),
    (_block(norm=lambda c: nn.GroupNorm(1, c)), "this is LayerNorm over the channels; expected BatchNorm."),
    (_block(norm=lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True)),
     "this normalises each image on its own (InstanceNorm); expected BatchNorm."),
)


def notes(in_channels, out_channels):
    """Name the cause of parameters of a wrong shape."""
    c, k = in_channels, out_channels
    return {
        (c, k, 3, 3): "in_channels and out_channels are swapped.",
        (k,): "Is it the convolution's bias (set bias=False), or BatchNorm over the output's channels?",
        (k, c, 1, 1): "The kernel is 1×1; expected 3×3.",
        (k, c, 5, 5): "The kernel is 5×5; expected 3×3.",
        (k, c, 3, 3): "Is the 3×3 convolution there, once, as a part of the module?",
        (c,): "BatchNorm has a γ and a β for each of the input's channels: not affine=False, and only one BatchNorm.",
    }


CASE = ModuleCase("conv_block", layers.conv_block, arguments, images, suspects=SUSPECTS, notes=notes)

EXERCISE.finding("shape", points=2)(CASE.shape)
EXERCISE.finding("parameters", points=1)(CASE.parameters)
EXERCISE.finding("values", points=3)(CASE.values_in_eval)
EXERCISE.finding("training", points=2)(CASE.values_in_training)
EXERCISE.finding("start values", points=1)(CASE.start_values)


@EXERCISE.finding("gradients and side effects", points=1)
def clean(answer, draw):
    """Gradients flow, the input is left alone, calls and modules are independent."""
    CASE.gradients(answer, draw)
    CASE.side_effects(answer, draw)
    CASE.fresh(answer, draw)
