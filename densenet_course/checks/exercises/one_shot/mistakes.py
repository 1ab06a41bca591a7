"""Known mistakes in a block that joins once, as edits of the solution, and what to say."""

import torch

from densenet_course.checks.engine.mistakes import Mistake, Solution
from densenet_course.checks.exercises import conv_block
from densenet_course.checks.exercises.dense_block.mistakes import CALL, RETURN, SHARED, leaves
from densenet_course.checks.kinds import slips
from densenet_course.checks.kinds.blocks import GRADIENTS, PARAMETERS, VALUES

BLOCK = '''
class OneShotBlock(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        widths = [in_channels if i == 0 else growth_rate for i in range(num_layers)]
        self.layers = nn.ModuleList(conv_block(width, growth_rate) for width in widths)

    def forward(self, maps):
        made = [maps]
        for layer in self.layers:
            read = made[-1]
            new = layer(read)
            made.append(new)
        return torch.cat(made, dim=1)
'''
WIDTHS, READ = "in_channels if i == 0 else growth_rate", "read = made[-1]"
DENSE = ("This is a dense block: each layer reads everything before it. Here a layer reads only the maps of the one "
         "before, and the block joins once, at the end.")
SIDE_BY_SIDE = "All layers read the input. Chain them: each reads the maps of the one before."
MISTAKES = [
    *SHARED,
    *leaves("Are the last layer's maps left out? They belong to the output too.", "torch.cat(made[:-1], dim=1)"),
    Mistake(PARAMETERS, DENSE, WIDTHS, "in_channels + i * growth_rate", READ, "read = torch.cat(made, dim=1)"),
    Mistake(PARAMETERS, SIDE_BY_SIDE, WIDTHS, "in_channels", READ, "read = maps"),
    Mistake(PARAMETERS, "one layer runs several times. Each layer after the first is a conv block of its own.",
            "(conv_block(width, growth_rate) for width in widths)",
            "([conv_block(in_channels, growth_rate), *[conv_block(growth_rate, growth_rate)] * (num_layers - 1)])"),
    Mistake(VALUES, "each layer's input is added to its maps where the shapes agree, as in a residual block. Hand on "
                    "the new maps alone.", CALL, "(layer(read) + read if read.shape == layer(read).shape "
                                                 "else layer(read))"),
    Mistake(GRADIENTS, "nothing flows back through the maps that are joined. Is there a detach() or .data?", RETURN,
            "return torch.cat([maps, *(part.detach() for part in made[1:-1]), new], dim=1)"),
]
SOLUTION = Solution(conv_block.SOURCE + BLOCK, MISTAKES, torch=torch, **slips.NAMES)


def notes(num_layers, in_channels, growth_rate):
    """Name the cause of parameters of a wrong shape."""
    c, k = in_channels, growth_rate
    chain = "The first layer reads in_channels channels, each later one growth_rate."
    return {
        (c + num_layers * k,) * 2 + (1, 1): "The block ends with the joined maps: no 1×1 convolution follows.",
        (c, k, 3, 3): "in_channels and growth_rate are swapped.",
        (4 * k, c, 1, 1): "Each layer is one conv block with one 3×3 convolution, not a bottleneck layer.",
        (k, c, 1, 1): "The kernel is 1×1; expected 3×3.",
        (k, c + k, 3, 3): f"A layer reads more than the maps of the layer before it. {chain}",
        (k, k, 3, 3): chain,
        (k, c, 3, 3): chain,
        (c,): "BatchNorm has a γ and a β of its own in each layer, for each channel the layer reads.",
        (k,): "BatchNorm has a γ and a β of its own in each layer, for each channel the layer reads; the convolution "
              "has no bias.",
    }


def misfit(got, built, arguments):
    """Say why a layer built for some channels got others."""
    _, c, k = arguments
    cause = "the first layer reads in_channels channels, each later one growth_rate."
    if (got, built) == (c, k):
        cause = "do all layers read the input, or are in_channels and growth_rate swapped?"
    elif got > max(c, k):
        cause = "are the maps joined inside the loop? A layer reads only those of the one before."
    return f"A layer built for {built} channels got {got}: {cause}"


MISFIT = (
    (r"should contain (\d+) elements not (\d+)", lambda found, call: misfit(int(found[1]), int(found[2]), call)),
    (r"to have (\d+) channels, but got (\d+)", lambda found, call: misfit(int(found[2]), int(found[1]), call)),
)
