"""Exercise densenet: a whole DenseNet-BC for small images."""

from dataclasses import replace
from math import prod

from densenet_course import accounting
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.expect import expect
from densenet_course.checks.engine.explain import NETWORK, Explaining
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.densenet.mistakes import SLIPS, TRAINING_SLIPS, config, network
from densenet_course.checks.kinds.modules import SQUEEZED
from densenet_course.checks.kinds.networks import NetworkCase

EXERCISE = Exercise("densenet", names=["DenseNet"], title="A whole DenseNet", lesson="06_small_densenet",
                    given=["densenet_course.layers"])
GOLDEN = ((16, 16, 16), 12, 24, 10, 3)


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
    later = {c for c in reading if c not in {k0, last, *before, *kept}}
    right = {tuple(p.shape) for p in network(block_layers, k, k0, n, in_channels, compression).parameters()}
    return {shape: note for shape, note in shapes.items() if shape not in right} | {
        (k, 4 * k, 3, 3): "Are all layers registered (a plain list hides them, use nn.ModuleList), none used twice?",
    } | {(c,): "Every layer begins with BN over all it reads: BN → ReLU → 1×1 → BN → ReLU → 3×3." for c in later} | {
        (last,): "BN → ReLU stands after the last block, before the average.",
        (n,): "The classifier has a bias.",
        (k,): "The 3×3 convolutions have no bias: set bias=False.",
        (4 * k,): "The 1×1 convolutions have no bias (set bias=False), and one BatchNorm stands in each waist.",
        (k0,): "The stem is a bare convolution: no bias (set bias=False), no BatchNorm.",
    } | {(c,): "A transition's convolution has no bias: set bias=False." for c in kept} | {
        (c,): "A transition begins with BN over all it reads: BN → ReLU → 1×1 → average pooling." for c in before
    }


CASE = NetworkCase("DenseNet", network, arguments, images, suspects=SLIPS, notes=notes)
DEFAULT = replace(CASE, arguments=four_arguments)


@EXERCISE.finding("shape", points=1)
def shape(answer, draw):
    """The logits have shape (N, num_classes), for several sizes of image in one network, and for one image alone."""
    chosen = four_arguments(draw)
    case = replace(DEFAULT, arguments=lambda draw: chosen)
    steps = [{"do": "run", "images": images(draw, chosen, side)} for side in draw.sample(2, 6, 3)]
    steps.append({"do": "run", "images": images(draw, chosen)[:1]})
    expected, got, wrong = case.play(answer, draw, *steps)
    for i, reply in enumerate(expected):
        suspects = [(tuple(reply["output"].shape)[1:], SQUEEZED)]
        suspects += [(tuple(w[i]["output"].shape), message) for w, message in wrong]
        expect("output shape", tuple(reply["output"].shape), tuple(got[i]["output"].shape), suspects=suspects)


@EXERCISE.finding("parameters", points=2)
def parameters(answer, draw):
    """The parameters have the right shapes, and DenseNet-BC with L = 100 and k = 12 has as many as the paper's."""
    DEFAULT.parameters(Explaining(answer, NETWORK), draw)
    CASE.parameters(Explaining(answer, NETWORK), draw)
    script = [{"do": "warm up", "images": draw.normal(2, 3, 8, 8)}, {"do": "parameters"}]
    got = Explaining(answer, NETWORK).ask(probes.play, name="DenseNet", arguments=list(GOLDEN), script=script)[1]
    expected = accounting.parameters(config(*GOLDEN))
    expect(f"parameters of DenseNet{GOLDEN}", expected, sum(prod(shape) for _, shape, _ in got))


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
        got = Explaining(answer, NETWORK).ask(
            probes.play, name="DenseNet", arguments=list(chosen[:4]), keywords=keywords, script=script
        )
        plan = accounting.channel_plan(
            chosen[0], growth_rate=chosen[1], init_channels=chosen[2], compression=keywords.get("compression", 0.5)
        )
        what = f"block_layers={chosen[0]}, images of {pictures.shape[2]}×{pictures.shape[2]} pixels"
        expect(f"output shape for {what}", (len(pictures), chosen[3]), tuple(got[2]["output"].shape))
        if (chosen[3], plan[-1]) not in [shape for _, shape, _ in got[1]]:
            raise Wrong(f"channels for {what}", cause=f"expected {' → '.join(map(str, plan))}, but no classifier reads "
                        f"{plan[-1]}. One block has no transition; ⌊compression·C⌋ is rounded down.")


EXERCISE.finding("values", points=3)(CASE.finding("values_in_eval"))
EXERCISE.finding("training", points=1.5)(
    replace(DEFAULT, suspects=TRAINING_SLIPS).finding("repeatable", "values_in_training")
)
EXERCISE.finding("gradients and side effects", points=1.5)(
    CASE.finding("repeatable", "gradients", "side_effects", "fresh")
)
