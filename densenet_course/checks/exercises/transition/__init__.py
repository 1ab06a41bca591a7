"""Exercise transition: BN → ReLU → 1×1 convolution → 2×2 average pooling."""

from dataclasses import replace
from functools import partial
from math import ceil, floor

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.explain import TRANSITION, explained
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.transition.mistakes import (
    CHANNELS,
    PARAMETERS,
    SIZE,
    SOLUTION,
    TRAINING,
    VALUES,
    channels_after,
    notes,
)
from densenet_course.checks.kinds.modules import MISFIT, ModuleCase

EXERCISE = Exercise("transition", names=["transition"], title="The transition", lesson="04_transition")
EXPLAINED = explained(TRANSITION)
SHARES = (0.3, 0.35, 0.4, 0.6, 0.65, 0.7, 0.75, 0.8)  # θ to draw from, apart from ½ and 1


def uneven(draw, low, high):
    """Draw (C, θ) with low ≤ θ·C − ⌊θ·C⌋ ≤ high, for which other mistakes give other numbers."""
    while True:
        c, share = draw.integer(7, 24), draw.random.choice(SHARES)
        kept = channels_after(c, share)
        goes, divided = {floor((1 - share) * c), c - kept}, {floor(c / share), ceil(c / share)}
        results = [kept, kept + 1, c, c // 2, *goes, *divided]
        if low <= share * c - kept <= high and len(set(results)) == len(results):
            return c, share


def halved(draw):
    """Draw (C, ½) with C even, so that no rounding can go wrong."""
    return 2 * draw.integer(4, 10), 0.5


def kept_whole(draw):
    """Draw (C, 1): without compression."""
    return draw.integer(7, 20), 1.0


def images(draw, arguments, even=True, count=None, contrast=0.05):
    """Draw maps whose channels differ in mean and spread, with H ≠ W, both even or both odd; see conv_block."""
    height, width = (2 * draw.integer(*limits) + (not even) for limits in ((2, 3), (4, 5)))
    return draw.maps(count or draw.integer(2, 4), arguments[0], height, width, contrast=contrast)


CASE = ModuleCase("transition", SOLUTION, halved, images, notes=notes)
WHOLE = replace(CASE, arguments=kept_whole)
CASES = (
    CASE,
    replace(CASE, arguments=lambda draw: uneven(draw, 0.2, 0.4)),
    replace(CASE, images=partial(images, even=False)),
    replace(CASE, images=partial(images, count=1, contrast=4.0)),
)
EVEN = replace(CASE, arguments=lambda draw: (4 * draw.integer(2, 5), 0.5))  # groups=2 would fit


def hold(answer, draw, arguments, maps, look):
    """Compare the shape that comes out.

    Args:
        answer: the answer.
        draw: fresh numbers.
        arguments: of the call.
        maps: the input.
        look: (N, C, H, W) → {label: value}.
    """

    def view(replies):
        shape = tuple(replies[0]["output"].shape)
        return look(*shape) if len(shape) == 4 else dict.fromkeys(look(0, 0, 0, 0), shape)

    request = {"name": "transition", "arguments": arguments, "script": [{"do": "run", "images": maps}]}
    SOLUTION.hold(answer, draw, probes.play, request, view=view)


@EXERCISE.finding(CHANNELS, points=2)
@EXPLAINED
def channels(answer, draw):
    """⌊θ·C⌋ channels come out, for fractions below and above one half, θ = 1, θ = ½, and ½ by default."""
    odd = 2 * draw.integer(4, 10) + 1
    for arguments in (uneven(draw, 0.2, 0.4), uneven(draw, 0.6, 0.8), (odd, 0.5), kept_whole(draw), (odd,)):
        c, share = (*arguments, 0.5)[:2]
        label = f"channels after transition({', '.join(map(str, arguments))}), ⌊{share} · {c}⌋"
        hold(answer, draw, arguments, images(draw, arguments), lambda n, c, h, w, label=label: {label: c})


@EXERCISE.finding(SIZE, points=2)
@EXPLAINED
def height_and_width(answer, draw):
    """Both are halved, rounded down; every image comes out, also where there is only one, or a single pixel of it."""
    arguments = halved(draw)
    drawn = [images(draw, arguments, even, count) for even, count in (
        (True, None), (False, None), (False, None), (True, 1))]
    for maps in (*drawn, draw.normal(2, arguments[0], 3, 2)):
        label = f"height and width of {maps.shape[2]}×{maps.shape[3]} maps"
        hold(answer, draw, arguments, maps, lambda n, c, h, w, label=label: {label: (h, w), "batch": n})


@EXERCISE.finding(PARAMETERS, points=1)
@EXPLAINED
def parameters(answer, draw):
    """BatchNorm has γ and β for C channels, the convolution one matrix; also where nothing is compressed."""
    for case in (CASE, EVEN, WHOLE):
        case.parameters(answer, draw)


def fitting(finding):
    """Look for a finding with θ for which the weight has the right shape: other numbers of channels are told above.

    Args:
        finding: (case, answer, draw) → None.
    """

    @EXPLAINED
    def look(answer, draw):
        cases = [case for case in CASES if fits(case, answer, draw)]
        if not cases and fits(WHOLE, answer, draw):  # there a bias looks like BatchNorm's: only where nothing else fits
            cases = [WHOLE]
        if not cases:
            raise Wrong(cause=MISFIT)
        for case in cases:
            finding(case, answer, draw)

    return look


def fits(case, answer, draw):
    """Tell whether the convolution's weight has the shape that the check's has."""
    arguments = case.arguments(draw)
    script = [{"do": "warm up", "images": case.images(draw, arguments)}, {"do": "parameters"}]
    _, found = answer.ask(probes.play, name="transition", arguments=arguments, script=script)
    return (channels_after(*arguments), arguments[0], 1, 1) in [shape for _, shape, _ in found]


def training(case, answer, draw):
    """BatchNorm uses the batch's statistics in training, remembers them, and starts as PyTorch makes it."""
    case.values_in_training(answer, draw)
    case.start_values(answer, draw)


EXERCISE.finding(VALUES, points=2)(fitting(ModuleCase.values_in_eval))
EXERCISE.finding(TRAINING, points=1)(fitting(training))
EXERCISE.finding("gradients", points=1)(fitting(ModuleCase.gradients))


@EXERCISE.finding("side effects", points=1)
@EXPLAINED
def side_effects(answer, draw):
    """A call leaves the input alone, the next one does not feel it, and two modules share nothing."""
    CASE.side_effects(answer, draw)
    CASE.fresh(answer, draw)
