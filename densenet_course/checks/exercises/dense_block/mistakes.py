"""Known mistakes in a dense block, as edits of the solution, and what to say."""

import torch

from densenet_course.checks.engine.mistakes import Mistake, Solution
from densenet_course.checks.exercises import conv_block
from densenet_course.checks.kinds import slips
from densenet_course.checks.kinds.blocks import GRADIENTS, PARAMETERS, SHAPE, TRAINING, VALUES

BLOCK = '''
class DenseBlock(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        widths = [in_channels + i * growth_rate for i in range(num_layers)]
        self.layers = nn.ModuleList(conv_block(width, growth_rate) for width in widths)

    def forward(self, maps):
        made = [maps]
        for layer in self.layers:
            read = torch.cat(made, dim=1)
            new = layer(read)
            made.append(new)
        return torch.cat(made, dim=1)
'''
NORMALISED_ONCE = '''
class DenseBlock(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(growth_rate if i else in_channels) for i in range(num_layers))
        layers = [conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers)]
        self.convs = nn.ModuleList(layer[2] for layer in layers)

    def forward(self, maps):
        made, read = [maps], []
        for norm, conv in zip(self.norms, self.convs):
            read.append(norm(made[-1]).relu())
            made.append(conv(torch.cat(read, dim=1)))
        return torch.cat(made, dim=1)
'''
RANGE, READ, CALL, APPEND, RETURN = (
    "range(num_layers)", "read = torch.cat(made, dim=1)", "layer(read)",
    "made.append(new)", "return torch.cat(made, dim=1)",
)
TEXTS = {conv_block.SHAPE: SHAPE, conv_block.PARAMETERS: PARAMETERS, conv_block.VALUES: VALUES,
         conv_block.TRAINING: TRAINING}  # its findings, and those of a block
IN_PLACE = ("in each layer: this is ReLU → BN → convolution, and the ReLU overwrites the maps that are handed on.",
            conv_block.RELU, "nn.ReLU(inplace=True)", conv_block.PARTS, "(relu, norm, conv)")


def leaves(message, *outputs, finding=SHAPE):
    """List mistakes in what leaves the block."""
    return [Mistake(finding, message, RETURN, f"return {output}") for output in outputs]


def reads(finding, message, *calls):
    """List mistakes in what a layer reads."""
    return [Mistake(finding, message, CALL, call) for call in calls]


SPREAD = conv_block.PADDING, f"{conv_block.PADDING}, dilation=2"  # loses the pixels that no padding loses
SECOND_RELU = "(norm, relu, conv, relu)"  # of a conv block: the same as new maps that go through a ReLU


def in_each_layer(mistake):
    """Make a mistake of a conv block one of the dense block that consists of it."""
    edits = (piece for edit in mistake.edits for piece in edit)
    return Mistake(TEXTS[mistake.finding], f"in each layer: {mistake.message}", *edits)


LAYERS = "self.layers = nn.ModuleList("
SHARED = [  # of every block that joins: the texts have these places in common
    *leaves("Did you return only the new maps? The input belongs to the output, in front of them.",
            "torch.cat(made[1:], dim=1)"),
    *leaves("Did you return only the maps of the last layer? The input and the maps of all layers belong to the "
            "output.", "new"),
    Mistake(SHAPE, "That is one layer too few.", RANGE, "range(num_layers - 1)"),
    Mistake(SHAPE, "That is one layer too many.", RANGE, "range(num_layers + 1)"),
    *leaves("That is the input and one layer. Join the maps of every layer to those before it.",
            "torch.cat(made[:2], dim=1)", "torch.cat([maps, new], dim=1)"),
    *leaves("That is the input and the maps of 2 layers.", "torch.cat(made[:3], dim=1)"),
    *leaves("Are the maps of the layers added? Join them: torch.cat.", "sum(made[1:])"),
    *leaves("Is the input joined twice?", "torch.cat([maps, *made], dim=1)"),
    Mistake(SHAPE, "Is the growth rate fixed at 10?", "super().__init__()",
            "super().__init__()\n        growth_rate = 10"),
    Mistake(SHAPE, "in_channels and growth_rate are swapped.", "in_channels, growth_rate):\n        super()",
            "growth_rate, in_channels):\n        super()"),
    *leaves("one image alone loses its batch axis. Is there a squeeze()? Return (N, C, H, W) for N = 1 too.",
            "torch.cat(made, dim=1).squeeze()"),
    Mistake(PARAMETERS, "the block has none. Are its layers in a plain Python list? Use nn.ModuleList.",
            "nn.ModuleList(conv_block(width, growth_rate) for width in widths)",
            "[conv_block(width, growth_rate) for width in widths]"),
    Mistake(PARAMETERS, "a BatchNorm stands behind the block, over all its maps. Only the layers normalise.", LAYERS,
            f"self.norm = nn.BatchNorm2d(in_channels + num_layers * growth_rate)\n        {LAYERS}",
            RETURN, "return self.norm(torch.cat(made, dim=1))"),
    Mistake(PARAMETERS, "a BatchNorm stands in front of the block. Only the layers normalise.", LAYERS,
            f"self.norm = nn.BatchNorm2d(in_channels)\n        {LAYERS}", "made = [maps]", "made = [self.norm(maps)]"),
    *leaves("the output holds the newest maps first; expected the input first, then the maps in the order of the "
            "layers.", "torch.cat(made[::-1], dim=1)", finding=VALUES),
    *leaves("the input stands at the end of the output; expected it in front.", "torch.cat([*made[1:], maps], dim=1)",
            finding=VALUES),
    *leaves("the output went through a ReLU; expected the maps as they were made.", "torch.cat(made, dim=1).relu()",
            finding=VALUES),
    Mistake(VALUES, "the new maps go through a ReLU before they are joined; expected them as the convolution makes "
                    "them.", APPEND, "made.append(new.relu())"),
    *reads(GRADIENTS, "nothing flows back into what the layers read. Is there a detach() or .data?",
           "layer(read.detach())"),
    *(in_each_layer(mistake) for mistake in conv_block.SOLUTION.mistakes
      if not {(conv_block.PARTS, SECOND_RELU), SPREAD}.intersection(mistake.edits)),
]
MISTAKES = [
    *SHARED,
    *leaves("Is the last layer's work lost? What it made belongs to the output too.", "read"),
    Mistake(VALUES, "the new maps are joined in front. Append them: torch.cat([features, new_maps], dim=1).", APPEND,
            "made.insert(0, new)"),
    *(Mistake(VALUES, "the layers read the newest maps first; expected the order in which they were made.", READ,
              f"read = torch.cat({order}, dim=1)") for order in ("[maps, *made[:0:-1]]", "made[::-1]")),
    Mistake(VALUES, "BatchNorm and ReLU changed the maps that are handed on. A layer works on a copy; what is joined "
                    "stays as it was made.", CALL, "layer[2](read := layer[:2](read))", APPEND, "made = [read, new]"),
    Mistake(VALUES, "each map is normalised once, for all its readers; expected a BatchNorm in each layer, over "
                    "everything that it reads.", BLOCK, NORMALISED_ONCE),
    Mistake(VALUES, "the later layers get zeros in place of the input.", APPEND, "made = [maps * 0, *made[1:], new]",
            RETURN, "return torch.cat([maps, *made[1:]], dim=1)"),
    *reads(VALUES, "the input is added where the shapes agree, as in a residual block. Join the new maps alone.",
           "layer(read) + maps if maps.shape == layer(read).shape else layer(read)"),
    Mistake(VALUES, *IN_PLACE, APPEND, "made = [read, new]"),
    Mistake(GRADIENTS, "nothing flows back through the maps that were there before. Is there a detach() or .data?",
            APPEND, "made = [*(part.detach() for part in made), new]"),
    *reads(GRADIENTS, "nothing flows back into what the later layers read. Is there a detach() or .data?",
           "layer(read if len(made) == 1 else read.detach())"),
]
SOLUTION = Solution(conv_block.SOURCE + BLOCK, MISTAKES, torch=torch, **slips.NAMES)


def notes(num_layers, in_channels, growth_rate):
    """Name the cause of parameters of a wrong shape."""
    n, c, k = num_layers, in_channels, growth_rate
    last, following = c + (n - 1) * k, c + n * k
    grows = "Layer i, counted from 0, reads in_channels + i·growth_rate channels."
    return {
        (c, k, 3, 3): "in_channels and growth_rate are swapped.",
        (4 * k, c, 1, 1): "Each layer is one conv block with one 3×3 convolution, not a bottleneck layer.",
        (k, c, 1, 1): "The kernel is 1×1; expected 3×3.",
        (k, k, 3, 3): f"A layer reads more than the maps of the layer before it. {grows}",
        (k, following, 3, 3): "That is one layer too many.",
        (following,): "Is there a BatchNorm after the last layer?",
        (k,): "Is it a bias (set bias=False)? Or a BatchNorm over k maps? It stands before the convolution, over all "
              "that the layer reads.",
        (k, c, 3, 3): grows,
        (k, last, 3, 3): f"{grows[:-1]}, for i < num_layers.",
        (c,): "BatchNorm has a γ and a β of its own in each layer, for each channel the layer reads.",
    }


def misfit(got, built, arguments):
    """Say why a layer built for some channels got others."""
    _, c, k = arguments
    cause = "layer i, counted from 0, reads in_channels + i·growth_rate channels."
    if (got, built) == (c, k):
        cause = "are in_channels and growth_rate swapped?"
    elif got == k:
        cause = ("it got only the maps of the layer before. Join them to all that was there: "
                 "torch.cat([features, new_maps], dim=1).")
    return f"A layer built for {built} channels got {got}: {cause}"


MISFIT = (
    (r"should contain (\d+) elements not (\d+)", lambda found, call: misfit(int(found[1]), int(found[2]), call)),
    (r"to have (\d+) channels, but got (\d+)", lambda found, call: misfit(int(found[2]), int(found[1]), call)),
)
