"""Exercise densenet: a whole DenseNet-BC for small images."""

from dataclasses import replace
from math import prod

import torch
from torch import nn

from densenet_course import accounting
from densenet_course.checks import probes
from densenet_course.checks.compare import expect
from densenet_course.checks.judge import Exercise, Wrong
from densenet_course.checks.networks import BATCH, MISFIT, RUNNING, Explaining, NetworkCase, always
from densenet_course.config import DenseNetConfig
from densenet_course.models import DenseNet

EXERCISE = Exercise("densenet", names=["DenseNet"], title="A whole DenseNet", lesson="08_densenet121")
GOLDEN = ((16, 16, 16), 12, 24, 10, 3)


def config(block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5, **options):
    """Describe the network that the learner's arguments ask for."""
    return DenseNetConfig(
        block_layers=block_layers, growth_rate=growth_rate, init_channels=init_channels, num_classes=num_classes,
        in_channels=in_channels, compression=compression, **{"stem": "cifar"} | options
    )


def network(*arguments, **options):
    """Build the judge's network."""
    return DenseNet(config(*arguments, **options))


def reads(block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
    """List the channels that every BatchNorm of layers, transitions and head reads, without those in the waist."""
    plan = accounting.channel_plan(
        block_layers, growth_rate=growth_rate, init_channels=init_channels, compression=compression
    )
    inputs = [accounting.layer_inputs(channels, num_layers=number, growth_rate=growth_rate)
              for channels, number in zip(plan[::2], block_layers, strict=True)]
    return [*(c for block in inputs for c in block), *plan[1::2]]


def distinct(arguments):
    """Tell whether the roles differ in shape; of the layers' second halves, which are all alike, one counts."""
    k, num_classes = arguments[1], arguments[3]
    norms = [*reads(*arguments), 4 * k, num_classes, k]
    return len(set(norms)) == len(norms) and all(c > 4 for c in norms[:-1])


def drawn(draw, blocks, *, rest=()):
    """Draw arguments with a number of blocks, in_channels and compression as given or by default."""
    while True:
        block_layers = tuple(draw.integer(1, 3) for _ in range(blocks))
        arguments = (block_layers, draw.integer(3, 5), draw.integer(6, 20), draw.integer(5, 12), *rest)
        if distinct(arguments) and max(block_layers) > 1:
            return arguments


def arguments(draw):
    """Draw all six arguments, for two or three blocks."""
    return drawn(draw, draw.integer(2, 3), rest=(draw.integer(2, 4), draw.random.choice((0.625, 0.75))))


def four_arguments(draw):
    """Draw arguments without in_channels and compression, for three blocks."""
    return drawn(draw, 3)


def images(draw, arguments, side=None):
    """Draw square images; ``side`` is that of the last maps, at least 2 so that BatchNorm has enough values."""
    side = 2 ** (len(arguments[0]) - 1) * (side or draw.integer(2, 4))
    return draw.normal(draw.integer(3, 4), (arguments[4:] or (1,))[0], side, side)


class Headed(nn.Module):
    """The judge's network with a body changed by ``change``, and a head of its own: a suspect."""

    def __init__(self, *arguments, change=lambda features: None, head=None):
        super().__init__()
        self.model = network(*arguments)
        change(self.model.features)
        self.head = head

    def forward(self, images):
        return self.head(self.model, images) if self.head else self.model(images)


def body(change):
    """Make a builder of networks whose features are changed."""
    return lambda *arguments: Headed(*arguments, change=change)


def head(forward):
    """Make a builder of networks with another head: (model, images) → logits."""
    return lambda *arguments: Headed(*arguments, head=forward)


def each(name, make):
    """Change the part of this name in every layer or transition."""

    def change(features):
        for module in list(features.modules()):
            if hasattr(module, name):
                setattr(module, name, make(getattr(module, name)))

    return change


def attributes(kind, **values):
    """Change attributes of all modules of a kind."""

    def change(features):
        for module in features.modules():
            if isinstance(module, kind):
                vars(module).update(values)

    return change


def _stem_norm(features):
    features.conv0 = nn.Sequential(features.conv0, nn.BatchNorm2d(features.conv0.out_channels), nn.ReLU())


def _joined_in_front(features):
    def forward(block, maps):
        for layer in block.children():
            maps = torch.cat([layer(maps), maps], dim=1)
        return maps

    for name, block in features.named_children():
        if name.startswith("denseblock"):
            block.forward = lambda maps, block=block: forward(block, maps)


def _pooled(model, images):
    return model.features(images).relu().mean((2, 3))


SUSPECTS = (
    (head(lambda model, images: model(images) * 0), MISFIT),
    (always(network, training=False), RUNNING),
    (always(network, training=True), BATCH),
    (body(each("pool", lambda pool: nn.MaxPool2d(2))),
     "the transitions take the maximum; expected 2×2 average pooling."),
    (head(lambda model, images: model(images).softmax(1)), "there is a softmax at the end; expected logits."),
    (head(lambda model, images: model(images).log_softmax(1)), "there is a log-softmax at the end; expected logits."),
    (head(lambda model, images: model(images).sigmoid()), "there is a sigmoid at the end; expected logits."),
    (head(lambda model, images: model(images).relu()), "there is a ReLU after the classifier; expected logits."),
    (head(lambda model, images: model.classifier(model.features(images).mean((2, 3)))),
     "the ReLU after the last BatchNorm is missing."),
    (head(lambda model, images: model.classifier(model.features[:-1](images).relu().mean((2, 3)))),
     "the last BatchNorm is missing."),
    (head(lambda model, images: model.classifier(model.features[:-1](images).mean((2, 3)))),
     "BN and ReLU after the last block are missing."),
    (head(lambda model, images: model.classifier(model.features[-1](model.features[:-1](images).relu()).mean((2, 3)))),
     "after the last block the ReLU stands before BatchNorm; expected BN → ReLU."),
    (head(lambda model, images: model.classifier(model.features(images).mean((2, 3)).relu())),
     "the last ReLU stands after the average; expected BN → ReLU → average."),
    (head(lambda model, images: model.classifier(model.features(images).relu().amax((2, 3)))),
     "the head takes the maximum of each map; expected the average."),
    (head(lambda model, images: model.classifier(model.features(images).relu().sum((2, 3)))),
     "the head takes the sum of each map; expected the average."),
    (head(lambda model, images: _pooled(model, images)), "The classifier is missing: these are the averaged maps."),
    (head(lambda model, images: model.features(images).relu()), "Average and classifier are missing: these are maps."),
    (head(lambda model, images: model(images)[..., None, None]), "Flatten the logits to (N, num_classes)."),
    (body(_stem_norm), "BN and ReLU stand in the stem; expected a bare convolution."),
    (body(lambda features: setattr(features, "conv0", nn.Sequential(features.conv0, nn.ReLU()))),
     "a ReLU stands in the stem; expected a bare convolution."),
    (body(lambda features: setattr(features.conv0, "stride", (2, 2))), "the stem has stride 2; expected 1."),
    (body(lambda features: setattr(features.conv0, "padding", (0, 0))), "the stem has no padding; expected padding=1."),
    (body(lambda features: setattr(features, "conv0", nn.Sequential(features.conv0, nn.MaxPool2d(3, 2, 1)))),
     "the stem pools; expected a bare convolution."),
    (body(each("relu", lambda relu: nn.Identity())), "the ReLU in the transitions is missing."),
    (body(each("norm", lambda norm: nn.Identity())), "BatchNorm in the transitions is missing."),
    (body(each("relu1", lambda relu: nn.Identity())), "the ReLU before the layers' 1×1 convolution is missing."),
    (body(each("relu2", lambda relu: nn.Identity())), "the ReLU before the layers' 3×3 convolution is missing."),
    (body(each("norm2", lambda norm: nn.Identity())), "BatchNorm in the layers' waist is missing."),
    (body(_joined_in_front), "the new maps are joined in front; expected behind: cat([features, new_maps], dim=1)."),
    (body(attributes(nn.BatchNorm2d, eps=1e-3)), "BatchNorm's eps is 1e-3 (Keras's); expected PyTorch's, 1e-5."),
    (body(attributes(nn.BatchNorm2d, momentum=0.01)),
     "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
)


def notes(block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
    """Name the cause of parameters of a wrong shape, the most telling first."""
    k, k0, n = growth_rate, init_channels, num_classes
    reading = reads(block_layers, k, k0, n, in_channels, compression)
    last, before = reading[-1], reading[sum(block_layers):-1]  # channels of the last block, of the transitions
    kept = [int(compression * c) for c in before]
    shapes = {
        (k, k0, 3, 3): "Layers without 1×1: expected bottleneck layers, BN → ReLU → 1×1 to 4k → BN → ReLU → 3×3 to k.",
        (int(compression * last), last, 1, 1): "Is there a transition after the last block? They stand between blocks.",
        (n, block_layers[-1] * k): "The last block gives only its new maps; expected its input too, in front of them.",
    }
    shapes |= {(c, c, 1, 1): "A transition keeps all channels; expected ⌊compression·C⌋." for c in before}
    shapes |= {(c // 2, c, 1, 1): "A transition keeps half; compression is not used." for c in before}
    shapes |= {(m + 1, c, 1, 1): "⌊compression·C⌋ is rounded down." for m, c in zip(kept, before, strict=True)}
    shapes |= {(k0, c, 3, 3): "in_channels is not used in the stem." for c in (1, 3)}
    shapes |= {(k0, in_channels, s, s): f"The stem's kernel is {s}×{s}; expected 3×3." for s in (1, 5, 7)}
    shapes |= {(c, in_channels, 3, 3): "The stem makes init_channels." for c in {2 * k, 16, 64} - {k0, k}}
    shapes |= {(c, last): "num_classes is not used." for c in (10, 1000)}
    shapes |= {(k, k, 3, 3): "The waist is k wide; expected 4k.",
               (k, 2 * k, 3, 3): "The waist is 2k wide; expected 4k."}
    right = {tuple(p.shape) for p in network(block_layers, k, k0, n, in_channels, compression).parameters()}
    return {shape: note for shape, note in shapes.items() if shape not in right} | {
        (k, 4 * k, 3, 3): "Are all layers registered (a plain list hides them, use nn.ModuleList), none used twice?",
        (last,): "BN → ReLU stands after the last block, before the average.",
        (n,): "The classifier has a bias.",
        (k,): "The 3×3 convolutions have no bias: set bias=False.",
        (4 * k,): "The 1×1 convolutions have no bias (set bias=False), and one BatchNorm stands in each waist.",
        (k0,): "The stem is a bare convolution: no bias (set bias=False), no BatchNorm.",
    } | {(c,): "A transition's convolution has no bias: set bias=False." for c in kept}


CASE = NetworkCase("DenseNet", network, arguments, images, suspects=SUSPECTS, notes=notes)
DEFAULT = replace(CASE, arguments=four_arguments)


@EXERCISE.finding("shape", points=1)
def shape(answer, draw):
    """The logits have shape (N, num_classes), for several sizes of image in one network."""
    chosen = four_arguments(draw)
    case = replace(DEFAULT, arguments=lambda draw: chosen)
    steps = [{"do": "run", "images": images(draw, chosen, side)} for side in draw.sample(2, 6, 3)]
    expected, got, wrong = case.play(answer, draw, *steps)
    for i, reply in enumerate(expected):
        suspects = [(tuple(w[i]["output"].shape), message) for w, message in wrong]
        expect("output shape", tuple(reply["output"].shape), tuple(got[i]["output"].shape), suspects=suspects)


@EXERCISE.finding("parameters", points=1.5)
def parameters(answer, draw):
    """The parameters have the right shapes."""
    DEFAULT.parameters(Explaining(answer), draw)
    CASE.parameters(Explaining(answer), draw)


@EXERCISE.finding("769,162 parameters", points=1)
def golden(answer, draw):
    """DenseNet-BC with L = 100 and k = 12 has as many parameters as the paper's."""
    script = [{"do": "warm up", "images": draw.normal(2, 3, 8, 8)}, {"do": "parameters"}]
    got = Explaining(answer).ask(probes.play, name="DenseNet", arguments=list(GOLDEN), script=script)[1]
    expected = accounting.parameters(config(*GOLDEN))
    changes = (
        ({"bottleneck_factor": None}, "This is without bottlenecks: DenseNet-C."),
        ({"compression": 1.0}, "This is with θ = 1: DenseNet-B."),
        ({"bottleneck_factor": 1}, "This is with a waist of k; expected 4k."),
        ({"conv_bias": True}, "Every convolution has a bias: set bias=False."),
        ({"in_channels": 1}, "in_channels is not used."), ({"init_channels": 16}, "The stem makes 16 channels."),
        ({"num_classes": 1000}, "num_classes is not used."), ({"stem": "imagenet"}, "This is the stem for ImageNet."),
    )
    right = vars(config(*GOLDEN))
    suspects = [(accounting.parameters(DenseNetConfig(**right | change)), text) for change, text in changes]
    last = reads(*GOLDEN)[-1]
    suspects += [(expected - 10, "The classifier has a bias."), (expected - 2 * last, "The last BatchNorm is missing."),
                 (expected - 48 * 96, "BatchNorm in the layers' waist is missing."),
                 (expected + 24, "The stem has a bias."), (expected + 48, "The stem has a BatchNorm.")]
    expect("number of parameters", expected, sum(prod(shape) for _, shape, _ in got), suspects=suspects)


def odd(draw):
    """Draw arguments for two blocks, where θ·C is not whole."""
    while True:
        (first, _), k, k0, *_ = chosen = drawn(draw, 2, rest=(draw.integer(2, 4), 0.5))
        if (k0 + first * k) % 2:
            return chosen


@EXERCISE.finding("sizes", points=1)
def sizes(answer, draw):
    """One block has no transition, four shrink the maps to 1×1, arguments may be named, ⌊θ·C⌋ is rounded down."""
    for chosen, side in ((drawn(draw, 1), draw.integer(5, 9)), (drawn(draw, 4), 1), (odd(draw), 1)):
        pictures = images(draw, chosen, side)
        script = [{"do": "warm up", "images": pictures}, {"do": "parameters"}, {"do": "run", "images": pictures}]
        keywords = dict(zip(("in_channels", "compression"), chosen[4:], strict=False))
        got = Explaining(answer).ask(
            probes.play, name="DenseNet", arguments=list(chosen[:4]), keywords=keywords, script=script
        )
        plan = accounting.channel_plan(
            chosen[0], growth_rate=chosen[1], init_channels=chosen[2], compression=keywords.get("compression", 0.5)
        )
        what = f"block_layers={chosen[0]}, images of {pictures.shape[2]}×{pictures.shape[2]} pixels"
        expect(f"output shape for {what}", (len(pictures), chosen[3]), tuple(got[2]["output"].shape))
        if (chosen[3], plan[-1]) not in [shape for _, shape, _ in got[1]]:
            raise Wrong(f"channels for {what}: expected {' → '.join(map(str, plan))}, but no classifier reads "
                        f"{plan[-1]}. One block has no transition; ⌊compression·C⌋ is rounded down.")


EXERCISE.finding("values", points=2.5)(CASE.finding("values_in_eval"))
EXERCISE.finding("training", points=1.5)(DEFAULT.finding("repeatable", "values_in_training"))
EXERCISE.finding("gradients and side effects", points=1.5)(
    CASE.finding("repeatable", "gradients", "side_effects", "fresh")
)
