"""The wiring pictures match the arithmetic, and lesson 01 measures what the package measures."""

from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt

from densenet_course.accounting import connections
from densenet_course.figures.connections import dense_connectivity, three_stacks
from densenet_course.figures.gradients import gradient_norms
from densenet_course.figures.images import image_grid
from densenet_course.studies import gradients
from densenet_course.studies.gradients import KINDS, direct_share, first_over_last, measure
from tests.notebook_rules import definitions

SOURCE = Path(__file__).parent.parent / "notebooks" / "source" / "01_why_dense_connections.py"
SHARED = {"combine", "run_stack"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def gids(figure, prefix):
    return [patch.get_gid() for patch in figure.axes[0].patches if (patch.get_gid() or "").startswith(prefix)]


@pytest.mark.parametrize("num_layers", [1, 2, 5, 6])
def test_dense_connectivity_draws_every_link_once_inside_the_canvas(num_layers):
    figure = dense_connectivity(num_layers)
    links = gids(figure, "link-")
    assert set(links) == {f"link-{i}-{j}" for j in range(1, num_layers + 1) for i in range(j)}
    assert len(links) == connections(num_layers)
    assert len(gids(figure, "box-")) == num_layers + 1
    assert f"{connections(num_layers)} in all" in figure.alt_text
    assert f"{3 + 10 * num_layers} leave" in figure.alt_text
    figure.canvas.draw()
    page = figure.bbox
    for drawn in (*figure.axes[0].patches, *figure.axes[0].texts):
        place = drawn.get_window_extent()
        assert page.x0 <= place.x0 and place.x1 <= page.x1 and page.y0 <= place.y0 and place.y1 <= page.y1


@pytest.mark.parametrize("num_layers", [0, 7])
def test_dense_connectivity_refuses_what_would_not_be_legible(num_layers):
    with pytest.raises(ValueError, match=f"1 to 6.*got {num_layers}"):
        dense_connectivity(num_layers)


def test_three_stacks_draws_three_wirings():
    figure = three_stacks()
    assert len(gids(figure, "link-")) == 3 + 3 + connections(3)
    assert len(gids(figure, "bypass-")) == len(gids(figure, "plus-")) == 3
    assert "6 links" in figure.alt_text


def test_gradient_norms_draws_a_panel_for_each_setting_and_a_line_for_each_stack():
    figure = gradient_norms({"a": {"plain": [1e-9, 1.0], "dense": [1.0, 2.0]}, "b": {"residual": [3.0, 1.0]}})
    assert [len(ax.lines) for ax in figure.axes] == [2, 1]
    assert all(ax.get_yscale() == "log" for ax in figure.axes)
    first = figure.axes[0].lines[0]
    assert list(first.get_xdata()) == [1, 2] and list(first.get_ydata()) == [1e-9, 1.0]
    assert [line.get_ydata()[0] for line in (figure.axes[0].lines[1], figure.axes[1].lines[0])] == [0.5, 3.0]
    assert "plain 1e-09; dense 0.5" in figure.alt_text
    assert any(text.get_text() == "to 1e-09" for text in figure.axes[0].texts)  # it runs out of the picture
    styles = {(line.get_marker(), line.get_linestyle()) for ax in figure.axes for line in ax.lines}
    assert len(styles) == 3
    assert len(figure.legends[0].get_texts()) == 3


@pytest.mark.parametrize(("norms", "message"), [
    ({}, "at least one setting"),
    ({"a": {}}, "got none"),
    ({"a": {"highway": [1.0]}}, "highway"),
    ({"a": {"plain": [0.0, 1.0]}}, "above 0 for plain"),
    ({"a": {"plain": []}}, "no lengths for plain"),
])
def test_gradient_norms_refuses_what_it_cannot_draw(norms, message):
    with pytest.raises(ValueError, match=message):
        gradient_norms(norms)


def test_measure_is_repeatable_and_shows_what_the_lesson_says():
    lengths = {kind: measure(kind) for kind in KINDS}
    assert all(len(values) == 24 for values in lengths.values())
    assert measure("dense") == pytest.approx(lengths["dense"])
    assert lengths["plain"][0] < 1e-7 * lengths["plain"][-1]
    assert 0.3 < lengths["dense"][0] / lengths["dense"][-1] < 3
    assert first_over_last("dense", seeds=[0]) == [pytest.approx(lengths["dense"][0] / lengths["dense"][-1])]


def test_the_last_layer_hears_the_classifier_alone():
    shares = direct_share("BatchNorm and He", num_layers=4)
    assert len(shares) == 4 and shares[-1] == pytest.approx(1, abs=1e-4) and shares[0] < 0.99


def functions(path):
    """Collect the shared functions, docstrings and comments aside."""
    return {name: code for name, code in definitions(path.read_text(encoding="utf-8")).items() if name in SHARED}


def test_lesson_builds_the_wirings_that_the_package_measures():
    lesson, package = functions(SOURCE), functions(Path(gradients.__file__))
    assert set(lesson) == SHARED
    assert lesson == package


def test_image_grid_shows_every_image_with_its_title_and_leaves_gaps_empty():
    images = torch.randint(50, 200, (7, 1, 28, 28), dtype=torch.uint8)  # neither black nor white
    figure = image_grid(images, [f"is {i}\nsaid {i + 1}" for i in range(7)], columns=4)
    assert len(figure.axes) == 8
    assert [len(ax.images) for ax in figure.axes] == [1] * 7 + [0]
    assert (figure.axes[2].images[0].get_array() == images[2, 0].numpy()).all()
    assert figure.axes[3].images[0].get_clim() == (0, 255)
    assert figure.axes[6].get_title() == "is 6\nsaid 7"
    assert "is 6 said 7" in figure.alt_text


def test_float_images_have_a_range_each_and_those_that_share_one_range():
    images = torch.tensor([[0.0, 1], [-2, 3], [0, 4], [5, 6]]).view(4, 1, 1, 2)
    figure = image_grid(images, list("abcd"), share=(1, 2))
    assert [ax.images[0].get_clim() for ax in figure.axes[:4]] == [(0, 1), (-2, 4), (-2, 4), (5, 6)]
    with pytest.raises(ValueError, match=r"share: expected places from 0 to 3, got \(1, 4\)"):
        image_grid(images, list("abcd"), share=(1, 4))


def test_image_grid_of_one_image_is_as_narrow_as_a_column():
    figure = image_grid(torch.zeros(1, 1, 28, 28), ["Bag"], columns=4)
    assert len(figure.axes) == 1
    assert figure.get_figwidth() == pytest.approx(6.4 / 4)
    assert figure.alt_text == "One small grey image: Bag."


@pytest.mark.parametrize(("shape", "titles", "columns", "message"), [
    ((2, 3, 8, 8), 2, 5, r"\(2, 3, 8, 8\)"),
    ((0, 1, 8, 8), 0, 5, "N ≥ 1"),
    ((2, 1, 8, 8), 1, 5, "2 images, got 1"),
    ((2, 1, 8, 8), 2, 0, "got 0"),
])
def test_image_grid_refuses_bad_input(shape, titles, columns, message):
    with pytest.raises(ValueError, match=message):
        image_grid(torch.zeros(shape), ["title"] * titles, columns=columns)
