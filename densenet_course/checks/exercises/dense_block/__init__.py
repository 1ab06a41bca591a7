"""Exercise dense_block: each layer reads the input and all earlier maps, and appends its own."""

from dataclasses import replace

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.explain import BLOCK, explained
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises import conv_block
from densenet_course.checks.exercises.dense_block import connectivity
from densenet_course.checks.exercises.dense_block.mistakes import (
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

EXERCISE = Exercise("dense_block", names=["DenseBlock"], title="The dense block", lesson="03_dense_block",
                    given=["densenet_course.layers.conv_block"])
EXPLAINED = explained((*MISFIT, *BLOCK))


def arguments(draw, num_layers=None):
    """Draw (num_layers, in_channels, growth_rate) for which known mistakes give other numbers of channels."""
    while True:
        n, c, k = num_layers or draw.integer(3, 4), draw.integer(3, 9), draw.integer(2, 7)
        results = [c + n * k, n * k, k, c + (n - 1) * k, c + (n + 1) * k, c + k, c, 2 * c + n * k]
        if c != k and (n < 3 or len(set(results)) == len(results)):
            return n, c, k


def images(draw, arguments, count=None, **options):
    """Draw maps as for a conv block."""
    return conv_block.images(draw, arguments[1:], count, **options)


CASE = ModuleCase("DenseBlock", SOLUTION, arguments, images, notes=notes, groups=200)
SHORT = replace(CASE, arguments=lambda draw: arguments(draw, draw.integer(1, 2)))
EVEN = replace(CASE, arguments=lambda draw: (2, 2 * draw.integer(2, 3), 8))  # groups=2 would fit
EQUAL = replace(CASE, arguments=lambda draw: (2, *[draw.integer(3, 6)] * 2))  # a shortcut would fit
ONE = replace(CASE, images=lambda draw, arguments: images(draw, arguments, 1, contrast=4.0))


@EXERCISE.finding(SHAPE, points=2)
@EXPLAINED
def shape(answer, draw):
    """(N, C, H, W) becomes (N, C + L·k, H, W), for several layers and for a single one, and for one image."""
    for num_layers, count in ((draw.integer(3, 4), None), (2, None), (1, None), (2, 1)):
        n, c, k = sizes = arguments(draw, num_layers)
        maps = images(draw, sizes, count)
        label = f"DenseBlock({n}, {c}, {k})"

        def view(replies, label=label, why=f"{c} + {n}·{k}"):
            shape = tuple(replies[0]["output"].shape)
            channels = shape[1] if len(shape) == 4 else shape
            return {f"channels after {label}, {why}": channels, f"output shape of {label}": shape}

        request = {"name": "DenseBlock", "arguments": sizes, "script": [{"do": "run", "images": maps}]}
        SOLUTION.hold(answer, draw, probes.play, request, view=view)


@EXERCISE.finding(PARAMETERS, points=1)
@EXPLAINED
def parameters(answer, draw):
    """Each layer has the parameters of one conv block, and PyTorch finds them all."""
    for case in (CASE, EVEN, EQUAL):
        case.parameters(answer, draw)


@EXERCISE.finding("who reads whom", points=2)
@EXPLAINED
def who_reads_whom(answer, draw):
    """Each layer reads the input and all earlier maps: change one source, hold the others, see what moves."""
    found = connectivity.measure(answer, "DenseBlock", arguments(draw, 4), draw)
    rows = found["reads"][:-1]
    missing = [(i, j) for i, row in enumerate(rows) for j in range(i + 1) if not row[j]]
    if missing:
        raise Wrong("connections", cause=f"{_told(missing)}.{_cause(missing, len(rows))}")
    expected = sorted(found["order"])  # a lost input is told under "shape"
    if found["order"] != expected:
        raise Wrong("order in the output", cause=f"expected {connectivity.named(expected)}; "
                    f"got {connectivity.named(found['order'])}. Join as torch.cat([features, new_maps], dim=1).")


def _told(missing):
    i, j = missing[0]
    more = f", and {len(missing) - 1} more links are missing" if len(missing) > 1 else ""
    return f"layer {i + 1} does not read the {f'maps of layer {j}' if j else 'input'}{more}"


def _cause(missing, count):
    pairs = [(i, j) for i in range(count) for j in range(i + 1)]
    causes = (
        (lambda i, j: j < i, " Each layer reads only the one before it. Join everything made so far."),
        (lambda i, j: j > 0, " All layers read only the input. Join the new maps before the next layer reads."),
        (lambda i, j: j == 0 and i > 0, " After the first layer the input is lost."),
        (lambda i, j: j == 0, " The input is not read."),
    )
    return next((text for rule, text in causes if missing == [pair for pair in pairs if rule(*pair)]), "")


@EXERCISE.finding(VALUES, points=2)
@EXPLAINED
def values(answer, draw):
    """The output has the right values in evaluation mode, for long blocks and short ones, and for one image."""
    for case in (CASE, SHORT, EQUAL, ONE):
        case.values_in_eval(answer, draw)


def call_after_call(finding, answer, draw):
    """Look for a finding that calls a block several times; tell it where only the first call works."""
    try:
        finding(answer, draw)
    except AnswerError:
        sizes = arguments(draw)
        once = [{"do": "run", "images": images(draw, sizes), "train": True}]
        answer.ask(probes.play, name="DenseBlock", arguments=sizes, script=once)  # raises if a single call does
        raise Wrong("second call",
                    cause="the first one works, the next one raises. Is a list of maps kept on self? Make it a "
                          "local variable of forward.") from None


@EXERCISE.finding(TRAINING, points=1)
@EXPLAINED
def training(answer, draw):
    """BatchNorm uses the batch's statistics in training, remembers them, and uses them in eval mode."""
    call_after_call(CASE.values_in_training, answer, draw)
    call_after_call(CASE.start_values, answer, draw)


@EXERCISE.finding(GRADIENTS, points=1)
@EXPLAINED
def gradients(answer, draw):
    """The gradients reach the input and every layer's parameters, with the right values."""
    CASE.gradients(answer, draw)


@EXERCISE.finding("repeated calls", points=1)
@EXPLAINED
def repeated_calls(answer, draw):
    """A call leaves the input alone, the next one does not feel it, and two blocks share nothing."""
    call_after_call(CASE.side_effects, answer, draw)
    CASE.fresh(answer, draw)
