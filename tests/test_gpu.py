"""What a GPU must compute as a CPU does: on the GPU where there is one, else all of it on the CPU.

``make bench-gpu`` runs these tests before it measures anything. In TF32 a GPU rounds as no CPU does, so equality is
asked for in double precision, and in fp32 without TF32.
"""

import copy
import importlib.util

import pytest
import torch

from densenet_course import models
from densenet_course.efficient.blocks import kernels_for
from densenet_course.efficient.kernels import Operators
from densenet_course.measure import saved_bytes
from densenet_course.training import evaluate, fit, predict
from densenet_course.training.checkpoint import load_checkpoint
from densenet_course.training.precision import choose_precision
from tests import passes
from tests.test_efficient import NETWORKS, assert_same, bottleneck_net, error, pair, step
from tests.test_training import small_data, tiny_network

pytestmark = pytest.mark.gpu

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LAST = {"memory_format": torch.channels_last}
each_kernel = pytest.mark.parametrize("kernels", ["operators", "native"])


@pytest.fixture(autouse=True)
def full_fp32(monkeypatch):
    """Let cuDNN convolve fp32 in fp32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@each_kernel
@pytest.mark.parametrize("name, dtype, bound", [
    ("bottleneck", torch.float64, 1e-10), ("plain with biases", torch.float64, 1e-10), ("class", torch.float32, 1e-4),
], ids=str)
def test_an_efficient_network_computes_what_the_plain_one_does(name, dtype, bound, kernels):
    plain, fast = (model.to(DEVICE, dtype) for model in pair(NETWORKS[name], kernels=kernels))
    images = torch.randn(5, 3, 12, 12).to(DEVICE, dtype)
    for train in (True, False):
        assert_same(step(fast.train(train), images), step(plain.train(train), images), bound)


def test_the_device_computes_what_the_cpu_does():
    ours, right = pair(NETWORKS["bottleneck"])[1].double(), pair(NETWORKS["bottleneck"])[1].double()
    images = torch.randn(4, 3, 12, 12).double()
    there = {name: value.cpu() for name, value in step(ours.to(DEVICE), images.to(DEVICE)).items()}
    assert_same(there, step(right, images), 1e-10)


@each_kernel
def test_bf16_is_as_exact_as_in_the_plain_network(kernels):
    plain, fast = pair(lambda: bottleneck_net(40), kernels=kernels)
    images = torch.randn(4, 1, 16, 16)
    right = step(copy.deepcopy(plain).to(DEVICE).double(), images.to(DEVICE).double())
    with torch.autocast(DEVICE.type, torch.bfloat16):
        ours, theirs = (step(m.to(DEVICE, **LAST), images.to(DEVICE).contiguous(**LAST)) for m in (fast, plain))
    assert ours["logits"].dtype == torch.bfloat16
    assert error(ours, right) < 1.5 * error(theirs, right) + 1e-6


@each_kernel
@pytest.mark.parametrize("dtype", list(passes.EXACT), ids=str)
@pytest.mark.parametrize("size", ["part", "vectors", "threads"])
def test_the_passes(size, dtype, kernels):
    kernels = kernels_for(torch.empty(1, device=DEVICE), kernels)
    passes.check_activate(kernels, size, dtype, DEVICE)
    passes.check_finish(kernels, size, dtype, DEVICE)
    for offset in (0.0, 100.0):
        passes.check_store(kernels, size, dtype, DEVICE, offset=offset)
    for is_first in (True, False):
        passes.check_send_back(kernels, size, dtype, DEVICE, is_first=is_first)
    passes.check_not_a_number(kernels, DEVICE)


@pytest.mark.skipif(DEVICE.type == "cpu", reason="there is no GPU; test_triton.py has Triton's interpreter")
def test_triton_works_where_it_is_installed():
    is_there = importlib.util.find_spec("triton") is not None
    assert (kernels_for(torch.empty(1, device=DEVICE), "native") is not Operators) == is_there


def test_a_training_learns_and_goes_on_where_it_was(tmp_path):
    data, precision = small_data(count=256, shuffle=True, device=DEVICE), choose_precision(DEVICE)
    model, path = tiny_network(), tmp_path / "run.pt"
    history = fit(model, data, epochs=8, peak_rate=0.1, device=DEVICE, precision=precision, checkpoint=path)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    logits, labels = predict(model, small_data(device=DEVICE), precision=precision)
    assert logits.device.type == labels.device.type == "cpu"
    assert evaluate(model, small_data(device=DEVICE), precision=precision)[1] > 0.5
    again = tiny_network()
    assert fit(again, data, epochs=8, peak_rate=0.1, device=DEVICE, precision=precision, checkpoint=path) == history
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    assert ("cuda" in load_checkpoint(path)["random"]) == (DEVICE.type == "cuda")


@pytest.mark.usefixtures("benchmarks")
def test_the_efficient_block_needs_less_memory_at_the_peak():
    from meter import meter_for
    from steps import train_step

    images, meter = torch.randn(16, 1, 16, 16, device=DEVICE), meter_for(DEVICE)
    peaks = []
    for efficient in (False, True):
        task = train_step(bottleneck_net(58, efficient=efficient), images, choose_precision(DEVICE, allow_bf16=False))
        task()
        peaks.append(meter.peak_bytes(task))
    assert peaks[1] < 0.6 * peaks[0], peaks
    assert peaks[0] > saved_bytes(bottleneck_net(58).to(DEVICE), images)


@pytest.mark.usefixtures("benchmarks")
def test_a_meter_counts_what_is_held_at_once():
    from meter import meter_for, seconds_of

    def task():
        for _ in range(3):
            torch.ones(10_000_000, device=DEVICE)

    meter = meter_for(DEVICE)
    assert 40_000_000 <= meter.peak_bytes(task) < 41_000_000  # one at a time, in fp32
    assert meter.peak_bytes(lambda: None) == 0
    assert seconds_of(task, meter) > 0


def test_the_trained_network_says_there_what_it_says_here():
    model = models.class_densenet(weights="DEFAULT").eval()
    images = torch.randn(8, 1, 28, 28)
    with torch.no_grad():
        here = model(images)
        assert (model.to(DEVICE)(images.to(DEVICE)).cpu() - here).abs().max() < 1e-3 * here.abs().max()
