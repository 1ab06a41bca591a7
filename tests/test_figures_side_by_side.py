"""The pictures "expected beside yours" show what an answer does, and never fail because of it."""

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from densenet_course import layers
from densenet_course.checks import EXERCISES, check, compare, load, pictures
from densenet_course.figures import COLOURS
from densenet_course.figures import side_by_side as comparison
from densenet_course.figures.style import as_image
from tests import answers


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def drawn(exercise, label):
    return pictures.draw(exercise, answers.load(exercise).objects(label))


def texts(figure, panel=1):
    return [text.get_text() for text in figure.axes[panel].texts]


def test_a_right_block_has_the_ticks_of_the_expected_one():
    figure = drawn("dense_block", "a list of maps and in place ReLU")
    assert texts(figure, 0) == texts(figure, 1)
    assert texts(figure).count("✓") == 15 and texts(figure)[-1] == "output: input, 1, 2, 3, 4"
    assert figure.alt_text.endswith("Yours: the same.")
    assert figure.get_figwidth() <= 6.4


def test_missing_links_are_dashes():
    figure = drawn("dense_block", "a chain")
    assert texts(figure).count("–") == 6 and texts(figure, 0).count("–") == 0
    assert "layer 3 does not read 1" in figure.alt_text
    figure = drawn("dense_block", "only new maps returned")
    assert texts(figure).count("–") == 1 and "output does not read input" in figure.alt_text


def test_another_order_is_told():
    figure = drawn("dense_block", "newest first")
    assert texts(figure)[-1] == "✗ output: 4, 3, 2, 1, input" and "–" not in texts(figure)
    assert "the output holds 4, 3, 2, 1, input." in figure.alt_text


def test_shapes_and_the_wrong_ones_among_them():
    figure = drawn("transition", "a Sequential")
    assert texts(figure, 0) == texts(figure, 1) and "5 × 3×4" in texts(figure)
    figure = drawn("transition", "rounded")
    assert "✗ 6 × 3×4" in texts(figure) and "9 × 3×3" in texts(figure)
    edges = [to_hex(bar.get_edgecolor()).upper() for bar in figure.axes[1].patches]
    assert edges.count(COLOURS["wrong"]) == 1
    assert figure.alt_text.endswith("Yours: transition(11, 0.5): 6 × 3×4.")


@pytest.mark.parametrize(("exercise", "name"), [("dense_block", "DenseBlock"), ("transition", "transition")])
def test_nothing_to_draw_is_said_in_a_text(exercise, name, capsys):
    def costs(*sizes):
        raise ValueError("it costs $\\frac{ and $4")

    assert texts(pictures.draw(exercise, {name: ...})) == ["not attempted yet"]
    assert texts(pictures.draw(exercise, {})) == [f"{name} is not defined"]
    figure = pictures.draw(exercise, {name: costs})
    assert "costs $\\frac{ and $4" in " ".join(texts(figure)).replace("\n", " ")
    assert as_image(figure).png  # dollars are no formula


@pytest.mark.parametrize("exercise", pictures.PICTURES)
def test_no_answer_breaks_the_picture(exercise, monkeypatch):
    for name in ("readers_beside", "shapes_beside"):
        monkeypatch.setattr(comparison, name, lambda *sides: repr(sides[-1]))
    tried = answers.load(exercise)
    for label in list(tried.wrong_answers)[::3]:
        assert "could not be drawn" not in pictures.draw(exercise, tried.objects(label)), label


def test_strange_outputs_are_drawn():
    class Flat(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)

    assert "(2, 512)" in pictures.draw("transition", {"transition": lambda *sizes: Flat()}).alt_text
    assert "no weights" in pictures.draw("dense_block", {"DenseBlock": lambda *sizes: Flat()}).alt_text


def test_compare_shows_a_picture_with_alt_text_and_stays_a_function(monkeypatch):
    for exercise in EXERCISES[:4]:  # their modules use checks/compare.py
        load(exercise)
    shown = []
    monkeypatch.setattr("densenet_course.figures.show", shown.append)
    import densenet_course.checks as checks

    assert checks.compare is compare and callable(compare) and callable(check)
    state = torch.get_rng_state()
    compare("dense_block", layers.DenseBlock)
    compare("transition", ...)
    assert ["the same" in shown[0].alt_text, "not attempted yet" in shown[1].alt_text] == [True, True]
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(KeyError, match="with a picture"):
        compare("conv_block", ...)
    with pytest.raises(TypeError, match="got 2 answers"):
        compare("transition", ..., ...)


def test_a_long_text_is_cut():
    figure = comparison.shapes_beside([("f(1)", (1, 1, 2, 2))], [(1, 1, 1, 1)], "word " * 200)
    assert texts(figure)[0].endswith("…") and texts(figure)[0].count("\n") < 8
