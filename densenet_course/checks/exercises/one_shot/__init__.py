"""Exercise one_shot: a chain of conv blocks whose maps are joined only once, at the end."""

from dataclasses import replace

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.explain import BLOCK, explained
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.dense_block import EQUAL as OF_EQUAL_WIDTHS
from densenet_course.checks.exercises.dense_block import EVEN as OF_EVEN_WIDTHS
from densenet_course.checks.exercises.dense_block import arguments, connectivity, images
from densenet_course.checks.exercises.one_shot.mistakes import (
    GRADIENTS,
    MISFIT,
    PARAMETERS,
    SHAPE,
    SOLUTION,
    TRAINING,
    VALUES,
    notes,
)
from densenet_course.checks.kinds.modules import ModuleCase

NAME = "OneShotBlock"
EXERCISE = Exercise("one_shot", names=[NAME], title="A block that joins once", lesson="12_relatives",
                    given=["densenet_course.layers.conv_block"])
EXPLAINED = explained((*MISFIT, *BLOCK))
CASE = ModuleCase(NAME, SOLUTION, arguments, images, notes=notes)
SHORT = replace(CASE, arguments=lambda draw: arguments(draw, draw.integer(1, 2)))
EVEN, EQUAL = (replace(CASE, arguments=case.arguments) for case in (OF_EVEN_WIDTHS, OF_EQUAL_WIDTHS))
ONE = replace(CASE, images=lambda draw, arguments: images(draw, arguments, 1, contrast=4.0))


@EXERCISE.finding(SHAPE, points=2)
@EXPLAINED
def shape(answer, draw):
    """(N, C, H, W) becomes (N, C + L·k, H, W), for several layers and for a single one, and for one image."""
    for num_layers, count in ((draw.integer(3, 4), None), (2, None), (1, None), (2, 1)):
        n, c, k = sizes = arguments(draw, num_layers)
        label = f"{NAME}({n}, {c}, {k})"

        def view(replies, label=label, why=f"{c} + {n}·{k}"):
            shape = tuple(replies[0]["output"].shape)
            channels = shape[1] if len(shape) == 4 else shape
            return {f"channels after {label}, {why}": channels, f"output shape of {label}": shape}

        request = {"name": NAME, "arguments": sizes, "script": [{"do": "run", "images": images(draw, sizes, count)}]}
        SOLUTION.hold(answer, draw, probes.play, request, view=view)


@EXERCISE.finding(PARAMETERS, points=1)
@EXPLAINED
def parameters(answer, draw):
    """The first layer has the parameters of a conv block on the input, each later one those of one on k maps."""
    for case in (CASE, EVEN, EQUAL):
        case.parameters(answer, draw)


@EXERCISE.finding("who reads whom", points=2)
@EXPLAINED
def who_reads_whom(answer, draw):
    """Each layer reads the one before it and no other: change one source, hold the others, see what moves."""
    found = connectivity.measure(answer, NAME, arguments(draw, 4), draw)
    rows = found["reads"][:-1]
    for i, row in enumerate(rows):
        if not row[i]:
            raise Wrong("connections", cause=f"layer {i + 1} does not read {_named(i)}. Each layer reads the maps of "
                                             "the one before, the first the input.")
        more = [j for j in range(i) if row[j]]
        if more:
            raise Wrong("connections", cause=f"layer {i + 1} reads {_named(more[0])} too. Each layer reads the maps "
                                             "of the one before, and nothing else.")
    if found["order"] != sorted(found["order"]):  # a lost input is told under "shape"
        raise Wrong("order in the output", cause=f"expected {connectivity.named(sorted(found['order']))}; "
                    f"got {connectivity.named(found['order'])}.")


def _named(source):
    return f"the maps of layer {source}" if source else "the input"


@EXERCISE.finding(VALUES, points=2)
@EXPLAINED
def values(answer, draw):
    """The output has the right values in evaluation mode, for long blocks and short ones, and for one image."""
    for case in (CASE, SHORT, EQUAL, ONE):
        case.values_in_eval(answer, draw)


@EXERCISE.finding(TRAINING, points=1)
@EXPLAINED
def training(answer, draw):
    """BatchNorm uses the batch's statistics in training, remembers them, and uses them in eval mode."""
    CASE.values_in_training(answer, draw)
    CASE.start_values(answer, draw)


@EXERCISE.finding(GRADIENTS, points=1)
@EXPLAINED
def gradients(answer, draw):
    """The gradients reach the input and every layer's parameters, with the right values."""
    CASE.gradients(answer, draw)


@EXERCISE.finding("repeated calls", points=1)
@EXPLAINED
def repeated_calls(answer, draw):
    """A call leaves the input alone, the next one does not feel it, and two blocks share nothing."""
    CASE.side_effects(answer, draw)
    CASE.fresh(answer, draw)
