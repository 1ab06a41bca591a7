"""What all tests share: the repository's root on the path, and no windows."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # bootstrap.py and tests.* are no installed modules
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(scope="module")
def benchmarks():
    """The folder of the benchmarks on the path, for tests that import one of them."""
    folder = str(Path(__file__).resolve().parent.parent / "benchmarks")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)


@pytest.fixture
def quick_capstone(monkeypatch):
    """Let the capstone train for 2 CPU seconds and ask for little; ``test_capstone.py`` runs it in full once."""
    from densenet_course.checks.exercises import capstone

    monkeypatch.setattr(capstone, "CPU_SECONDS", 2.0)
    monkeypatch.setattr(capstone, "HELD_BACK", 1000)
    monkeypatch.setattr(capstone, "LEVELS", (0.15, 0.20, 0.25))


@pytest.fixture(autouse=True)
def _quick_where_all_answers_are_tried(request):
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    if parameters.get("exercise") == "capstone":
        request.getfixturevalue("quick_capstone")
