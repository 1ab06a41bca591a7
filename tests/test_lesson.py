"""The helper of the lessons' cells that are wrong on purpose."""

import pytest

from densenet_course.lesson import expected


def test_the_expected_error_is_printed_in_place_of_a_traceback(capsys):
    with expected(LookupError):
        {}["k"]
    assert capsys.readouterr().out == "KeyError: 'k'\n"


@pytest.mark.parametrize("kinds", [RuntimeError, (RuntimeError, TypeError)])
def test_a_cell_that_raises_nothing_fails(kinds):
    with pytest.raises(AssertionError, match=r"expected RuntimeError.*, but nothing was raised"), expected(kinds):
        pass


def test_another_error_passes_through():
    with pytest.raises(KeyError), expected(RuntimeError):
        {}["k"]
