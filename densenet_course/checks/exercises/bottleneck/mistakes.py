"""Known mistakes in a bottleneck layer and its cost, and what to say."""

from densenet_course.checks.engine.explain import PADDED
from densenet_course.checks.engine.mistakes import Mistake, Solution, mistakes_at
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
SIZES = f"{slips.NORM}in_channels), {slips.NORM}width)"
MISTAKES = [
    *slips.outputs(SHAPE),
    *mistakes_at(SHAPE, PADDING,
                 (PADDED, "padding=0")),
    *(Mistake(SHAPE, f"{place} {slips.SWAPPED}", f"({first}, {second}, k", f"({second}, {first}, k")
      for place, first, second in (("in the 1×1", "in_channels", "width"), ("in the 3×3", "width", "growth_rate"))),
    *mistakes_at(SHAPE, NARROW, ("padding of the 1×1 convolution adds pixels. Only the 3×3 has padding=1.",
                                 f"{NARROW}, {PADDING}")),
    *(Mistake(SHAPE, "a stride of 2 halves the maps. A layer keeps height and width.", kernel, f"{kernel}, stride=2")
      for kernel in (NARROW, WIDE)),
    Mistake(PARAMETERS, f"the 1×1 convolution {BIAS}", f"{NARROW}, bias=False", f"{NARROW}, bias=True"),
    Mistake(PARAMETERS, f"the 3×3 convolution {BIAS}", f"{WIDE}, bias=False", f"{WIDE}, bias=True"),
    *(Mistake(PARAMETERS, f"{which}{slips.TRANSPOSED}", old, old.replace(slips.CONV, "nn.ConvTranspose2d("))
      for which, old in (("both times ", slips.CONV), ("in front ", f"{slips.CONV}in_channels"),
                         ("at the end ", f"{slips.CONV}width"))),
    Mistake(PARAMETERS, "both convolutions have a bias. Set bias=False.", "bias=False", "bias=True"),
    *mistakes_at(PARAMETERS, "bottleneck_factor * growth_rate",
                 ("the waist is 4k here too: bottleneck_factor is not used.", "4 * growth_rate"),
                 ("the waist is k wide; expected bottleneck_factor·k.", "growth_rate"),
                 ("the waist is a multiple of in_channels; expected bottleneck_factor·growth_rate.",
                  "bottleneck_factor * in_channels")),
    *(Mistake(PARAMETERS, "BatchNorm has a γ and a β for each of its channels: not affine=False.", *(
        piece for width in widths for piece in (f"{slips.NORM}{width})", f"{slips.NORM}{width}, affine=False)")))
      for widths in (("in_channels", "width"), ("in_channels",), ("width",))),
    *(Mistake(PARAMETERS, "a convolution works in groups. Each new map reads all channels: leave groups at 1.",
              kernel, f"{kernel}, groups=2 if {widths} == 0 else 1")
      for kernel, widths in ((NARROW, "in_channels % 2 == width % 2"), (WIDE, "width % 2 == growth_rate % 2"))),
    *mistakes_at(
        VALUES, PARTS,
        ("this is convolution → BN → ReLU, twice, the order of ResNet. BN and ReLU stand before each convolution.",
         "(conv1, norm1, relu1, conv2, norm2, relu2)", SIZES, f"{slips.NORM}width), {slips.NORM}growth_rate)"),
        ("this is ReLU → BN → convolution. BatchNorm stands before the ReLU.",
         "(relu1, norm1, conv1, relu2, norm2, conv2)"),
        ("this is BN → convolution → ReLU. The ReLU stands before the convolution.",
         "(norm1, conv1, relu1, norm2, conv2, relu2)"),
        ("before the 1×1 convolution the ReLU stands in front of BatchNorm; expected BN → ReLU.",
         "(relu1, norm1, conv1, norm2, relu2, conv2)"),
        ("before the 3×3 convolution the ReLU stands in front of BatchNorm; expected BN → ReLU.",
         "(norm1, relu1, conv1, relu2, norm2, conv2)"),
        ("BN and ReLU between the two convolutions are missing.", "(norm1, relu1, conv1, conv2)"),
        ("both ReLUs are missing.", "(norm1, conv1, norm2, conv2)"),
        ("the ReLU between the two convolutions is missing.", "(norm1, relu1, conv1, norm2, conv2)"),
        ("the ReLU before the 1×1 convolution is missing.", "(norm1, conv1, norm2, relu2, conv2)"),
        ("BatchNorm between the two convolutions is missing.", "(norm1, relu1, conv1, relu2, conv2)"),
        ("BN and ReLU before the 1×1 convolution are missing.", "(conv1, norm2, relu2, conv2)"),
        ("BatchNorm before the 1×1 convolution is missing.", "(relu1, conv1, norm2, relu2, conv2)"),
        ("both BatchNorms are missing.", "(relu1, conv1, relu2, conv2)"),
        ("BatchNorms and ReLUs are missing.", "(conv1, conv2)"),
        ("a ReLU stands at the end; nothing follows the 3×3 convolution.", f"{PARTS[:-1]}, nn.ReLU())"),
        ("a BatchNorm stands at the end; nothing follows the 3×3 convolution.",
         f"{PARTS[:-1]}, nn.BatchNorm2d(growth_rate))")),
    Mistake(VALUES, "the border is not zero: the padding belongs to the 3×3 convolution, not to the 1×1.", PADDING,
            "padding=0", NARROW, f"{NARROW}, {PADDING}"),
    *slips.borders(VALUES, PADDING),
    *mistakes_at(VALUES, slips.MODULE, (slips.SHORTCUT, "Residual(")),
    *slips.dilated(SHAPE, VALUES, PADDING),
    *slips.activations(VALUES, PARAMETERS),
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
    *mistakes_at(
        COST, RESULT,
        ("This counts products and sums apart; a multiply-add is both in one.", f"2 * {RESULT}"),
        ("These are the weights: each of them works once for every pixel, H·W times.", TOTAL),
        ("This is a plain layer's single 3×3 convolution.", "height * width * 9 * in_channels * growth_rate"),
        ("Padding 1 keeps H·W pixels after the 3×3 convolution too.",
         "height * width * first + (height - 2) * (width - 2) * second"),
        ("The 1×1 convolution has no padding: it works at H·W pixels.",
         "(height + 2) * (width + 2) * first + height * width * second"),
        ("These are the parameters. Multiply-adds: every weight works H·W times.",
         "first + second + 2 * (in_channels + waist)")),
    *mistakes_at(
        COST, TOTAL,
        ("The 3×3 convolution is missing: 9·(4k)·k for every pixel.", "first"),
        ("The 1×1 convolution is missing: C·4k for every pixel.", "second"),
        ("This counts BatchNorm too; only the two convolutions are asked for.",
         "(first + second + 2 * (in_channels + waist))"),
        ("This counts biases; the convolutions have none.", "(first + second + waist + growth_rate)")),
    *mistakes_at(COST, "9 * waist * growth_rate",
                 ("The 3×3 convolution makes growth_rate maps, not the waist's number.", "9 * waist * waist"),
                 ("The 3×3 convolution makes the growth_rate new maps only.",
                  "9 * waist * (in_channels + growth_rate)")),
    *mistakes_at(COST, NINE, ("The 3×3 convolution has nine weights for each pair of channels.", "1 *"),
                 ("A 3×3 kernel has 9 weights, not 3.", "3 *")),
    *mistakes_at(COST, FIRST, ("The 1×1 convolution has one weight for each pair of channels, not nine.",
                               f"9 * {FIRST}")),
    *mistakes_at(COST, WAIST, ("This is a waist of k; expected bottleneck_factor·k.", "growth_rate"),
                 ("The waist is a multiple of in_channels; expected of growth_rate.",
                  "bottleneck_factor * in_channels")),
    *mistakes_at(COST, "height * width", ("This is for an image of H·H; expected H·W.", "height * height"),
                 ("This is for H + W pixels; expected H·W.", "(height + width)"),
                 ("This is for an image of W·W; expected H·W.", "width * width")),
    *mistakes_at(OTHER_WIDTHS, WAIST, ("This is a waist of 4k: bottleneck_factor is not used.", "4 * growth_rate")),
]
COST_SOLUTION = Solution(COST_SOURCE, COST_MISTAKES)
