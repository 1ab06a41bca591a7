"""A compiled step, forward and backward, gives what PyTorch's operators give in twice the precision."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from densenet_course.efficient.backward import Gradient, run_backward
from densenet_course.efficient.kernels import LAST, Operators, native, wide
from densenet_course.efficient.steps import Call, Parameters, Step, empty_maps, run

SIZES = {  # images, channels read, channels made, height, width, kernel; and the edge of what is averaged before it
    "one vector": (3, 5, 4, 4, 6, (3, 3)), "odd": (2, 33, 7, 7, 7, (3, 3)), "small images": (45, 40, 12, 3, 3, (3, 3)),
    "class network": (2, 64, 16, 14, 14, (3, 3)), "large images": (1, 3, 4, 33, 34, (3, 3)),
    "no neighbours": (3, 37, 9, 5, 7, (1, 1)), "many pixels": (30, 48, 64, 6, 5, (1, 1)),
    "one pixel": (2, 16, 3, 1, 1, (3, 3)), "wide kernel": (4, 20, 33, 6, 5, (1, 5)),
    "one channel": (5, 1, 1, 4, 4, (3, 1)), "transition": (20, 64, 32, 14, 14, (1, 1), 2),
    "edges left out": (3, 20, 9, 7, 5, (1, 1), 2), "large squares": (2, 33, 5, 7, 9, (1, 1), 3),
    "large transition": (1, 3, 4, 33, 34, (1, 1), 2),
}
EXACT = {torch.float32: (torch.float64, 3e-5), torch.bfloat16: (torch.float32, 2e-2)}
pytestmark = pytest.mark.skipif(native() is Operators, reason="no compiler here")


def draw(size, dtype):
    """Draw the numbers of a step and what goes into it and back through it."""
    count, channels, makes, height, width, kernel, *pool = SIZES[size]
    pool = pool[0] if pool else 1
    torch.manual_seed(0)

    def maps(channels, shrink=pool):
        return torch.randn(count, channels, height // shrink, width // shrink).to(dtype).contiguous(**LAST)

    return pool, {
        "gamma": torch.rand(channels) - 0.5, "beta": torch.randn(channels), "source": maps(channels + 3, 1)[:, 3:],
        "weight": (torch.randn(makes, channels, *kernel) / channels**0.5).to(dtype),
        "bias": torch.randn(makes).to(dtype), "keep": (maps(makes) > 0).to(dtype),
        "made": maps(makes), "total": maps(channels, 1),
        "grad": maps(makes + 2)[:, 2:], **{name: torch.randn(makes) / 10 for name in ("mean", "slope", "shift")},
    }


def results(drawn, pool, kernels, dtype, *, has_bias, is_dropped, is_first):
    """Compute the step forward and backward in a format; all that came of it."""
    drawn = {name: value.to(wide(dtype) if value.dim() == 1 and name != "bias" else dtype)
             for name, value in drawn.items()}
    source, weight = drawn["source"], drawn["weight"]
    makes, channels, *kernel = weight.shape
    norm = nn.BatchNorm2d(channels, dtype=wide(dtype))
    conv = nn.Conv2d(channels, makes, kernel, padding=[edge // 2 for edge in kernel], bias=has_bias, dtype=dtype)
    parameters = Parameters(drawn["gamma"], drawn["beta"], weight, drawn["bias"] if has_bias else None)
    var, mean = torch.var_mean(source.to(wide(dtype)), (0, 2, 3), correction=0)
    call = Call(Step(norm, conv, True, pool, kernels), parameters, source, mean, var,
                drawn["keep"] if is_dropped else None)
    out = empty_maps(source, makes + 1, shrink=pool)[:, 1:]
    found = run(call, out, measured=True)
    above = Gradient(drawn["grad"], drawn["made"], drawn["mean"], kernels, drawn["shift"], drawn["slope"])
    below = Gradient(None if is_first else drawn["total"].clone(), source, mean, kernels)
    grads = run_backward(call, above, below, Parameters(True, True, True, has_bias), further=True)
    return [out, *found, below.total, below.shift, below.slope, *grads[:3 + has_bias]]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("options", [(False, False, True), (True, True, False)], ids=["plain", "all"])
@pytest.mark.parametrize("dtype", list(EXACT), ids=str)
@pytest.mark.parametrize("size", list(SIZES))
def test_a_step(size, dtype, options, threads):
    """Up to rounding: of the products in fp32, and of what is stored in bf16."""
    wider, tolerance = EXACT[dtype]
    (pool, drawn), before = draw(size, dtype), torch.get_num_threads()
    how = dict(zip(("has_bias", "is_dropped", "is_first"), options, strict=True))
    torch.set_num_threads(threads)
    ours = results(drawn, pool, native(), dtype, **how)
    torch.set_num_threads(before)
    for i, (a, b) in enumerate(zip(ours, results(drawn, pool, Operators, wider, **how), strict=True)):
        assert a.shape == b.shape
        assert (a.double() - b.double()).abs().max() <= tolerance * b.double().abs().max().clamp_min(1), i


@pytest.mark.parametrize("most", ["AVX512_CORE", "AVX2"])
def test_a_processor_without_brgemm_goes_on_with_convolutions(most):
    """For bf16, which these lack; oneDNN says so by an error that is none of PyTorch's."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_a_step", "-k",
               "class and plain"]
    found = subprocess.run(command, env=os.environ | {"ONEDNN_MAX_CPU_ISA": most}, capture_output=True, text=True)
    assert found.returncode == 0 and "4 passed" in found.stdout, found.stdout[-2_000:]
