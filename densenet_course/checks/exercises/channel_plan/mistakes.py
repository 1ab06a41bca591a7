"""Known mistakes in a channel plan, as edits of the solution, and what to say."""

import math

from densenet_course.checks.engine.mistakes import Mistake, Solution

ORDER, BLOCKS, TRANSITIONS, OTHER, ROUNDING = (
    "stem and order", "blocks", "transitions", "other compression", "rounding down",
)
SOURCE = """
def channel_plan(block_layers, growth_rate, init_channels, compression=0.5):
    stem = before = channels = init_channels
    plan = [channels]
    for number, layers in enumerate(block_layers):
        if number > 0:
            full, channels = channels, int(compression * channels)
            plan.append(channels)
        before, channels = channels, channels + layers * growth_rate
        plan.append(channels)
    return plan
"""
PLACES = {  # what stands there in the solution
    "arguments": "growth_rate, init_channels, c", "stem": "channels = init_channels", "plan": "return plan",
    "block": "channels + layers * growth_rate", "transition": "int(compression * channels)",
}
AGAIN = "[*plan, int(compression * channels)]"
ROWS = (  # finding, place, what is wrong, what stands there instead
    (ORDER, "plan", "The stem's channels are missing at the beginning.", "return plan[1:]"),
    (ORDER, "plan", "The last block has no transition after it.", f"return {AGAIN}"),
    (ORDER, "plan", "The stem is missing at the beginning, and the last block has no transition after it.",
     f"return {AGAIN}[1:]"),
    (ORDER, "plan", "The transitions' channels are missing.", "return [plan[0], *plan[1::2]]"),
    (ORDER, "plan", "The channels of stem and transitions are missing.", "return plan[1::2]"),
    (ORDER, "plan", "The blocks' channels are missing; these are what each block reads.", "return plan[::2]"),
    (ORDER, "stem", "2·growth_rate is a common choice, but here init_channels says it.", "channels = 2 * growth_rate"),
    (ORDER, "arguments", "Are growth_rate and init_channels swapped?", "init_channels, growth_rate, c"),
    (BLOCKS, "block", "Only the new maps are counted. The maps that come in leave the block too.",
     "layers * growth_rate"),
    (BLOCKS, "block", "This is one layer's gain. Each layer of the block adds growth_rate.", "channels + growth_rate"),
    (BLOCKS, "block", "This is what the last layer reads. It adds its own maps too.",
     "channels + (layers - 1) * growth_rate"),
    (BLOCKS, "block", "Each layer adds growth_rate maps, not one.", "channels + layers"),
    (BLOCKS, "block", "4·growth_rate is the width inside a bottleneck; growth_rate maps leave it.",
     "channels + layers * 4 * growth_rate"),
    (BLOCKS, "block", "The block starts from the channels before the transition. Go on from those after it.",
     "(full if number else channels) + layers * growth_rate"),
    (BLOCKS, "block", "Every block starts from the stem again. Go on from the transition.",
     "stem + layers * growth_rate"),
    (BLOCKS, "block", "Every block has its own number of layers.", "channels + block_layers[0] * growth_rate"),
    (BLOCKS, "block", "Are growth_rate and init_channels swapped?", "channels + layers * init_channels"),
    (BLOCKS, "block", "A block adds the maps that its layers make.", "channels"),
    (TRANSITIONS, "transition", "The channels are not compressed.", "channels"),
    (TRANSITIONS, "transition", "Only the first transition compresses. Every one does.",
     "int(compression * channels) if number == 1 else channels"),
    (TRANSITIONS, "transition", "The last transition does not compress. Every one does.",
     "int(compression * channels) if number < len(block_layers) - 1 else channels"),
    (TRANSITIONS, "transition", "The compression is applied twice.", "int(compression * int(compression * channels))"),
    (TRANSITIONS, "transition", "The compression is applied twice.", "int(compression**2 * channels)"),
    (TRANSITIONS, "transition", "This compresses what the block reads; expected what leaves it.",
     "int(compression * before)"),
    (TRANSITIONS, "transition", "This compresses the new maps only; all maps go through.",
     "int(compression * (channels - before))"),
    (TRANSITIONS, "transition", "This divides by compression; expected a product.", "int(channels / compression)"),
    (OTHER, "transition", "This is always half. Multiply by compression.", "channels // 2"),
    (OTHER, "transition", "This is what goes; the argument is the share that stays.",
     "channels - int(compression * channels)"),
    (OTHER, "transition", "This is what goes; the argument is the share that stays.",
     "int((1 - compression) * channels)"),
    (ROUNDING, "transition", "This is rounded up; ⌊θ·C⌋ is rounded down.", "math.ceil(compression * channels)"),
    (ROUNDING, "transition", "round() goes to the nearest; ⌊θ·C⌋ is rounded down, as int() does.",
     "round(compression * channels)"),
    (ROUNDING, "transition", "This is rounded to the nearest; ⌊θ·C⌋ is rounded down.",
     "int(compression * channels + 0.5)"),
    (ROUNDING, "transition", "This is not rounded. ⌊θ·C⌋ is rounded down, as int() does.", "compression * channels"),
)
SOLUTION = Solution(SOURCE, [Mistake(finding, message, PLACES[place], new) for finding, place, message, new in ROWS],
                    math=math)
