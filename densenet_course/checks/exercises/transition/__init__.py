"""Exercise transition: BN → ReLU → 1×1 convolution → 2×2 average pooling."""

from dataclasses import replace
from functools import partial
from math import ceil, floor

from densenet_course import layers
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.expect import expect
from densenet_course.checks.engine.explain import TRANSITION, explained
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.transition.mistakes import SUSPECTS, channels_after, notes, sizes, slips
from densenet_course.checks.kinds.modules import ModuleCase

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


def images(draw, arguments, even=True):
    """Draw maps whose channels differ in mean and spread, with H ≠ W, both even or both odd."""
    shape = (draw.integer(2, 4), arguments[0], 2 * draw.integer(2, 3) + (not even), 2 * draw.integer(4, 5) + (not even))
    spread, shift = draw.normal(1, shape[1], 1, 1).exp() * 0.05, draw.normal(1, shape[1], 1, 1)
    return draw.normal(*shape) * spread + shift


CASE = ModuleCase("transition", layers.transition, halved, images, suspects=SUSPECTS, notes=notes)
WHOLE = replace(CASE, arguments=kept_whole)
CASES = (
    CASE,
    replace(CASE, arguments=lambda draw: uneven(draw, 0.2, 0.4)),
    replace(CASE, images=partial(images, even=False)),
)


def output_shape(answer, draw, arguments, even=True):
    """Ask for the shape that comes out; return it and the input's."""
    maps = images(draw, arguments, even)
    got = answer.ask(probes.play, name="transition", arguments=arguments, script=[{"do": "run", "images": maps}])
    shape = tuple(got[0]["output"].shape)
    if len(shape) != 4:
        raise Wrong("output shape", cause=f"expected (N, C, H, W), got {shape}.")
    return shape, tuple(maps.shape)


@EXERCISE.finding("channels", points=2)
@EXPLAINED
def channels(answer, draw):
    """⌊θ·C⌋ channels come out, for fractions below and above one half, θ = ½ by default, and θ = 1."""
    odd = 2 * draw.integer(4, 10) + 1
    for arguments in (uneven(draw, 0.2, 0.4), uneven(draw, 0.6, 0.8), (odd,), (odd, 0.5), kept_whole(draw)):
        c, share = (*arguments, 0.5)[:2]
        shape, _ = output_shape(answer, draw, arguments)
        expect(f"channels after {named(arguments)}", channels_after(c, share), shape[1], because=f"= ⌊{share} · {c}⌋",
               suspects=slips(*arguments))


def named(arguments):
    """Write the call."""
    return f"transition({', '.join(map(str, arguments))})"


@EXERCISE.finding("height and width", points=2)
@EXPLAINED
def height_and_width(answer, draw):
    """Both are halved, rounded down."""
    for even in (True, False, False):
        shape, (batch, _, height, width) = output_shape(answer, draw, halved(draw), even)
        expect(f"height and width of {height}×{width} maps", (height // 2, width // 2), shape[2:],
               suspects=sizes(height, width))
        expect("batch", batch, shape[0])


@EXERCISE.finding("parameters", points=1)
@EXPLAINED
def parameters(answer, draw):
    """BatchNorm has γ and β for C channels, the convolution one matrix; also where nothing is compressed."""
    CASE.parameters(answer, draw)
    whole = kept_whole(draw)
    script = [{"do": "warm up", "images": images(draw, whole)}, {"do": "parameters"}]
    _, found = answer.ask(probes.play, name="transition", arguments=whole, script=script)
    if all(len(shape) < 2 for _, shape, _ in found):
        raise Wrong(f"parameters of {named(whole)}", cause="no convolution. "
                    "With θ = 1 the 1×1 convolution still mixes channels.")


def fitting(finding):
    """Look for a finding with θ and sizes for which output and weights have the right shape: shapes are told above.

    Args:
        finding: (case, answer, draw) → None.
    """

    @EXPLAINED
    def look(answer, draw):
        told, found = None, []
        for case in (*CASES, WHOLE):  # without compression a bias looks like BatchNorm's: only where nothing else fits
            if case is WHOLE and found:
                break
            try:
                expect_fit(case, answer, draw)
                found.append(case)
            except (AnswerError, Wrong) as error:
                told = told or error
        if not found:
            raise told
        for case in found:
            finding(case, answer, draw)

    return look


def expect_fit(case, answer, draw):
    """Raise ``Wrong`` where values cannot be compared."""
    arguments = case.arguments(draw)
    maps = case.images(draw, arguments)
    script = [{"do": "warm up", "images": maps}, {"do": "parameters"}, {"do": "run", "images": maps}]
    _, parameters, reply = answer.ask(probes.play, name="transition", arguments=arguments, script=script)
    kept = channels_after(*arguments)
    if tuple(reply["output"].shape) != (maps.shape[0], kept, maps.shape[2] // 2, maps.shape[3] // 2):
        raise Wrong("values", cause="they cannot be compared while the output has another shape.")
    if (kept, arguments[0], 1, 1) not in [shape for _, shape, _ in parameters]:
        raise Wrong("values", cause="they cannot be compared while the convolution has another weight; see parameters.")


EXERCISE.finding("values", points=2)(fitting(ModuleCase.values_in_eval))
EXERCISE.finding("training", points=1)(fitting(ModuleCase.values_in_training))
EXERCISE.finding("gradients", points=1)(fitting(ModuleCase.gradients))


@EXERCISE.finding("side effects", points=1)
@EXPLAINED
def side_effects(answer, draw):
    """A call leaves the input alone, the next one does not feel it, and two modules share nothing."""
    CASE.side_effects(answer, draw)
    CASE.fresh(answer, draw)
