"""What all tests share: the repository's root on the path, and no windows."""

import os
import sys
from pathlib import Path

import pytest

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
