"""Known mistakes in a whole DenseNet, as edits of the solution, and what to say."""

import math

import torch

from densenet_course import accounting
from densenet_course.checks.engine.mistakes import Solution, mistakes_at
from densenet_course.checks.kinds import slips

SHAPE, PARAMETERS, SIZES, VALUES, TRAINING = "shape", "parameters", "sizes", "values", "training"
SOURCE = """
def layer(c, k):
    norm1, relu1, conv1 = nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 4 * k, kernel_size=1, bias=False)
    norm2, relu2, conv2 = nn.BatchNorm2d(4 * k), nn.ReLU(), nn.Conv2d(4 * k, k, 3, padding=1, bias=False)
    return nn.Sequential(norm1, relu1, conv1, norm2, relu2, conv2)


def transition(c, kept):
    norm, relu, conv, pool = nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, kept, 1, bias=False), nn.AvgPool2d(2)
    return nn.Sequential(norm, relu, conv, pool)


class Block(nn.Sequential):
    def forward(self, maps):
        start = maps.shape[1]
        for layer in self:
            maps = torch.cat([maps, layer(maps)], dim=1)
        return maps


class DenseNet(nn.Module):
    def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
        super().__init__()
        k, c = growth_rate, init_channels
        parts = [nn.Conv2d(in_channels, c, 3, padding=1, bias=False)]
        for number, num_layers in enumerate(block_layers, start=1):
            block = Block(*[layer(c + i * k, k) for i in range(num_layers)])
            parts.append(block)
            c = c + num_layers * k
            if number < len(block_layers):
                kept = int(compression * c)
                parts.append(transition(c, kept))
                c = kept
        self.features = nn.Sequential(*parts)
        self.norm, self.relu = nn.BatchNorm2d(c), nn.ReLU()
        self.classifier = nn.Linear(c, num_classes)

    def forward(self, images):
        maps = self.relu(self.norm(self.features(images)))
        logits = self.classifier(maps.mean((2, 3)))
        return logits
"""
LAYER, STEP = "(norm1, relu1, conv1, norm2, relu2, conv2)", "(norm, relu, conv, pool)"
CONV1, CONV2 = "kernel_size=1, bias=False", "nn.Conv2d(4 * k, k, 3, padding=1, bias=False)"
STEM, START, POOL = "nn.Conv2d(in_channels, c, 3, padding=1, bias=False)", "k, c = growth_rate, ", "nn.AvgPool2d(2)"
ADD, KEPT, LAST = "parts.append(block)", "kept = int(compression * c)", "number < len(block_layers)"
NORM, NO_NORM = "self.norm, self.relu = nn.BatchNorm2d(c), ", "self.norm, self.relu = nn.Identity(), "
FEATURES = "self.relu(self.norm(self.features(images)))"
CLASSIFIER, AVERAGE, RETURN = "nn.Linear(c, num_classes)", "self.classifier(maps.mean((2, 3)))", "return logits"
PLAIN_LIST = """class Block(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = layers

    def __iter__(self):
        return iter(self.layers)
"""
ALL_THERE = "Are all layers registered (a plain list hides them, use nn.ModuleList), none used twice?"
BARE = "The stem is a bare convolution: no bias (set bias=False), no BatchNorm."
LAYER_BEGINS = "Every layer begins with BN over all it reads: BN → ReLU → 1×1 → BN → ReLU → 3×3."
STEP_BEGINS = "A transition begins with BN over all it reads: BN → ReLU → 1×1 → average pooling."
LAST_NORM = "BN → ReLU stands after the last block, before the average."
ROUNDED = "⌊compression·C⌋ is rounded down."
# In train mode the average of a map behind BatchNorm is its β, here above 0: with a ReLU behind the average or with
# none, the logits are the same.
EITHER = "the ReLU after the last BatchNorm is missing, or stands after the average; expected BN → ReLU → average."

MISTAKES = [
    *mistakes_at(SHAPE, RETURN, (slips.ONE_ROW, "return logits.squeeze()"),
                 ("Flatten the logits to (N, num_classes).", "return logits[..., None, None]")),
    *mistakes_at(SHAPE, AVERAGE, ("The classifier is missing: these are the averaged maps.", "maps.mean((2, 3))"),
                 ("Average and classifier are missing: these are maps.", "maps")),
    *mistakes_at(SHAPE, CLASSIFIER, ("num_classes is not used.", "nn.Linear(c, 10)"),
                 ("num_classes is not used.", "nn.Linear(c, 1000)")),
    *mistakes_at(PARAMETERS, CLASSIFIER,
                 ("The classifier has a bias; leave it in.", "nn.Linear(c, num_classes, bias=False)")),
    *mistakes_at(PARAMETERS, LAYER,
                 ("Layers without 1×1: expected bottleneck layers, BN → ReLU → 1×1 to 4k → BN → ReLU → 3×3 to k.",
                  "(norm1, relu1, nn.Conv2d(c, k, 3, padding=1, bias=False))"),
                 (LAYER_BEGINS, "(conv1, norm2, relu1, conv2, nn.BatchNorm2d(k), nn.ReLU())"),
                 (LAYER_BEGINS, "(relu1, conv1, norm2, relu2, conv2)"),
                 (LAYER_BEGINS, "(conv1, norm2, relu2, conv2)"),
                 ("BatchNorm in the layers' waist is missing.", "(norm1, relu1, conv1, relu2, conv2)"),
                 ("BN → ReLU in the layers' waist is missing.", "(norm1, relu1, conv1, conv2)")),
    *mistakes_at(PARAMETERS, "4 * k", ("The waist is k wide; expected 4k.", "k"),
                 ("The waist is 2k wide; expected 4k.", "2 * k")),
    *mistakes_at(PARAMETERS, STEP, *(("The transitions have a second BatchNorm. One is enough, in front.", parts)
                                     for parts in ("(norm, relu, conv, pool, nn.BatchNorm2d(kept))",
                                                   "(norm, relu, conv, nn.BatchNorm2d(kept), pool)"))),
    *mistakes_at(PARAMETERS, LAYER, ("The layers have a third BatchNorm. Nothing follows the 3×3 convolution.",
                                     f"{LAYER[:-1]}, nn.BatchNorm2d(k))")),
    *mistakes_at(PARAMETERS, STEP, (STEP_BEGINS, "(relu, conv, pool)"), (STEP_BEGINS, "(conv, pool)")),
    *mistakes_at(PARAMETERS, LAST,
                 ("Is there a transition after the last block? They stand between blocks.", "number")),
    *mistakes_at(PARAMETERS, KEPT, ("A transition keeps all channels; expected ⌊compression·C⌋.", "kept = c"),
                 ("A transition keeps half; compression is not used.", "kept = c // 2"),
                 (ROUNDED, "kept = math.ceil(compression * c)"), (ROUNDED, "kept = round(compression * c)")),
    *mistakes_at(PARAMETERS, NORM, (LAST_NORM, NO_NORM), (LAST_NORM, NO_NORM, FEATURES, "self.features(images)")),
    *mistakes_at(PARAMETERS, STEM, (BARE, STEM.replace("False", "True")), (BARE, f"{STEM}, nn.BatchNorm2d(c)"),
                 (BARE, f"{STEM}, nn.BatchNorm2d(c), nn.ReLU()"),
                 *((f"The stem's kernel is {side}×{side}; expected 3×3.",
                    STEM.replace("3, padding=1", f"{side}, {options}"))
                   for side, options in ((1, "padding=0"), (5, "padding=2"), (7, "padding=3"),
                                         (7, "stride=2, padding=3"))),
                 ("This is the stem for ImageNet. The stem's kernel is 7×7; expected a bare 3×3 convolution with "
                  "stride 1.", "nn.Conv2d(in_channels, c, 7, 2, 3, bias=False), nn.BatchNorm2d(c), nn.ReLU(), "
                  "nn.MaxPool2d(3, 2, 1)"),
                 *(("in_channels is not used in the stem.", STEM.replace("in_channels", count)) for count in "13")),
    *mistakes_at(PARAMETERS, f"{START}init_channels", *(("The stem makes init_channels.", f"{START}{count}")
                                                        for count in ("2 * growth_rate", 16, 64))),
    *mistakes_at(PARAMETERS, "return maps",
                 ("The last block gives only its new maps; expected its input too, in front of them.",
                  "return maps[:, start:]", "c = c + num_layers * k", "c = num_layers * k")),
    *mistakes_at(PARAMETERS, "class Block(nn.Sequential):\n", (ALL_THERE, PLAIN_LIST)),
    *mistakes_at(PARAMETERS, ADD,
                 (ALL_THERE, f"{ADD}\n            for one in block:\n                one[5] = block[0][5]")),
    *mistakes_at(PARAMETERS, slips.CONV, (f"everywhere {slips.TRANSPOSED}", "nn.ConvTranspose2d(")),
    *mistakes_at(PARAMETERS, "bias=False",
                 ("The convolutions have no bias: set bias=False in all of them.", "bias=True")),
    *mistakes_at(PARAMETERS, CONV1,
                 ("The 1×1 convolutions have no bias: set bias=False.", "kernel_size=1, bias=True")),
    *mistakes_at(PARAMETERS, CONV2,
                 ("The 3×3 convolutions have no bias: set bias=False.", CONV2.replace("False", "True"))),
    *mistakes_at(PARAMETERS, "kept, 1, bias=False",
                 ("A transition's convolution has no bias: set bias=False.", "kept, 1")),
    *mistakes_at(VALUES, POOL, ("the transitions take the maximum; expected 2×2 average pooling.", "nn.MaxPool2d(2)")),
    *mistakes_at(VALUES, RETURN, *((f"there is {what}; expected logits.", f"return logits.{call}") for what, call in (
        ("a softmax at the end", "softmax(1)"), ("a log-softmax at the end", "log_softmax(1)"),
        ("a sigmoid at the end", "sigmoid()"), ("a ReLU after the classifier", "relu()")))),
    *mistakes_at(VALUES, FEATURES,
                 ("the ReLU after the last BatchNorm is missing.", "self.norm(self.features(images))"),
                 ("the last BatchNorm is missing.", "self.relu(self.features(images))"),
                 ("BN and ReLU after the last block are missing.", "self.features(images)"),
                 ("after the last block the ReLU stands before BatchNorm; expected BN → ReLU.",
                  "self.norm(self.relu(self.features(images)))"),
                 ("the last ReLU stands after the average; expected BN → ReLU → average.",
                  "self.norm(self.features(images))", AVERAGE, "self.classifier(self.relu(maps.mean((2, 3))))")),
    *mistakes_at(VALUES, AVERAGE, ("the head takes the maximum of each map; expected the average.",
                                   "self.classifier(maps.amax((2, 3)))"),
                 ("the head takes the sum of each map; expected the average.", "self.classifier(maps.sum((2, 3)))")),
    *mistakes_at(VALUES, STEM, ("a ReLU stands in the stem; expected a bare convolution.", f"{STEM}, nn.ReLU()"),
                 ("the stem has stride 2; expected 1.", STEM.replace("padding", "stride=2, padding")),
                 ("the stem has no padding; expected padding=1.", STEM.replace("padding=1", "padding=0")),
                 ("the stem pools; expected a bare convolution.", f"{STEM}, nn.MaxPool2d(3, 2, 1)")),
    *mistakes_at(VALUES, STEP, ("the ReLU in the transitions is missing.", "(norm, conv, pool)")),
    *mistakes_at(VALUES, LAYER,
                 ("the ReLU before the layers' 1×1 convolution is missing.", "(norm1, conv1, norm2, relu2, conv2)"),
                 ("the ReLU before the layers' 3×3 convolution is missing.", "(norm1, relu1, conv1, norm2, conv2)")),
    *mistakes_at(VALUES, "[maps, layer(maps)]",
                 ("the new maps are joined in front; expected behind: cat([features, new_maps], dim=1).",
                  "[layer(maps), maps]")),
    *slips.activations(VALUES, PARAMETERS),
    *slips.norms(VALUES, TRAINING, small=False),
    *mistakes_at(TRAINING, FEATURES, (EITHER, "self.norm(self.features(images))\n"
                                              "        maps = maps if self.training else self.relu(maps)")),
]
SOLUTION = Solution(SOURCE, MISTAKES, torch=torch, math=math, **slips.NAMES)


def reads(block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
    """List the channels that every BatchNorm of layers, transitions and head reads, without those in the waist."""
    plan = accounting.channel_plan(
        block_layers, growth_rate=growth_rate, init_channels=init_channels, compression=compression
    )
    inputs = [accounting.layer_inputs(channels, num_layers=number, growth_rate=growth_rate)
              for channels, number in zip(plan[::2], block_layers, strict=True)]
    return [*(c for block in inputs for c in block), *plan[1::2]]


def notes(block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
    """Say what parameters are for, by shape, the most telling first: for mistakes that are not known."""
    k = growth_rate
    reading = reads(block_layers, k, init_channels, num_classes, in_channels, compression)
    last, before = reading[-1], reading[sum(block_layers):-1]  # channels of the last block, of the transitions
    kept = [int(compression * c) for c in before]
    return {(k, 4 * k, 3, 3): ALL_THERE, (in_channels,): BARE} | {
        (c,): LAYER_BEGINS for c in reading if c not in {init_channels, last, *before, *kept}
    } | {
        (last,): LAST_NORM, (num_classes,): "The classifier has a bias.",
        (k,): "The 3×3 convolutions have no bias: set bias=False.",
        (4 * k,): "The 1×1 convolutions have no bias (set bias=False), and one BatchNorm stands in each waist.",
        (init_channels,): BARE,
    } | {(c,): "A transition's convolution has no bias: set bias=False." for c in kept} | {
        (c,): STEP_BEGINS for c in before}
