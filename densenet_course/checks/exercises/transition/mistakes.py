"""Known mistakes in a transition, as edits of the solution, and what to say."""

import math
from math import floor

from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from densenet_course.checks.engine.mistakes import Mistake, Solution, mistakes_at
from densenet_course.checks.kinds import slips

CHANNELS, SIZE, PARAMETERS, VALUES, TRAINING = "channels", "height and width", "parameters", "values", "training"
SOURCE = """
def transition(in_channels, compression=0.5):
    out_channels = int(compression * in_channels)
    norm = nn.BatchNorm2d(in_channels)
    relu = nn.ReLU()
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
    pool = nn.AvgPool2d(2)
    return nn.Sequential(norm, relu, conv, pool)
"""
CONV = "nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)"
PARTS, POOL = "(norm, relu, conv, pool)", "nn.AvgPool2d(2)"
KERNEL, NORM = "kernel_size=1", "nn.BatchNorm2d(in_channels)"
KEPT = "θ is the share that is kept, not the share that goes."
DROPPED = "a last row or column without a partner is dropped: 7 → 3. Is there ceil_mode, or a padding?"
SQUARE = "expected the average of each 2×2 square."
IN_FRONT = ("the pooling stands in front of the ReLU. It may change places with the 1×1 convolution only: the ReLU is "
            "not linear.")


class Adaptive(nn.Module):
    """Pooling to half the size, whose squares overlap where the size is odd."""

    def forward(self, maps):
        """Return the averages."""
        return adaptive_avg_pool2d(maps, [size // 2 for size in maps.shape[2:]])


def count(message, *expressions):
    """List mistakes of another number of channels."""
    return mistakes_at(CHANNELS, "int(compression * in_channels)", *((message, text) for text in expressions))


def pool(finding, message, *options):
    """List mistakes of an average pooling with other options."""
    return mistakes_at(finding, POOL, *((message, f"nn.AvgPool2d({option})") for option in options))


MISTAKES = [
    *count("Are the channels compressed at all? The 1×1 convolution makes ⌊θ·C⌋.", "in_channels"),
    *count("Is θ fixed at ½? Use the argument compression.", "in_channels // 2"),
    *count("Was θ·C rounded to the nearest whole number? ⌊ ⌋ rounds down.", "round(compression * in_channels)",
           "int(compression * in_channels + 0.5)"),
    *count("Was θ·C rounded up? ⌊ ⌋ rounds down.", "math.ceil(compression * in_channels)"),
    *count(KEPT, "int((1 - compression) * in_channels)", "in_channels - int(compression * in_channels)"),
    *count("Did you divide by θ? Multiply.", "int(in_channels / compression)", "math.ceil(in_channels / compression)"),
    *(Mistake(CHANNELS, "Is compression ½ where it is not given?", "compression=0.5", f"compression={share}")
      for share in ("1.0", "0.25", "0.75")),
    Mistake(CHANNELS, slips.SWAPPED, "(in_channels, out_channels, k", "(out_channels, in_channels, k"),
    Mistake(SIZE, slips.ONE_IMAGE, slips.MODULE, "Squeezed("),
    Mistake(SIZE, "The pooling is missing, or its stride is 1.", POOL, "nn.Identity()"),
    *pool(SIZE, "The stride is 1. Move on by 2, so that no pixel counts twice.", "2, stride=1",
          "2, stride=1, padding=1", "3, stride=1, padding=1"),
    Mistake(SIZE, f"every other pixel is dropped (stride 2 in the convolution); {SQUARE}", KERNEL,
            f"{KERNEL}, stride=2", POOL, "nn.Identity()"),
    *pool(SIZE, DROPPED, "2, ceil_mode=True"),
    *pool(SIZE, "Is the pooling 3×3? It takes 2×2 squares.", "3, stride=2", "3", "3, stride=2, padding=1",
          "3, stride=2, padding=1, count_include_pad=False"),
    *pool(SIZE, "The pooling pads the border. It takes 2×2 squares without padding.", "2, padding=1",
          "2, padding=1, count_include_pad=False"),
    *pool(SIZE, "Is it pooled twice, or with stride 4?", "4", "2, stride=4"),
    Mistake(SIZE, "Is it pooled twice, or with stride 4?", PARTS, "(norm, relu, conv, pool, pool)"),
    Mistake(SIZE, "This averages the whole map. A transition averages 2×2 squares.", POOL, "nn.AdaptiveAvgPool2d(1)"),
    Mistake(PARAMETERS, "the convolution has a bias. Set bias=False.", "bias=False", "bias=True"),
    Mistake(PARAMETERS, slips.TRANSPOSED, slips.CONV, "nn.ConvTranspose2d("),
    *mistakes_at(PARAMETERS, PARTS, *((f"a second BatchNorm stands {place}. A transition has one, in front.", parts)
                                      for place, parts in (
        ("after the convolution", "(norm, relu, conv, nn.BatchNorm2d(out_channels), pool)"),
        ("at the end", "(norm, relu, conv, pool, nn.BatchNorm2d(out_channels))"),
        ("between ReLU and convolution", "(norm, relu, nn.BatchNorm2d(in_channels), conv, pool)")))),
    Mistake(PARAMETERS, "The kernel is 3×3; expected 1×1.", KERNEL, "kernel_size=3, padding=1"),
    Mistake(PARAMETERS, "The kernel is 2×2; expected 1×1, and a pooling after it.", KERNEL, "kernel_size=2, stride=2",
            POOL, "nn.Identity()"),
    Mistake(PARAMETERS, "BatchNorm has a γ and a β for each of the input's channels: not affine=False.", NORM,
            f"{NORM[:-1]}, affine=False)"),
    Mistake(PARAMETERS, "the convolution works in groups. Each map reads all channels: leave groups at 1.", KERNEL,
            f"{KERNEL}, groups=2 if in_channels % 2 == out_channels % 2 == 0 else 1"),
    Mistake(PARAMETERS, "With θ = 1 the 1×1 convolution still mixes channels.", CONV,
            f"{CONV} if out_channels < in_channels else nn.Identity()"),
    *mistakes_at(VALUES, PARTS,
                 ("this is convolution → BN → ReLU. BatchNorm and ReLU stand before the convolution.",
                  "(conv, norm, relu, pool)", NORM, "nn.BatchNorm2d(out_channels)"),
                 ("this is BN → convolution → ReLU. The ReLU stands before the convolution.",
                  "(norm, conv, relu, pool)"),
                 ("this is ReLU → BN → convolution. BatchNorm stands before the ReLU.", "(relu, norm, conv, pool)"),
                 ("the ReLU is missing.", "(norm, conv, pool)"), ("BatchNorm is missing.", "(relu, conv, pool)"),
                 ("BatchNorm and ReLU are missing.", "(conv, pool)"),
                 (IN_FRONT, "(norm, pool, relu, conv)"), (IN_FRONT, "(pool, norm, relu, conv)"),
                 ("there is a ReLU at the end; expected the averages as they are.", "(norm, relu, conv, pool, relu)"),
                 ("a second ReLU follows the convolution; expected one, before it.", "(norm, relu, conv, relu, pool)"),
                 (f"this is max pooling (before the convolution); {SQUARE}", "(norm, relu, nn.MaxPool2d(2), conv)")),
    *mistakes_at(VALUES, POOL, (f"this is max pooling; {SQUARE}", "nn.MaxPool2d(2)"),
                 (f"this is adaptive pooling, whose squares overlap where a size is odd; {SQUARE}", "Adaptive()"),
                 ("the pooling takes the root of squares; expected the average.", "nn.LPPool2d(2, 2)")),
    *pool(VALUES, "each 2×2 square is summed; expected its average.", "2, divisor_override=1"),
    *slips.activations(VALUES, PARAMETERS),
    *slips.norms(VALUES, TRAINING),
]
SOLUTION = Solution(SOURCE, MISTAKES, math=math, Adaptive=Adaptive, **slips.NAMES)


def channels_after(channels, compression=0.5):
    """Compute ⌊θ·C⌋; what is drawn keeps far from whole numbers, or is exact."""
    return floor(compression * channels)


def notes(in_channels, compression=0.5):
    """Name the cause of parameters of a wrong shape."""
    c, kept = in_channels, channels_after(in_channels, compression)
    as_convolution = "Write the 1×1 convolution as nn.Conv2d, so that its weight has four axes."
    return {
        (kept, c): as_convolution, (kept, c, 1): as_convolution,
        (kept, c, 3, 3): "The kernel is 3×3; expected 1×1.",
        (kept, c, 2, 2): "The kernel is 2×2; expected 1×1, and a pooling after it.",
        (c, c, 1, 1): "The channels are not compressed: the convolution makes ⌊θ·C⌋ of them.",
        (floor(c / compression), c, 1, 1): "The convolution makes ⌊θ·C⌋ channels, not C/θ.",
        (c, kept, 1, 1): "The two numbers of channels of the convolution are swapped.",
        (kept,): "Is it the convolution's bias (set bias=False), or BatchNorm after the convolution?",
        (kept, c, 1, 1): "Is the 1×1 convolution there, once, as a part of the module?",
        (c,): "BatchNorm has a γ and a β for each of the input's channels: not affine=False, and only one BatchNorm.",
    }
