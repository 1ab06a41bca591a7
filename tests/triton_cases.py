"""Triton's kernels against exact arithmetic and against ``layers``, on a CPU: run by ``test_triton.py``.

Triton decides at its import whether it interprets, so these cases have a process of their own, with
TRITON_INTERPRET=1.
"""

import pytest
import torch

from densenet_course.efficient import blocks, gpu, triton_kernels
from densenet_course.efficient.kernels import Operators
from densenet_course.efficient.triton_kernels import TritonPasses, distance, rows
from tests import passes
from tests.test_efficient import NETWORKS, assert_same, bottleneck_net, error, pair, step

LAST = {"memory_format": torch.channels_last}
CPU = torch.device("cpu")
each_dtype = pytest.mark.parametrize("dtype", list(passes.EXACT), ids=str)
each_size = pytest.mark.parametrize("size", [size for size in passes.SIZES if size != "threads"])


@each_dtype
@each_size
def test_the_passes(size, dtype):
    passes.check_activate(TritonPasses, size, dtype)
    passes.check_finish(TritonPasses, size, dtype)
    for offset in (0.0, 100.0):
        passes.check_store(TritonPasses, size, dtype, offset=offset)
    for is_first in (True, False):
        passes.check_send_back(TritonPasses, size, dtype, is_first=is_first)


def test_what_is_not_a_number_stays_visible():
    passes.check_not_a_number(TritonPasses)


def test_maps_are_rows_or_become_rows():
    maps = torch.randn(3, 4, 5, 6)
    last = maps.contiguous(**LAST)
    assert distance(maps) is None and distance(last) == 4 and distance(last[:, 1:3]) == 4
    assert distance(maps[:, :1]) is None, "its images lie further apart"
    assert distance(maps[:1, :1]) == 1 and distance(last[:, :, :, ::2]) == 8
    assert distance(last[:, :, 1:]) is None and distance(last[:, :, :, 1:]) is None
    for other in (maps, last[:, :, 1:], last[:, :, :, 1:], torch.ones(1, 1, 1, 1).expand(3, 4, 5, 6)):
        same, step = rows(other)
        assert torch.equal(same, other) and distance(same) == step == 4


def test_where_no_rows_can_be_written_the_operators_do_it():
    maps, numbers = torch.randn(2, 3, 4, 4), torch.rand(3)
    totals, outs = ([maps.clone(), maps.clone(**LAST)] for _ in range(2))
    assert distance(totals[0]) is None and distance(totals[1]) == 3
    sent = [TritonPasses.send_back(maps, maps, maps, numbers, numbers, total, False) for total in totals]
    stored = [TritonPasses.store(2 * maps, out) for out in outs]
    for a, b in (*zip(*sent, strict=True), *zip(*stored, strict=True), totals, outs):
        torch.testing.assert_close(a, b, check_stride=False)
    assert torch.equal(outs[0], 2 * maps)


@pytest.fixture
def in_triton(monkeypatch):
    """Let Triton's kernels compute, count their calls."""
    calls, launch = [], triton_kernels.launch

    def counted(kernel, *arguments, **constants):
        calls.append(kernel)
        launch(kernel, *arguments, **constants)

    monkeypatch.setattr(triton_kernels, "launch", counted)
    monkeypatch.setattr(blocks, "kernels_for", lambda maps, name: gpu.triton_passes(maps.device))
    return calls


@pytest.mark.parametrize("name", ["bottleneck", "plain with biases", "dropout"])
def test_a_network_computes_what_the_plain_one_does(name, in_triton):
    plain, fast = (model.double() for model in pair(NETWORKS[name]))
    images = torch.randn(3, 3, 8, 8).double()
    for train in (True, False):
        assert_same(step(fast.train(train), images), step(plain.train(train), images), 1e-10)
    assert {kernel.__name__ for kernel in in_triton} == {"_activate", "_store", "_send_back", "_finish"}
    with torch.no_grad():  # another way
        assert (fast.eval()(images) - plain.eval()(images)).abs().max() < 1e-10


def test_bf16_is_as_exact_as_in_the_plain_network(in_triton):
    plain, fast = pair(lambda: bottleneck_net(22))
    images = torch.randn(3, 1, 8, 8)
    right = step(pair(lambda: bottleneck_net(22))[0].double(), images.double())
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (step(m.to(**LAST), images.contiguous(**LAST)) for m in (fast, plain))
    assert in_triton and ours["logits"].dtype == torch.bfloat16
    assert error(ours, right) < 1.5 * error(theirs, right) + 1e-6


def test_where_triton_does_not_work_the_operators_do_it(monkeypatch):
    assert gpu.triton_passes.__wrapped__(CPU) is TritonPasses
    monkeypatch.setattr(triton_kernels, "launch", lambda *a, **k: 1 / 0)
    with pytest.warns(UserWarning, match=r"Triton does not work here \(division by zero\); going on with PyTorch"):
        assert gpu.triton_passes.__wrapped__(CPU) is Operators
