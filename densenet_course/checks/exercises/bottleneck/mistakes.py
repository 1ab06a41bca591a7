"""Known mistakes in a bottleneck layer and its cost, and what to say."""

from densenet_course.checks.engine.mistakes import Mistake, Solution
from densenet_course.checks.kinds import slips

SHAPE, PARAMETERS, VALUES, TRAINING = "shape", "parameters", "values", "training"

SOURCE = """
def BottleneckLayer(in_channels, growth_rate, bottleneck_factor=4):
    width = bottleneck_factor * growth_rate
    norm1, norm2 = nn.BatchNorm2d(in_channels), nn.BatchNorm2d(width)
    relu1, relu2 = nn.ReLU(), nn.ReLU()
    conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
    conv2 = nn.Conv2d(width, growth_rate, kernel_size=3, bias=False, padding=1)
    return nn.Sequential(norm1, relu1, conv1, norm2, relu2, conv2)
"""
PARTS = "(norm1, relu1, conv1, norm2, relu2, conv2)"
NARROW, WIDE, PADDING = "kernel_size=1", "kernel_size=3", "padding=1"
BIAS = "has a bias. Set bias=False in both convolutions."


def parts(finding, message, *names, norm1=None, norm2=None):
    """Make a mistake of other parts, or of their order; a BatchNorm then fits the channels at its new place."""
    widths = [(f"norm1, norm2 = {slips.NORM}in_channels), {slips.NORM}width)",
               f"norm1, norm2 = {slips.NORM}{norm1}), {slips.NORM}{norm2})")] if norm1 else []
    return Mistake(finding, message, *(piece for edit in widths for piece in edit), PARTS, f"({', '.join(names)})")


MISTAKES = [
    Mistake(SHAPE, slips.ONE_IMAGE, slips.MODULE, "Squeezed("),
    Mistake(SHAPE, slips.JOINED, slips.MODULE, "Joining("),
    Mistake(SHAPE, slips.JOINED, slips.MODULE, "JoiningBehind("),
    Mistake(SHAPE, "without padding a 3×3 convolution takes a pixel from each side. Use padding=1.", PADDING,
            "padding=0"),
    Mistake(SHAPE, "padding of the 1×1 convolution adds pixels. Only the 3×3 has padding=1.", NARROW,
            f"{NARROW}, {PADDING}"),
    *(Mistake(SHAPE, "a stride of 2 halves the maps. A layer keeps height and width.", kernel, f"{kernel}, stride=2")
      for kernel in (NARROW, WIDE)),
    Mistake(PARAMETERS, f"the 1×1 convolution {BIAS}", f"{NARROW}, bias=False", f"{NARROW}, bias=True"),
    Mistake(PARAMETERS, f"the 3×3 convolution {BIAS}", f"{WIDE}, bias=False", f"{WIDE}, bias=True"),
    Mistake(PARAMETERS, "both convolutions have a bias. Set bias=False.", "bias=False", "bias=True"),
    Mistake(PARAMETERS, "the waist is 4k here too: bottleneck_factor is not used.", "= bottleneck_factor *", "= 4 *"),
    Mistake(PARAMETERS, "the waist is k wide; expected bottleneck_factor·k.", "= bottleneck_factor *", "= 1 *"),
    Mistake(PARAMETERS, "the waist is a multiple of in_channels; expected bottleneck_factor·growth_rate.",
            "* growth_rate", "* in_channels"),
    *(Mistake(PARAMETERS, "BatchNorm has a γ and a β for each of its channels: not affine=False.", *(
        piece for width in widths for piece in (f"{slips.NORM}{width})", f"{slips.NORM}{width}, affine=False)")))
      for widths in (("in_channels", "width"), ("in_channels",), ("width",))),
    *(Mistake(PARAMETERS, "a convolution works in groups. Each new map reads all channels: leave groups at 1.",
              kernel, f"{kernel}, groups=2 if {widths} == 0 else 1")
      for kernel, widths in ((NARROW, "in_channels % 2 == width % 2"), (WIDE, "width % 2 == growth_rate % 2"))),
    parts(VALUES, "this is convolution → BN → ReLU, twice, the order of ResNet. BN and ReLU stand before each "
                  "convolution.", "conv1", "norm1", "relu1", "conv2", "norm2", "relu2", norm1="width",
          norm2="growth_rate"),
    parts(VALUES, "this is ReLU → BN → convolution. BatchNorm stands before the ReLU.", "relu1", "norm1", "conv1",
          "relu2", "norm2", "conv2"),
    parts(VALUES, "this is BN → convolution → ReLU. The ReLU stands before the convolution.", "norm1", "conv1",
          "relu1", "norm2", "conv2", "relu2"),
    parts(VALUES, "BN and ReLU between the two convolutions are missing.", "norm1", "relu1", "conv1", "conv2"),
    parts(VALUES, "both ReLUs are missing.", "norm1", "conv1", "norm2", "conv2"),
    parts(VALUES, "the ReLU between the two convolutions is missing.", "norm1", "relu1", "conv1", "norm2", "conv2"),
    parts(VALUES, "the ReLU before the 1×1 convolution is missing.", "norm1", "conv1", "norm2", "relu2", "conv2"),
    parts(VALUES, "BatchNorm between the two convolutions is missing.", "norm1", "relu1", "conv1", "relu2", "conv2"),
    parts(VALUES, "BN and ReLU before the 1×1 convolution are missing.", "conv1", "norm2", "relu2", "conv2"),
    parts(VALUES, "BatchNorm before the 1×1 convolution is missing.", "relu1", "conv1", "norm2", "relu2", "conv2"),
    parts(VALUES, "both BatchNorms are missing.", "relu1", "conv1", "relu2", "conv2"),
    parts(VALUES, "BatchNorms and ReLUs are missing.", "conv1", "conv2"),
    parts(VALUES, "a ReLU stands at the end; nothing follows the 3×3 convolution.", *PARTS[1:-1].split(", "),
          "nn.ReLU()"),
    parts(VALUES, "a BatchNorm stands at the end; nothing follows the 3×3 convolution.", *PARTS[1:-1].split(", "),
          "nn.BatchNorm2d(growth_rate)"),
    Mistake(VALUES, "the border is not zero: the padding belongs to the 3×3 convolution, not to the 1×1.", PADDING,
            "padding=0", NARROW, f"{NARROW}, {PADDING}"),
    *(Mistake(VALUES, f"the border holds {what}; expected zeros.", PADDING, f"{PADDING}, padding_mode='{mode}'")
      for mode, what in (("reflect", "mirrored pixels"), ("replicate", "repeated pixels"),
                         ("circular", "pixels of the other side"))),
    Mistake(VALUES, slips.SHORTCUT, slips.MODULE, "Residual("),
    *slips.activations(VALUES),
    *slips.norms(VALUES, TRAINING),
    *slips.batchnorm_mistakes(TRAINING, f"{slips.NORM}in_channels)"),
    *(mistake for mistake in slips.batchnorm_mistakes(TRAINING, f"{slips.NORM}width)")
      if "1e-4" not in mistake.message and "1e-6" not in mistake.message),  # too small to show behind a convolution
]
SOLUTION = Solution(SOURCE, MISTAKES, **slips.NAMES)


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


COST, OTHER_WIDTHS = "cost", "cost for other widths"
COST_SOURCE = """
def layer_cost(in_channels, growth_rate, height, width, bottleneck_factor=4):
    waist = bottleneck_factor * growth_rate
    first = in_channels * waist
    second = 9 * waist * growth_rate
    return height * width * (first + second)
"""
WAIST, FIRST, NINE, TOTAL = "bottleneck_factor * growth_rate", "in_channels * waist", "9 *", "(first + second)"
RESULT = "height * width * (first + second)"
COST_MISTAKES = [
    Mistake(COST, "This counts products and sums apart; a multiply-add is both in one.", RESULT, f"2 * {RESULT}"),
    Mistake(COST, "These are the weights: each of them works once for every pixel, H·W times.", RESULT, TOTAL),
    Mistake(COST, "This is a plain layer's single 3×3 convolution.", RESULT,
            "height * width * 9 * in_channels * growth_rate"),
    Mistake(COST, "The 3×3 convolution is missing: 9·(4k)·k for every pixel.", TOTAL, "first"),
    Mistake(COST, "The 1×1 convolution is missing: C·4k for every pixel.", TOTAL, "second"),
    Mistake(COST, "The 3×3 convolution has nine weights for each pair of channels.", NINE, "1 *"),
    Mistake(COST, "The 1×1 convolution has one weight for each pair of channels, not nine.", FIRST, f"9 * {FIRST}"),
    Mistake(COST, "A 3×3 kernel has 9 weights, not 3.", NINE, "3 *"),
    Mistake(COST, "This is a waist of k; expected bottleneck_factor·k.", WAIST, "growth_rate"),
    Mistake(COST, "The waist is a multiple of in_channels; expected of growth_rate.", WAIST,
            "bottleneck_factor * in_channels"),
    Mistake(COST, "This is for an image of H·H; expected H·W.", "height * width", "height * height"),
    Mistake(COST, "This is for an image of W·W; expected H·W.", "height * width", "width * width"),
    Mistake(COST, "Padding 1 keeps H·W pixels after the 3×3 convolution too.", RESULT,
            "height * width * first + (height - 2) * (width - 2) * second"),
    Mistake(COST, "This counts BatchNorm too; only the two convolutions are asked for.", TOTAL,
            "(first + second + 2 * (in_channels + waist))"),
    Mistake(COST, "This counts biases; the convolutions have none.", TOTAL, "(first + second + waist + growth_rate)"),
    Mistake(COST, "These are the parameters. Multiply-adds: every weight works H·W times.", RESULT,
            "first + second + 2 * (in_channels + waist)"),
    Mistake(OTHER_WIDTHS, "This is a waist of 4k: bottleneck_factor is not used.", WAIST, "4 * growth_rate"),
]
COST_SOLUTION = Solution(COST_SOURCE, COST_MISTAKES)
