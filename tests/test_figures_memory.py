"""The pictures of memory and speed draw the numbers that they are given."""

import pytest
from matplotlib import pyplot as plt

from densenet_course.figures import memory as figures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


LAYERS = (2, 4, 8)
KEPT = {"square": [4e6, 16e6, 64e6], "linear": [2e6, 4e6, 8e6]}


def test_exponent_is_the_slope_of_the_logarithms():
    assert figures.exponent(LAYERS, KEPT["square"]) == pytest.approx(2)
    assert figures.exponent((1, 2, 4), [5, 5, 5]) == pytest.approx(0)
    assert figures.exponent((1, 10, 100), [1, 1, 10]) == pytest.approx(0.5)


def test_curves_and_their_exponents():
    figure = figures.bytes_by_depth(LAYERS, KEPT)
    (panel,) = figure.axes
    assert [list(line.get_ydata()) for line in panel.lines] == [[4, 16, 64], [2, 4, 8]]
    assert all(list(line.get_xdata()) == list(LAYERS) for line in panel.lines)
    assert panel.get_xscale() == panel.get_yscale() == "log"
    assert sorted(text.get_text() for text in panel.texts) == ["linear, exponent 1.00", "square, exponent 2.00"]
    assert "square: 4 MB with 2 layers, 64 MB with 8, exponent 2.00; linear: 2 MB" in figure.alt_text
    assert figure.get_figwidth() <= 6.4
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in panel.lines}) == 2


def test_labels_of_near_curves_do_not_touch():
    figure = figures.bytes_by_depth(LAYERS, {name: [1e6, 2e6, end] for name, end in (("a", 4e6), ("b", 4.1e6))})
    low, high = sorted(text.xy[1] for text in figure.axes[0].texts)
    assert low == 4 and high > 1.5 * low


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({}, "1 to 4 curves, got 0"),
        ({name: [1, 2, 3] for name in "abcde"}, "got 5"),
        ({"short": [1, 2]}, "3 values above 0 for short"),
        ({"nothing": [0, 1, 2]}, "above 0 for nothing"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kept, message):
    with pytest.raises(ValueError, match=message):
        figures.bytes_by_depth(LAYERS, kept)


def test_steps_show_median_spread_and_bytes():
    seconds = {"plain": [0.03, 0.01, 0.02], "fast": [0.005, 0.004, 0.012]}
    figure = figures.step_costs(seconds, {"fast": 1e6, "plain": 4e6})
    left, right = figure.axes
    ranges, medians = left.lines[::2], left.lines[1::2]
    assert [list(line.get_xdata()) for line in ranges] == [pytest.approx([10, 30]), pytest.approx([4, 12])]
    assert [line.get_xdata()[0] for line in medians] == pytest.approx([20, 5])
    assert [label.get_text() for label in left.get_yticklabels()] == ["plain", "fast"]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first row on top
    assert [bar.get_width() for bar in right.patches] == [4, 1]
    assert [text.get_text().strip() for text in right.texts] == ["4", "1"]
    assert "3 rounds" in figure.alt_text and "plain: 20 ms (10 to 30), 4 MB; fast: 5 ms" in figure.alt_text
    with pytest.raises(ValueError, match="got none and none"):
        figures.step_costs({}, {})
    with pytest.raises(ValueError, match="same variants, got a and b"):
        figures.step_costs({"a": [1]}, {"b": 1})
