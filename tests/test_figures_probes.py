"""The pictures of probes by depth draw what the results hold."""

import pytest
from matplotlib import pyplot as plt

from densenet_course.figures import probes
from densenet_course.figures.style import COLOURS

PLACES = ("stem", "transition 1", "block 2, layer 1")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def results():
    def run(*values):
        return {"classes": {"test": dict(zip(PLACES, values, strict=True))}}

    networks = {"trained": [run(0.5, 0.9, 0.6), run(0.7, 0.7, 0.8)], "untrained": [run(0.4, 0.4, 0.3)]}
    return {"networks": networks, "raw pixels": {"runs": [{"classes": {"test": 0.5}}, {"classes": {"test": 0.56}}]}}


def lines_of(panel):
    return {line.get_label(): line.get_ydata() for line in panel.lines}


def test_curves_show_means_spread_raw_pixels_and_the_best_places():
    figure = probes.probe_curves(results(), {"classes": 0.1})
    (panel,) = figure.axes
    lines = lines_of(panel)
    assert lines["trained"] == pytest.approx([60, 80, 70]) and lines["untrained"] == pytest.approx([40, 40, 30])
    assert lines["guessing"][0] == pytest.approx(10) and lines["raw pixels"][0] == pytest.approx(53)
    best = lines["trained: best place, or as good"]
    assert best == pytest.approx([63.5, 83.5, 73.5]), "each equals the best in one run"
    band = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((50, 90))
    assert [label.get_text() for label in panel.get_xticklabels()] == ["stem", "T1", "2.1"]
    assert "trained: 60.0 % at the stem, 80.0 % at the best place, 70.0 % at the end" in figure.alt_text
    assert "raw pixels: 53.0 %" in figure.alt_text
    with pytest.raises(ValueError, match="trained network, got none"):
        probes.probe_curves({"networks": {}}, {})


def test_layer_curves_show_every_place_of_the_networks_asked_for():
    by_place = dict(zip(PLACES, (0.5, 0.9, 0.6), strict=True))
    measured = {"guessing": {"tops": 0.3, "edges": 0.35}, "networks": {
        "pretrained": {"tops": by_place, "edges": by_place}, "fine-tuned": {"tops": {p: 0.4 for p in PLACES}},
        "raw pixels": {"tops": {"raw pixels": 0.55}, "edges": {"raw pixels": 0.3}},
    }}
    figure = probes.layer_curves(measured, ["tops"], ["pretrained", "fine-tuned"])
    (panel,) = figure.axes
    lines = lines_of(panel)
    assert lines["pretrained"] == pytest.approx([50, 90, 60]) and lines["fine-tuned"] == pytest.approx([40, 40, 40])
    assert lines["raw pixels"][0] == pytest.approx(55)
    assert {line.get_color() for line in panel.lines} >= {COLOURS["new"], COLOURS["bottleneck"]}
    assert [tuple(line.get_markevery() or ()) for line in panel.lines[:2]] == [(1,), (0,)], "the best places"
    assert "guessing" not in lines and panel.get_ylim()[0] > 30, "outside: it would flatten the rest"
    assert "guessing" not in {label.get_text() for label in figure.legends[0].get_texts()}, "no entry without a line"
    inside = probes.layer_curves(measured | {"guessing": {"tops": 0.5}}, ["tops"], ["pretrained", "fine-tuned"])
    assert lines_of(inside.axes[0])["guessing"][0] == pytest.approx(50)
    assert "guessing" in {label.get_text() for label in inside.legends[0].get_texts()}
    assert panel.get_title(loc="left") == "tops (guessing: 30 %)"
    assert [label.get_text() for label in panel.get_xticklabels(which="both")] == ["T1", "block 1", "block 2"]
    assert "raw pixels 55.0 %, guessing 30.0 %" in figure.alt_text
    assert "tops, pretrained: 50.0 % at the stem, best 90.0 % at transition 1, 60.0 % at the end" in figure.alt_text
    assert len(probes.layer_curves(measured, ["tops", "edges"], ["pretrained"]).axes) == 2
    assert probes.layer_curves(measured, ["edges"], ["pretrained"]).axes[0].get_ylim()[0] < 30, "raw pixels at 30 show"
    with pytest.raises(ValueError, match="questions: expected some of tops, edges, got shapes"):
        probes.layer_curves(measured, ["shapes"], ["pretrained"])
    with pytest.raises(ValueError, match="got untrained"):
        probes.layer_curves(measured, ["tops"], ["untrained"])


def test_a_line_style_has_one_meaning_in_all_pictures():
    styles = [line for _, _, line in probes.LOOKS.values()] + list(probes.LEVELS.values())
    assert len(set(styles)) == len(styles) - 1, "trained and pretrained share one"
    by_place = dict.fromkeys(PLACES, 0.5)
    measured = {"guessing": {"tops": 0.55}, "networks": {
        "pretrained": {"tops": by_place}, "raw pixels": {"tops": {"raw pixels": 0.6}}}}
    for panel in (*probes.layer_curves(measured, ["tops"], ["pretrained"]).axes,
                  *probes.probe_curves(results(), {"classes": 0.1}).axes):
        drawn = {line.get_label(): line.get_linestyle() for line in panel.lines}
        assert (drawn["raw pixels"], drawn["guessing"]) == ("-.", ":")
