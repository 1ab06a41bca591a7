"""README says what the results files say."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def readme(benchmarks):
    """The generator of README's tables."""
    import readme

    return readme


def test_tables_are_what_the_results_give(readme):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.fill(text) == text, "python benchmarks/readme.py writes them anew"


def test_every_lesson_is_listed(readme):
    assert sorted(readme.LESSONS) == sorted(path.stem for path in (ROOT / "notebooks/source").glob("[0-9]*.py"))
