"""Exercise densenet: a whole DenseNet-BC for small images."""

from dataclasses import replace
from math import prod

from densenet_course import accounting
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.expect import told
from densenet_course.checks.engine.explain import NETWORK, explained
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.densenet.mistakes import (
    PARAMETERS,
    SHAPE,
    SIZES,
    SOLUTION,
    TRAINING,
    VALUES,
    notes,
    reads,
)
from densenet_course.checks.kinds.modules import ModuleCase

EXERCISE = Exercise("densenet", names=["DenseNet"], title="A whole DenseNet", lesson="06_small_densenet",
                    given=["densenet_course.layers"])
EXPLAINED = explained(NETWORK)
GOLDEN = ((16, 16, 16), 12, 24, 10, 3)  # the paper's L = 100, k = 12


def distinct(arguments):
    """Tell whether the roles differ in shape; of the layers' second halves, which are all alike, one counts."""
    k, num_classes = arguments[1], arguments[3]
    norms = [*reads(*arguments), 4 * k, num_classes, k]
    return len(set(norms)) == len(norms) and all(c > 4 for c in norms[:-1])


def drawn(draw, blocks, *, rest=()):
    """Draw arguments with a number of blocks, in_channels and compression as given or by default."""
    while True:
        block_layers = tuple(draw.integer(1, 3) for _ in range(blocks))
        classes = draw.random.choice((5, 6, 7, 8, 9, 11, 12))  # not the 10 of who fixes them
        arguments = (block_layers, draw.integer(3, 5), draw.integer(6, 20), classes, *rest)
        if distinct(arguments) and max(block_layers) > 1:
            return arguments


def arguments(draw):
    """Draw all six arguments, for two or three blocks."""
    return drawn(draw, draw.integer(2, 3), rest=(draw.random.choice((2, 4)), draw.random.choice((0.625, 0.75))))


def four_arguments(draw):
    """Draw arguments without in_channels and compression, for three blocks."""
    return drawn(draw, 3)


def odd(draw):
    """Draw arguments for two blocks, where θ·C is a half more than an odd number: ``round`` goes to the even one."""
    while True:
        (first, _), k, k0, *_ = chosen = drawn(draw, 2, rest=(draw.random.choice((2, 4)), 0.5))
        if (k0 + first * k) % 4 == 3:
            return chosen


def images(draw, arguments, side=None):
    """Draw square images; ``side`` is that of the last maps, at least 2 so that BatchNorm has enough values."""
    side = 2 ** (len(arguments[0]) - 1) * (side or draw.integer(2, 4))
    return draw.normal(draw.integer(3, 4), (arguments[4:] or (1,))[0], side, side)


CASE = ModuleCase("DenseNet", SOLUTION, arguments, images, notes=notes, groups=80)
DEFAULT, ODD = (replace(CASE, arguments=chosen) for chosen in (four_arguments, odd))


@EXERCISE.finding(SHAPE, points=1)
@EXPLAINED
def shape(answer, draw):
    """The logits have shape (N, num_classes), for several sizes of image in one network, and for one image alone."""
    chosen = four_arguments(draw)
    inputs = [images(draw, chosen, side) for side in draw.sample(2, 6, 3)]
    inputs.append(inputs[0][:1])
    labels = [f"output shape for {len(maps)} images of {maps.shape[2]}×{maps.shape[2]} pixels" for maps in inputs]
    case = replace(DEFAULT, arguments=lambda draw: chosen)
    case.hold(answer, draw, *({"do": "run", "images": maps} for maps in inputs), weighs=False, look=lambda replies: {
        label: tuple(reply["output"].shape) for label, reply in zip(labels, replies, strict=True)})


@EXERCISE.finding(PARAMETERS, points=2)
@EXPLAINED
def parameters(answer, draw):
    """The parameters have the right shapes, and DenseNet-BC with L = 100 and k = 12 has as many as the paper's."""
    for case in (DEFAULT, CASE, ODD):
        case.parameters(answer, draw)
    script = [{"do": "warm up", "images": draw.normal(2, 3, 8, 8)}, {"do": "parameters"}]
    SOLUTION.hold(answer, draw, probes.play, {"name": "DenseNet", "arguments": GOLDEN, "script": script}, view=lambda
                  replies: {f"parameters of DenseNet{GOLDEN}": sum(prod(shape) for _, shape, _ in replies[1])})


@EXERCISE.finding(SIZES, points=1)
@EXPLAINED
def sizes(answer, draw):
    """One block has no transition, four shrink the maps to 1×1, arguments may be named, ⌊θ·C⌋ is rounded down."""
    for chosen, side in ((drawn(draw, 1), draw.integer(5, 9)), (drawn(draw, 4), 1), (odd(draw), 1)):
        pictures = images(draw, chosen, side)
        script = [{"do": "warm up", "images": pictures}, {"do": "parameters"}, {"do": "run", "images": pictures}]
        keywords = dict(zip(("in_channels", "compression"), chosen[4:], strict=False))
        request = {"name": "DenseNet", "arguments": chosen[:4], "keywords": keywords, "script": script}
        what = f"block_layers={chosen[0]}, images of {pictures.shape[2]}×{pictures.shape[2]} pixels"
        plan = accounting.channel_plan(
            chosen[0], growth_rate=chosen[1], init_channels=chosen[2], compression=keywords.get("compression", 0.5)
        )

        def view(replies, what=what):
            matrices = sorted(shape for _, shape, _ in replies[1] if len(shape) == 2)
            return {f"output shape for {what}": tuple(replies[2]["output"].shape), f"classifier for {what}": matrices}

        def tell(expected, got, what=what, plan=plan):
            (_, wanted), (_, matrices) = expected.popitem(), got.popitem()
            if len(matrices) > 1:
                return Wrong(f"classifier for {what}", cause=f"expected one linear layer, got {len(matrices)}.")
            if wanted != matrices:
                return Wrong(f"channels for {what}", cause=f"expected {' → '.join(map(str, plan))}, but no classifier "
                             f"reads {plan[-1]}. One block has no transition; ⌊compression·C⌋ is rounded down.")
            return told(expected, got)

        SOLUTION.hold(answer, draw, probes.play, request, view=view, told=tell)


@EXERCISE.finding(VALUES, points=3)
@EXPLAINED
def values(answer, draw):
    """The logits have the right values in evaluation mode, for two sizes."""
    for _ in range(2):
        CASE.values_in_eval(answer, draw)


EXERCISE.finding(TRAINING, points=1.5)(EXPLAINED(DEFAULT.values_in_training))


@EXERCISE.finding("gradients and side effects", points=1.5)
@EXPLAINED
def clean(answer, draw):
    """Gradients flow, the input is left alone, calls and networks are independent, and nothing is left to chance."""
    CASE.repeatable(answer, draw)
    CASE.clean(answer, draw)
