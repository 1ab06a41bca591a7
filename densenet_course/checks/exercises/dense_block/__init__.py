"""Exercise dense_block: each layer reads the input and all earlier maps, and appends its own."""

from dataclasses import replace

from densenet_course.checks.engine.explain import BLOCK
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises import conv_block
from densenet_course.checks.exercises.dense_block import connectivity
from densenet_course.checks.exercises.dense_block.mistakes import MISFIT, SOLUTION, notes
from densenet_course.checks.kinds.blocks import Block
from densenet_course.checks.kinds.modules import ModuleCase

EXERCISE = Exercise("dense_block", names=["DenseBlock"], title="The dense block", lesson="03_dense_block",
                    given=["densenet_course.layers.conv_block"])


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


def cases(case):
    """Return the ``Block`` of a usual case: the same with other sizes and images."""
    return Block(
        case, short=replace(case, arguments=lambda draw: arguments(draw, draw.integer(1, 2))),
        even=replace(case, arguments=lambda draw: (2, 2 * draw.integer(2, 3), 8)),
        equal=replace(case, arguments=lambda draw: (2, *[draw.integer(3, 6)] * 2)),
        one=replace(case, images=lambda draw, arguments: images(draw, arguments, 1, contrast=4.0)),
    )


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


cases(CASE).register(EXERCISE, (*MISFIT, *BLOCK), who_reads_whom)
