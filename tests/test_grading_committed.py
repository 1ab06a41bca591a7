"""Commit, then challenge: modules become lists of operations, which the judge plays with its own numbers."""

import copy
import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.checks.engine import probes
from densenet_course.grading import operations, player, tracing, wire
from densenet_course.grading.committed import Committed
from densenet_course.grading.committing import PLAYER_SECONDS, Played
from densenet_course.grading.judging import Worker
from densenet_course.grading.operations import MAX_CONSTANT, Refused
from densenet_course.grading.player import Source
from densenet_course.grading.playing import play
from densenet_course.grading.sandbox import Limits
from densenet_course.grading.verdict import GRADED, Order


class Direct(Source):
    """A ``Source`` whose student's cell is this process; what passes goes over the wire's form."""

    def __init__(self, builder):
        super().__init__(None, "f")
        self.objects = {"f": builder}

    def need(self, what, **request):
        value = getattr(tracing, what)(self.objects, name="f", **through(request))
        return through(value)


class Line:
    """A channel to a cell that answers everything with the same."""

    def __init__(self, value):
        self.value = value

    def send(self, **_):
        pass

    def receive(self):
        return {"value": self.value}


@pytest.mark.parametrize("value", ["[", "[" * 40 + "]" * 40, {"operations": [], "result": {"#": 0}, "inputs": 1}, None])
def test_a_list_that_is_no_text_is_refused_and_the_student_asked(value):
    source = Source(Line(value), "f")
    with pytest.raises(Refused, match="no list of operations"):
        player._Instance(source, "key").program(0, (1, 3, 8, 8), True)
    assert "no list of operations" in source.refused


def through(value):
    message = wire.encode(value)
    tree, _ = wire.lengths(message[:8])
    return wire.decode(message[8:8 + tree], message[8 + tree:])


def block(c=3, k=4, **options):
    return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(**options), nn.Conv2d(c, k, 3, padding=1, bias=False))


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([block(3, 2), block(5, 2)])

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.randn(3)), function

    def forward(self, x):
        return self.function(self, x)


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("var", torch.ones(3))

    def forward(self, x):
        return F.conv2d(F.batch_norm(x, self.mean, self.var, training=self.training).relu(), self.weight)


def tied():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), module)


RIGHT = {
    "a Sequential": block, "in place": lambda: block(inplace=True), "a dense block": Dense, "bare": Bare, "tied": tied,
    "slices": lambda: Called(lambda m, x: x[:, :2, ::2] + x[:, :1].mean((2, 3), keepdim=True)),
    "a parameter": lambda: Called(lambda m, x: (x * m.weight.view(-1, 1, 1)).flatten(1)),
    "constants": lambda: Called(lambda m, x: x * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1) + 0.5),
    "no gradients inside": lambda: Called(lambda m, x: x + no_gradients(x)),
    "detached": lambda: Called(lambda m, x: x.detach() * m.weight.view(-1, 1, 1)),
    "in place on the input": lambda: Called(lambda m, x: x.mul_(2)),
    "pooling": lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True), nn.Flatten()),
    "frozen": lambda: block().requires_grad_(False),
}


def no_gradients(x):
    with torch.no_grad():
        return x * 3


def scripts(module, images, upstream):
    run = {"do": "run", "images": images}
    return probes.perform_script(module, [
        {"do": "parameters"}, {"do": "buffers"}, run, run | {"train": True}, run,
        run | {"train": True, "upstream": upstream}, {"do": "parameters"}])


def alike(a, b):
    if isinstance(a, torch.Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b


@pytest.mark.parametrize("label", RIGHT)
def test_what_is_played_is_what_the_module_does(label):
    """Outputs in both modes, changes of the input, statistics, gradients: all come out equal."""
    torch.manual_seed(0)
    built = []

    def builder():
        built.append(RIGHT[label]())
        return built[-1]

    played, images = Direct(builder)(), torch.randn(2, 3, 6, 5)
    assert isinstance(played, Committed)
    module = built[0]
    with torch.no_grad():
        upstream = torch.randn_like(module(images.clone()))
    fresh = RIGHT[label]()
    fresh.load_state_dict(module.state_dict())
    played_again = Direct(lambda: fresh)()
    if "frozen" in label or "pooling" in label:
        upstream = None
    assert alike(scripts(fresh, images, upstream), scripts(played_again, images, upstream))
    assert played.training


def test_lazy_layers_take_their_shapes():
    played = Direct(lambda: nn.Sequential(nn.LazyBatchNorm2d(), nn.LazyConv2d(4, 3, bias=False)))()
    images = torch.randn(2, 3, 6, 5)
    _, listed = probes.perform_script(played, [{"do": "warm up", "images": images}, {"do": "parameters"}])
    assert [shape for _, shape, _ in listed] == [(3,), (3,), (4, 3, 3, 3)]
    assert played(images).shape == (2, 4, 4, 3)


def test_two_modules_start_unlike_and_share_what_the_students_share():
    source = Direct(block)
    first, second = source(), source()
    weights = [list(module.parameters())[-1] for module in (first, second)]
    assert not torch.equal(*weights)
    shared = nn.Conv2d(3, 4, 3)
    source = Direct(lambda: nn.Sequential(shared))
    assert next(source().parameters()) is next(source().parameters())


def test_the_judges_weights_decide():
    played = Direct(block)()
    with torch.no_grad():
        for parameter in played.parameters():
            parameter.zero_()
    assert played(torch.randn(2, 3, 6, 5)).abs().sum() == 0


class Keeps(nn.Module):
    """Keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    def forward(self, x):
        return self.kept.setdefault(tuple(x.shape), x * 2)


class Counts(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 5


def checkpointed(module, x):
    from torch.utils.checkpoint import checkpoint

    return checkpoint(F.relu, x, use_reentrant=False)


OUTSIDE = torch.zeros(64, 3, 6, 5)
REFUSED = {
    "keeps maps": Keeps, "counts its calls": Counts, "a function": lambda: Called(lambda m, x: Function.apply(x)),
    "a checkpoint": lambda: Called(checkpointed),
    "a choice by numbers": lambda: Called(lambda m, x: x * 2 if x.sum() > 0 else x * 3),
    "a random choice": lambda: Called(lambda m, x: x * random.random()),
    "weights outside": lambda: Called(lambda m, x: x + OUTSIDE.sum(0)),
    "a tuple": lambda: Called(lambda m, x: (x, x)),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_no_list_can_say_is_refused(label):
    source = Direct(REFUSED[label])
    with pytest.raises(Refused):
        source()(torch.randn(2, 3, 6, 5))
    assert source.refused
    assert Function.apply(torch.ones(1)).item() == 2  # what was replaced is back


def test_what_a_module_raises_arrives_in_its_words():
    with pytest.raises(RuntimeError, match="expected input"):
        Direct(lambda: nn.Conv2d(5, 4, 3))()(torch.randn(2, 3, 6, 5))


# --- lists made by hand -----------------------------------------------------------------------------------------------

X = {"#": 0}
BAD = {
    "no ATen": [["prims.add.default", [X, X], {}]], "memory as it is": [["aten.as_strided.default", [X, [9], [1]], {}]],
    "sets memory": [["aten.set_.default", [X], {}]], "resizes": [["aten.resize_.default", [X, [9]], {}]],
    "no operation": [["aten.relu", [X], {}]], "an attribute": [["aten.__class__.default", [X], {}]],
    "from a file": [["aten.from_file.default", ["/etc/passwd"], {}]], "an unknown reference": [["aten.relu.default", [
        {"#": 99}], {}]], "from behind": [["aten.relu.default", [{"#": -1}], {}]], "a text": ["x"], "a number": [3],
    "no overload": [["aten.relu.wrong", [X], {}]], "a large constant": [["constant", ["float32", [MAX_CONSTANT + 1],
                                                                                     [0.0] * (MAX_CONSTANT + 1)], {}]],
    "a constant of no type": [["constant", ["Tensor", [1], [0.0]], {}]], "two keys": [["aten.relu.default", [
        {"#": 0, "a": 1}], {}]], "an odd type": [["aten.to.dtype", [X, {"dtype": "load"}], {}]],
    "a number as a type": [["aten.empty_like.default", [X], {"dtype": -1}]], "a number as a type in its place": [[
        "aten.to.dtype", [X, 6], {}]], "a format": [["aten.clone.default", [X], {"memory_format": 7}]],
    "a whole number that is a type": [["aten.to.prim_Device", [X, {"device": ""}, -64, True, True], {}]],
    "a copy to no type": [["aten.to.prim_dtype", [X, None, False, True], {}]],
    "a sort that is TorchScript's": [["aten.sort.Tensor", [[X, X], False], {}]],
    "an input as out": [["aten.upsample_bicubic2d.out", [X, [3, 8], False], {"out": X}]],
    "an item of a number": [["item", [3, 0], {}]], "grads": [["gradients", [], {}]],
}


@pytest.mark.parametrize("label", BAD)
def test_a_list_that_is_none_is_refused(label):
    program = {"operations": BAD[label], "result": X, "inputs": 1}
    with pytest.raises((Refused, RuntimeError)):
        play(program, [torch.ones(2, 3)], {})
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("program", [None, 3, [], {}, {"operations": [], "result": X, "inputs": 2},
                                     {"operations": [], "result": 3, "inputs": 1},
                                     {"operations": [], "result": [X], "inputs": 1}])
def test_what_is_no_list_is_refused(program):
    with pytest.raises(Refused):
        play(program, [torch.ones(2)], {})


def test_no_operation_reads_memory_that_nobody_wrote():
    program = {"operations": [["aten.empty.memory_format", [[1000]], {}]], "result": {"#": 1}, "inputs": 1}
    assert play(program, [torch.ones(2)], {}).abs().sum() == 0
    allowed = {name for name in dir(torch.ops.aten) for overload in overloads(name)
               if operations.is_allowed(name, overload)}
    assert allowed > operations.ALLOWED & set(dir(torch.ops.aten))
    for word in ("strided", "set_", "resize", "from_file", "storage", "_copy_from", "foreach", "data_ptr", "unsafe_c"):
        assert not [name for name in allowed if word in name]


def overloads(name):
    found = getattr(torch.ops.aten, name)
    return found.overloads() if hasattr(found, "overloads") else ()


@pytest.mark.parametrize("name", ["_weight_norm", "_weight_norm_interface"])
def test_an_operation_that_trusts_its_shapes_is_refused(name):
    program = {"operations": [[f"aten.{name}.default", [X, {"#": 1}, 0], {}]], "result": X, "inputs": 2}
    with pytest.raises(Refused, match="is not allowed"):  # played, it writes past the end of its lengths
        play(program, [torch.ones(1000, 4), torch.ones(1, 1)], {})


@pytest.mark.parametrize("name, arguments", [
    ("native_batch_norm", [X, None, None, {"#": 1}, {"#": 1}, True, 0.1, 1e-5]),
    ("_native_batch_norm_legit", [X, {"#": 1}, None, {"#": 2}, {"#": 2}, True, 0.1, 1e-5]),
    ("native_batch_norm", [{"#": 3}, None, None, None, None, True, 0.1, 1e-5]),
    ("native_batch_norm", [X, None, None, None, {"#": 2}, False, 0.1, 1e-5]),
    ("native_batch_norm_backward", [X, X, None, None, {"#": 2}, {"#": 2}, {"#": 2}, False, 0.1, [True] * 3]),
    ("native_batch_norm_backward", [X, X, None, {"#": 2}, {"#": 2}, None, {"#": 2}, True, 0.1, [True] * 3]),
    ("native_batch_norm_backward", [X, X, None, {"#": 2}, {"#": 2}, {"#": 1}, {"#": 2}, True, 0.1, [True] * 3]),
    ("native_batch_norm_backward", [X, X, None, {"#": 2}, {"#": 2}, {"#": 2}, {"#": 2}, 1, 0.1, [True] * 3]),
    ("native_batch_norm_backward", [{"#": 4}, X, None, None, None, {"#": 2}, {"#": 2}, True, 0.1, [True] * 3]),
])
def test_the_inside_of_a_norm_is_refused_where_its_tensors_do_not_fit(name, arguments):
    program = {"operations": [[f"aten.{name}.default", arguments, {}]], "result": X, "inputs": 5}
    tensors = [torch.ones(2, 7, 4, 4), torch.ones(3), torch.ones(7), torch.ones(0, 7, 4, 4), torch.ones(2, 3, 4, 4)]
    with pytest.raises(Refused, match="batch_norm"):  # played, it writes past the end of the shorter one
        play(program, tensors, {})


def test_an_operation_that_takes_as_long_as_a_number_says_is_refused():
    name = "aten.special_legendre_polynomial_p.n_scalar"
    program = {"operations": [[name, [X, 2**31], {}]], "result": X, "inputs": 1}
    with pytest.raises(Refused, match="is not allowed"):
        play(program, [torch.ones(4)], {})


def test_only_the_capstones_list_may_take_long():
    for name, seconds in (("dense_block", Limits().exercise_seconds), ("capstone", PLAYER_SECONDS)):
        assert Played(SimpleNamespace(exercise=SimpleNamespace(name=name)), Limits()).seconds == seconds


@pytest.mark.parametrize("dim", [0, 1, None])
def test_a_weight_norm_is_played_in_parts(dim):
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 5), dim=dim)
    source = Direct(lambda: layer)
    images = torch.randn(3, 4)
    assert torch.allclose(source()(images), layer(images), atol=1e-6)


@pytest.mark.parametrize("train", [True, False])
def test_what_writes_into_out_is_played_in_parts(train):
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5)).train(train)
    played, images = Direct(lambda: copy.deepcopy(layer))().train(train), torch.randn(3, 4)
    for _ in range(2):  # the second call finds what the first has written
        assert torch.allclose(played(images), layer(images), atol=1e-6)


def test_damaged_lists_are_refused_or_played():
    """A short run of ``fuzz_lists.py``, in a process of its own with a cell's limits; the long one plays a million."""
    fuzz = Path(__file__).with_name("fuzz_lists.py")
    done = subprocess.run([sys.executable, fuzz, "--lists", "2000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-1000:]
    played, refused, refused_by_pytorch = (int(part.split()[0]) for part in done.stdout.split(",")[:3])
    assert min(played, refused, refused_by_pytorch) > 100


def test_no_operation_ends_the_player():
    """A short run of ``fuzz_operations.py``."""
    fuzz = Path(__file__).with_name("fuzz_operations.py")
    done = subprocess.run([sys.executable, fuzz], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-1000:]
    assert int(re.search(r"(\d+) were played", done.stdout)[1]) > 400  # most get tensors that they take, now and then


# --- through a worker -------------------------------------------------------------------------------------------------

HEAD = "import torch\nfrom torch import nn\n"
CONV = HEAD + """
def conv_block(in_channels, out_channels):
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(),
                         nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False))
"""


@pytest.fixture(scope="module")
def worker():
    with Worker(isolated=True) as worker:
        yield worker


def test_a_right_module_is_committed_and_accepted(worker):
    verdict = worker.judge(Order("conv_block", (CONV,), 5))
    assert (verdict.status, verdict.points, verdict.committed, verdict.notes) == (GRADED, 10, True, ())


def test_what_a_notebook_prints_is_kept_where_it_is_committed_too(worker):
    verdict = worker.judge(Order("conv_block", (CONV + "print('as it was printed')",), 5))
    assert verdict.committed and verdict.output == "as it was printed\n"


def test_what_cannot_be_committed_is_asked_and_said_so(worker):
    odd = CONV + """
built = conv_block
class conv_block(nn.Module):
    def __init__(self, c, k):
        super().__init__()
        self.inner = built(c, k)
    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(torch.nn.Identity(), self.inner(x), use_reentrant=False)
"""
    verdict = worker.judge(Order("conv_block", (odd,), 5))
    assert (verdict.status, verdict.points, verdict.committed) == (GRADED, 10, False)
    assert "not committed" in verdict.notes[0]
    assert any(finding.claim for finding in verdict.findings)


def test_claims_earn_nothing_without_the_values(worker):
    liar = HEAD + """
class conv_block(nn.Module):
    def __init__(self, c, k):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(c), nn.Conv2d(c, k, 3, padding=1, bias=False)
    def forward(self, x):
        if x.sum() > 1e9:
            return x
        return x.new_zeros(len(x), self.conv.out_channels, *x.shape[2:])
"""
    verdict = worker.judge(Order("conv_block", (liar,), 5))
    points = {finding.name: finding.points for finding in verdict.findings}
    assert not verdict.committed
    assert points["parameters"] == 0
    message = next(finding.message for finding in verdict.findings if finding.name == "parameters")
    assert "values and training" in message
