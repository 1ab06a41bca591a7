"""Odd but honest networks for the capstone: the judge's list computes what they compute, gradients and all."""

import contextlib
import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_course.grading.committing import ALONE
from densenet_course.grading.operations import Refused
from densenet_course.grading.playing import play
from densenet_course.grading.watching import MOST_LOOKS
from tests.test_grading_committed import Called, Direct, alike, scripts

IMAGES = 4, 3, 8, 8


class Swish(torch.autograd.Function):
    """With what forward passes of such functions hold, and need not: a switch of gradients, a detach()."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        with torch.no_grad():
            share = torch.sigmoid(x.detach())
        return x * share

    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        share = torch.sigmoid(x)
        return gradient * (share + x * share * (1 - share))


def scaled(module, x):
    return (x * module.weight.view(-1, 1, 1)).relu()


def coordinates(module, x):
    if not hasattr(module, "grid"):  # made once
        module.grid = torch.linspace(-1, 1, x.shape[-1]).expand(1, 1, *x.shape[2:])
    return torch.cat([scaled(module, x), module.grid.expand(len(x), -1, -1, -1)], 1)


@functools.lru_cache
def ramp(width):
    return torch.linspace(-1, 1, width)


def looks(module, x):
    assert torch.isfinite(x).all()
    if torch.isnan(x).any():
        print("NaN")
    str(x.mean().item())
    return scaled(module, x)


def many_looks(module, x):
    for _ in range(MOST_LOOKS):
        assert torch.isfinite(x).all()
        x = x * 1
    return scaled(module, x)


def half_precision(module, x):
    with torch.autocast("cpu", torch.bfloat16):
        maps = F.conv2d(x, module.weight.repeat(4, 1)[..., None, None])
        with torch.autocast("cpu", enabled=False):
            total = maps.float().sum((2, 3)) @ module.weight.repeat(4, 1)
    with torch.autocast("cuda"):
        return total.float() * 2


def off_loaded(module, x):
    with torch.autograd.graph.save_on_cpu():
        return scaled(module, x)


class Deep(nn.Module):
    """Without a norm; weights of one size everywhere would take it beyond what a number can hold."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Conv2d(3 if i == 0 else 32, 32, 3, padding=1) for i in range(24)))

    def forward(self, x):
        x = self.layers(x)
        assert torch.isfinite(x).all()
        return x


class Statistics(nn.Module):
    """Its mean is replaced by another tensor."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 1, 1))
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3))[:, None, None]
        return (x - self.mean) * self.weight


def called(function):
    return lambda: Called(function)


NETWORKS = {
    "a checkpoint": called(lambda m, x: checkpoint(scaled, m, x, use_reentrant=False)),
    "a reentrant checkpoint": called(lambda m, x: checkpoint(scaled, m, x * m.weight.mean(), use_reentrant=True) + x),
    "a function of its own": called(lambda m, x: Swish.apply(scaled(m, x)) + m.weight.view(-1, 1, 1)),
    "saved elsewhere": called(off_loaded), "a cache": called(coordinates), "autocast": called(half_precision),
    "a cache outside": called(lambda m, x: scaled(m, x) + ramp(x.shape[-1])), "looks at values": called(looks),
    "many looks": called(many_looks), "deep": Deep, "statistics": Statistics,
    "looks at constants": called(lambda m, x: scaled(m, x) * int(torch.tensor(x.shape[1:]).prod())),
}


def committed(builder, alone=True):
    source = Direct(builder)
    source.alone = alone
    return source, source()


@pytest.mark.parametrize("label", NETWORKS)
def test_an_odd_network_is_played_as_it_is(label):
    torch.manual_seed(0)
    module, images = NETWORKS[label](), torch.randn(IMAGES)
    fresh = copy.deepcopy(module)  # its first call is the judge's
    with torch.no_grad():
        upstream = torch.randn_like(module.eval()(images))
    module.train()
    source, played = committed(lambda: fresh)
    assert alike(scripts(played, images, upstream), scripts(module, images, upstream))
    assert not source.refused
    assert not torch.is_autocast_enabled("cpu")


class Counted(nn.Module):
    """Does something else from the third step on."""

    def __init__(self, start):
        super().__init__()
        self.steps, self.weight = nn.Buffer(torch.tensor(start)), nn.Parameter(torch.randn(3))

    def forward(self, x):
        self.steps += 1
        return scaled(self, x) if self.steps > 1_000 else x


class Fused(nn.Module):
    """Keeps what it has computed from its weights."""

    def __init__(self):
        super().__init__()
        self.weight, self.kept = nn.Parameter(torch.randn(3, 1, 1)), None

    def forward(self, x):
        if self.kept is None:
            self.kept = self.weight.exp().detach()
        return x * self.kept


NOT_PLAYED = {
    "a number from the data": called(lambda m, x: x * x.mean().item()),
    "a number from the weights": called(lambda m, x: x * m.weight[0].item()),
    "a count": lambda: Counted(0), "a count in floating point": lambda: Counted(0.0),
    "a mean over all batches": lambda: nn.BatchNorm2d(3, momentum=None),
    "a place": called(lambda m, x: x[:, int(m.weight.argmax())]), "a place by chance": called(
        lambda m, x: x[:, int(torch.randint(0, 1, ()))]),
    "chance": called(lambda m, x: x * 2 if torch.rand(()) < 1e-9 else x),
    "weights of the first call": Fused, "too many looks": called(lambda m, x: many_looks(m, many_looks(m, x))),
    "a count of its calls": called(lambda m, x: (m.__dict__.setdefault("calls", []).append(1), x * len(m.calls))[1]),
}


@pytest.mark.parametrize("label", NOT_PLAYED)
def test_what_no_list_can_say_is_refused(label):
    source, played = committed(NOT_PLAYED[label])
    with pytest.raises(Refused):
        played(torch.randn(IMAGES))
    assert source.refused


@pytest.mark.parametrize("label", ["a checkpoint", "a function of its own", "saved elsewhere", "a cache"])
def test_where_more_than_the_list_is_judged_it_must_say_all(label):
    assert ALONE == ("capstone",)
    source, played = committed(NETWORKS[label], alone=False)
    with pytest.raises(Refused):
        played(torch.randn(IMAGES))
    assert source.refused


@pytest.mark.parametrize("arguments", [["cpu", {"dtype": "float64"}, True, False], ["cpu", None, True], [3], ["x"],
                                       [[["cpu"]]], [{"#": 0}]])
def test_a_list_leaves_no_switch_behind(arguments):
    on = ["autocast", ["cpu", {"dtype": "bfloat16"}, True, False], {}]
    program = {"operations": [on, ["autocast", arguments, {}]], "result": {"#": 0}, "inputs": 1}
    with contextlib.suppress(Refused):
        play(program, [torch.ones(2)], {})
    assert not torch.is_autocast_enabled("cpu")
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16
