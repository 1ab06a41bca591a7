"""What all tests share: the repository's root on the path, and no windows."""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # bootstrap.py and tests.* are no installed modules
os.environ.setdefault("MPLBACKEND", "agg")


def pytest_addoption(parser):
    """Let ``--seeds 30`` judge every answer thirty times: no verdict may depend on the numbers that are drawn."""
    parser.addoption("--seeds", type=int, default=1, help="judge each answer with the seeds 0 … SEEDS − 1")


@pytest.fixture
def seeds(request):
    """List the seeds to judge with: one that stays, so that a change makes a test fail, and not chance."""
    return range(request.config.getoption("--seeds"))


@pytest.fixture(scope="module")
def benchmarks():
    """The folder of the benchmarks on the path, for tests that import one of them."""
    folder = str(Path(__file__).resolve().parent.parent / "benchmarks")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture
def quick_capstone(monkeypatch):
    """Let the capstone train for a moment and ask for little; ``test_capstone.py`` runs it in full once."""
    from densenet_course.checks.exercises import capstone

    monkeypatch.setattr(capstone, "BUDGET", 24)
    monkeypatch.setattr(capstone, "HELD_BACK", 1000)
    for levels in ("LEVELS", "SAMPLE_LEVELS"):
        monkeypatch.setattr(capstone, levels, (0.15, 0.20, 0.25))


@pytest.fixture(autouse=True)
def _quick_where_all_answers_are_tried(request):
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    if parameters.get("exercise") == "capstone":
        request.getfixturevalue("quick_capstone")


@pytest.fixture(autouse=True)
def _pytorch_is_left_as_it_was():
    """Fail the test that leaves PyTorch changed, not one of those that come after it in the same process."""
    before = _settings()
    yield
    assert _settings() == before, "the test left PyTorch changed"


def _settings():
    hooks = torch.nn.modules.module
    nesting = torch.autocast_increment_nesting()
    torch.autocast_decrement_nesting()
    numbers = torch.tensor([3, 9, 5])
    return {
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), nesting),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "oneDNN": torch.backends.mkldnn.enabled,
        "modes": (torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()),
        "hooks of all modules": (len(hooks._global_forward_hooks), len(hooks._global_forward_pre_hooks),
                                 len(hooks._global_backward_hooks)),
        "comparison": (numbers == numbers.clone()).tolist(),
        "largest": numbers.argmax().item(),
    }
