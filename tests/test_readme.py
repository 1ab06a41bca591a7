"""README says what the results files say."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def readme():
    """The generator of README's tables."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("readme", ROOT / "benchmarks/readme.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_tables_are_what_the_results_give(readme):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.fill(text) == text, "python benchmarks/readme.py writes them anew"


def test_every_lesson_is_listed(readme):
    assert sorted(readme.LESSONS) == sorted(path.stem for path in (ROOT / "notebooks/source").glob("[0-9]*.py"))
