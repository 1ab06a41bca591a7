"""Known mistakes in a transition: what comes out of them, and what to say."""

from math import ceil, floor

from torch import nn

from densenet_course.checks.exercises.dense_block.mistakes import FrozenNorm


def channels_after(channels, compression):
    """Compute ⌊θ·C⌋; what is drawn keeps far from whole numbers, or is exact."""
    return floor(compression * channels)


def slips(channels, compression=None):
    """Pair numbers of channels with the mistakes that give them; without θ, with mistakes in its default."""
    c, share = channels, compression
    if share is None:
        return [(c, "Is compression ½ where it is not given?")]
    return (
        (c, "Are the channels compressed at all? The 1×1 convolution makes ⌊θ·C⌋."),
        (c // 2, "Is θ fixed at ½? Use the argument compression."),
        (round(share * c), "Was θ·C rounded to the nearest whole number? ⌊ ⌋ rounds down."),
        (ceil(share * c), "Was θ·C rounded up? ⌊ ⌋ rounds down."),
        (floor((1 - share) * c), "θ is the share that is kept, not the share that goes."),
        (c - floor(share * c), "θ is the share that is kept, not the share that goes."),
        (floor(c / share), "Did you divide by θ? Multiply."),
        (ceil(c / share), "Did you divide by θ? Multiply."),
    )


def sizes(height, width):
    """Pair wrong heights and widths with the mistakes that give them."""
    def both(rule, message):
        return (rule(height), rule(width)), message

    return (
        both(lambda n: n, "The pooling is missing, or its stride is 1."),
        both(lambda n: n - 1, "The stride is 1. Move on by 2, so that no pixel counts twice."),
        both(lambda n: n + 1, "The stride is 1. Move on by 2, so that no pixel counts twice."),
        both(lambda n: -(-n // 2), "A last row or column without a partner is dropped: 7 → 3. Is there ceil_mode, a "
             "padding, or the stride in the convolution?"),
        both(lambda n: (n - 3) // 2 + 1, "Is the pooling 3×3? It takes 2×2 squares."),
        both(lambda n: n // 2 + 1, "The pooling pads the border. It takes 2×2 squares without padding."),
        both(lambda n: n // 3, "Is the pooling 3×3? It takes 2×2 squares."),
        both(lambda n: n // 4, "Is it pooled twice, or with stride 4?"),
        both(lambda n: 1, "This averages the whole map. A transition averages 2×2 squares."),
    )


def _pooled(pool=lambda: nn.AvgPool2d(2), norm=nn.BatchNorm2d, activation=nn.ReLU, kernel=1, stride=1):
    def build(c, share=0.5):
        conv = nn.Conv2d(c, channels_after(c, share), kernel, stride=stride, padding=kernel // 2, bias=False)
        return nn.Sequential(norm(c), activation(), conv, pool())

    return build


def _ordered(order):
    def build(c, share=0.5):
        kept = channels_after(c, share)
        width = kept if order.index("conv") < order.index("norm") else c
        parts = {"norm": nn.BatchNorm2d(width), "relu": nn.ReLU(), "pool": nn.AvgPool2d(2), "max": nn.MaxPool2d(2),
                 "conv": nn.Conv2d(c, kept, 1, bias=False)}
        return nn.Sequential(*(parts[name] for name in order.split()))

    return build


SUSPECTS = (
    (_ordered("conv norm relu pool"), "this is convolution → BN → ReLU. BatchNorm and ReLU stand before the "
     "convolution."),
    (_ordered("norm conv relu pool"), "this is BN → convolution → ReLU. The ReLU stands before the convolution."),
    (_ordered("relu norm conv pool"), "this is ReLU → BN → convolution. BatchNorm stands before the ReLU."),
    (_ordered("norm relu conv pool relu"), "there is a ReLU at the end; expected the averages as they are."),
    (_ordered("norm relu conv relu pool"), "a second ReLU follows the convolution; expected one, before it."),
    (_pooled(activation=nn.Identity), "the ReLU is missing."),
    (_pooled(norm=lambda c: nn.Identity()), "BatchNorm is missing."),
    (_pooled(lambda: nn.MaxPool2d(2)), "this is max pooling; expected the average of each 2×2 square."),
    (_ordered("norm relu max conv"), "this is max pooling (before the convolution); expected the average of each 2×2 "
     "square."),
    *((_ordered(order), "the pooling stands in front of the ReLU. It may change places with the 1×1 convolution only: "
       "the ReLU is not linear.") for order in ("pool norm relu conv", "norm pool relu conv")),
    (_pooled(lambda: nn.AvgPool2d(3, stride=2)), "the pooling is 3×3; expected 2×2."),
    (_pooled(lambda: nn.AvgPool2d(3, stride=2, padding=1)), "the pooling is 3×3; expected 2×2."),
    (_pooled(lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)),
     "the pooling is 3×3; expected 2×2."),
    (_pooled(nn.Identity, stride=2), "every other pixel is dropped (stride 2 in the convolution); expected the average "
     "of each 2×2 square."),
    (_pooled(lambda: nn.AvgPool2d(1, stride=2)), "every other pixel is dropped; expected the average of each 2×2 "
     "square."),
    (_pooled(lambda: nn.AvgPool2d(2, divisor_override=1)), "each 2×2 square is summed; expected its average."),
    (_pooled(lambda: nn.LPPool2d(2, 2)), "the pooling takes the root of squares; expected the average."),
    *((_pooled(activation=activation), message) for activation, message in (
        (lambda: nn.LeakyReLU(0.01), "this is a leaky ReLU; expected a plain one."),
        (nn.GELU, "this is GELU; expected ReLU."),
    )),
    *((_pooled(norm=norm), message) for norm, message in (
        (lambda c: nn.BatchNorm2d(c, eps=1e-3), "BatchNorm's eps is 1e-3 (Keras's default); expected PyTorch's, 1e-5."),
        (lambda c: nn.BatchNorm2d(c, momentum=0.01),
         "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
        (lambda c: nn.BatchNorm2d(c, track_running_stats=False),
         "BatchNorm uses the batch's statistics in eval mode too; expected the running ones."),
        (FrozenNorm, "BatchNorm uses the running statistics in train mode too; expected the batch's."),
        (lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True),
         "this normalises each image on its own (InstanceNorm); expected BatchNorm."),
    )),
)


def notes(in_channels, compression=0.5):
    """Name the cause of parameters of a wrong shape."""
    c, kept = in_channels, channels_after(in_channels, compression)
    return {
        (kept, c, 3, 3): "The kernel is 3×3; expected 1×1.",
        (kept, c, 2, 2): "The kernel is 2×2; expected 1×1, and a pooling after it.",
        (c, c, 1, 1): "The channels are not compressed: the convolution makes ⌊θ·C⌋ of them.",
        (floor(c / compression), c, 1, 1): "The convolution makes ⌊θ·C⌋ channels, not C/θ.",
        (c, kept, 1, 1): "The two numbers of channels of the convolution are swapped.",
        (kept,): "Is it the convolution's bias (set bias=False), or BatchNorm after the convolution?",
        (kept, c, 1, 1): "Is the 1×1 convolution there, once, as a part of the module?",
        (c,): "BatchNorm has a γ and a β for each of the input's channels: not affine=False, and only one BatchNorm.",
    }
