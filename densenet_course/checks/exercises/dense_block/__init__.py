"""Exercise dense_block: each layer reads the input and all earlier maps, and appends its own."""

from dataclasses import replace
from functools import wraps

from densenet_course import layers
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.expect import expect, expect_close, rehearse
from densenet_course.checks.engine.explain import BLOCK, explained
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises import conv_block
from densenet_course.checks.exercises.dense_block import connectivity
from densenet_course.checks.exercises.dense_block.mistakes import MISFIT, SLIPS, SUSPECTS, notes, slips
from densenet_course.checks.kinds.modules import ModuleCase

EXERCISE = Exercise("dense_block", names=["DenseBlock"], title="The dense block", lesson="03_dense_block",
                    given=["densenet_course.layers.conv_block"])
EXPLAINED = explained((*MISFIT, *BLOCK))


def arguments(draw, num_layers=None):
    """Draw (num_layers, in_channels, growth_rate) for which known mistakes give other numbers of channels."""
    while True:
        n, c, k = num_layers or draw.integer(3, 4), draw.integer(3, 9), draw.integer(2, 7)
        results = [c + n * k, *(formula(n, c, k) for formula, _ in SLIPS)]
        if c != k and (n < 3 or len(set(results)) == len(results)):
            return n, c, k


def images(draw, arguments):
    """Draw maps whose channels differ in mean and spread, with H ≠ W."""
    return conv_block.images(draw, arguments[1:])


CASE = ModuleCase("DenseBlock", layers.DenseBlock, arguments, images, suspects=SUSPECTS, notes=notes)
SHORT = replace(CASE, arguments=lambda draw: arguments(draw, draw.integer(1, 2)))


def ask(answer, sizes, *steps):
    """Build a block on the answer's side and play steps with it."""
    return answer.ask(probes.play, name="DenseBlock", arguments=sizes, script=list(steps))


def comparable(finding):
    """Look at values only where weights can be copied in and the output has the right shape: each is told once."""

    @wraps(finding)
    def look(answer, draw):
        sizes = arguments(draw)
        script = {"do": "warm up", "images": images(draw, sizes)}, {"do": "parameters"}, {"do": "run", "images": images(
            draw, sizes)}
        _, got, reply = ask(answer, sizes, *script)
        _, expected, wanted = rehearse(layers.DenseBlock(*sizes), script)
        if reply["output"].shape != wanted["output"].shape:
            raise Wrong("values", cause="they cannot be compared while the output has another shape.")
        if not {shape for _, shape, _ in expected if len(shape) > 1} <= {shape for _, shape, _ in got}:
            raise Wrong("values",
                        cause="they cannot be compared while the convolutions have other weights; see parameters.")
        finding(answer, draw)

    return look


@EXERCISE.finding("shape", points=2)
@EXPLAINED
def shape(answer, draw):
    """(N, C, H, W) becomes (N, C + L·k, H, W), for several layers and for a single one."""
    for num_layers in (draw.integer(3, 4), 2, 1):
        n, c, k = arguments(draw, num_layers)
        maps, total = images(draw, (n, c, k)), c + n * k
        got = tuple(ask(answer, (n, c, k), {"do": "run", "images": maps})[0]["output"].shape)
        if len(got) == 4:
            expect(f"channels after DenseBlock({n}, {c}, {k})", total, got[1], because=f"= {c} + {n}·{k}",
                   suspects=slips(n, c, k))
        expect(f"output shape of DenseBlock({n}, {c}, {k})", (maps.shape[0], total, *maps.shape[2:]), got)


@EXERCISE.finding("parameters", points=1)
@EXPLAINED
def parameters(answer, draw):
    """Each layer has the parameters of one conv block, and PyTorch finds them all."""
    sizes = arguments(draw)
    if not ask(answer, sizes, {"do": "warm up", "images": images(draw, sizes)}, {"do": "parameters"})[1]:
        raise Wrong("parameters", cause="the block has none. Are its layers in a plain Python list? Use nn.ModuleList.")
    CASE.parameters(answer, draw)


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


@EXERCISE.finding("values", points=2)
@EXPLAINED
@comparable
def values(answer, draw):
    """The output has the right values in evaluation mode, for long blocks and short ones."""
    CASE.values_in_eval(answer, draw)
    SHORT.values_in_eval(answer, draw)


def call_after_call(finding, answer, draw):
    """Look for a finding that calls a block several times; tell it where only the first call works."""
    try:
        finding(answer, draw)
    except AnswerError:
        sizes = arguments(draw)
        ask(answer, sizes, {"do": "run", "images": images(draw, sizes), "train": True})  # raises if a single call does
        raise Wrong("second call",
                    cause="the first one works, the next one raises. Is a list of maps kept on self? Make it a "
                          "local variable of forward.") from None


@EXERCISE.finding("training", points=1)
@EXPLAINED
@comparable
def training(answer, draw):
    """BatchNorm uses the batch's statistics in training, remembers them, and uses them in evaluation mode."""
    call_after_call(CASE.values_in_training, answer, draw)


@EXERCISE.finding("gradients", points=1)
@EXPLAINED
@comparable
def gradients(answer, draw):
    """The gradients reach the input and every layer's parameters, with the right values."""
    (expected,), (got,), wrong = CASE.play(answer, draw, {"do": "run", "train": True, "upstream": True})
    replies = [(reply, message) for (reply,), message in wrong]
    expect_close("output in train mode", expected["output"], got["output"],
                 suspects=[(reply["output"], message) for reply, message in replies])
    if got["input_gradient"] is None:
        raise Wrong("gradients",
                    cause="none comes back to the input. Is there a detach(), no_grad() or .data on the way?")
    lost = [shape for shape in expected["gradients"] if shape not in got["gradients"]]
    if lost:
        raise Wrong("gradients", cause=f"none reaches the parameter of shape {lost[0]}. Is it used, and not detached?")
    expect_close("gradient of the input", expected["input_gradient"], got["input_gradient"], tolerance=2e-3,
                 suspects=[(r["input_gradient"], message) for r, message in replies if r["input_gradient"] is not None])
    for shape, value in expected["gradients"].items():
        expect_close(f"gradient of the parameters of shape {shape}", value, got["gradients"][shape], tolerance=2e-3)


@EXERCISE.finding("repeated calls", points=1)
@EXPLAINED
def repeated_calls(answer, draw):
    """A call leaves the input alone, the next one does not feel it, and two blocks share nothing."""
    call_after_call(CASE.side_effects, answer, draw)
    CASE.fresh(answer, draw)
