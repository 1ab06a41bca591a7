"""The sweep of lesson 14: what is read from its file, its pictures, and an explorer that shows what was trained."""

import json
import math
import subprocess
import sys
from pathlib import Path

import IPython.display
import pytest
from matplotlib import pyplot as plt

from densenet_course import accounting
from densenet_course.figures import design_space as figures
from densenet_course.models import class_densenet
from densenet_course.studies import design_space

ROOT = Path(__file__).resolve().parent.parent


def network(growth_rate, block_layers, compression, *accuracy, parameters=40_000, seconds=(20.0, 22.0)):
    return {
        "growth_rate": growth_rate, "block_layers": list(block_layers), "compression": compression,
        "parameters": parameters, "multiply_adds": 2_500_000,
        "accuracy": {str(seed): value for seed, value in enumerate(accuracy)},
        "cpu_seconds": {str(seed): value for seed, value in enumerate(seconds)},
    }


MEASURED = {"networks": [
    network(8, (2, 2, 2), 0.5, 0.860, 0.862, parameters=20_000, seconds=(15.0, 16.0)),
    network(8, (2, 4, 4), 0.5, 0.880, 0.884, parameters=36_000, seconds=(20.0, 20.0)),
    network(16, (2, 2, 2), 0.5, 0.876, 0.880, parameters=77_000, seconds=(26.0, 28.0)),
    network(16, (2, 4, 4), 0.5, 0.890, 0.892, parameters=141_000, seconds=(35.0, 37.0)),
    network(8, (2, 2, 2), 1.0, 0.858, 0.862, parameters=26_000, seconds=(18.0, 18.0)),
    network(8, (2, 4, 4), 1.0, 0.880, 0.882, parameters=48_000, seconds=(21.0, 21.0)),
    network(16, (2, 2, 2), 1.0, 0.884, 0.886, parameters=100_000, seconds=(40.0, 40.0)),
    network(16, (2, 4, 4), 1.0, 0.894, 0.900, parameters=185_000, seconds=(42.0, 42.0)),
]}
TRAINED = design_space.networks(MEASURED)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_networks_are_those_of_the_file_with_means_over_the_seeds():
    first = TRAINED[0]
    assert (first.growth_rate, first.block_layers, first.compression) == (8, (2, 2, 2), 0.5)
    assert first.accuracy == pytest.approx(86.1) and first.seconds == 15.5
    assert str(TRAINED[-1]) == "k = 16, (2, 4, 4), θ = 1"


def test_noise_is_the_pooled_deviation_of_one_run():
    two = design_space.networks({"networks": [network(8, (2,), 1.0, 0.88, 0.90), network(8, (2,), 0.5, 0.90, 0.90)]})
    assert design_space.noise(two) == pytest.approx(math.sqrt((2 + 0) / 2))  # the variance of 88 and 90 is 2
    one = design_space.networks({"networks": [network(8, (2,), 1.0, 0.88)]})
    with pytest.raises(ValueError, match="at least two seeds"):
        design_space.noise(one)


def test_pairs_are_told_apart_beyond_two_standard_errors():
    def pairs(gap):
        means = {0.5: 0.88, 1.0: 0.88 + gap}
        found = [network(8, (2,), theta, mean - 0.005, mean + 0.005) for theta, mean in means.items()]
        return design_space.distinguishable_pairs(design_space.networks({"networks": found}))

    limit = 2 * math.sqrt(0.5) / 100  # one run deviates by √0.5 points; the difference of two means of two by as much
    assert pairs(0.9 * limit) == (0, 1) and pairs(1.1 * limit) == (1, 1)


def test_a_turn_changes_one_knob_upwards():
    start = design_space.find(TRAINED, 8, (2, 2, 2))
    assert start is TRAINED[0]
    assert [(knob, str(network)) for knob, network in design_space.turns(TRAINED, start)] == [
        ("growth_rate", "k = 16, (2, 2, 2), θ = 0.5"), ("block_layers", "k = 8, (2, 4, 4), θ = 0.5"),
        ("compression", "k = 8, (2, 2, 2), θ = 1")]
    assert design_space.turns(TRAINED, TRAINED[-1]) == []  # nothing is left to turn up
    with pytest.raises(ValueError, match=r"got \(9, \(2, 2, 2\), 0.5\)"):
        design_space.find(TRAINED, 9, (2, 2, 2))


def test_turns_are_priced_from_their_start_and_marked_beyond_luck():
    limit = design_space.told_apart(TRAINED)
    assert limit == pytest.approx(2 * design_space.noise(TRAINED))  # of two seeds
    head, start, rate, layers, theta = design_space.turn_table(TRAINED, TRAINED[0]).splitlines()
    assert head.split() == ["parameters", "seconds", "points"] and start == "from k = 8, (2, 2, 2), θ = 0.5, 86.10 %"
    assert rate.split() == ["growth_rate", "→", "16", "×", "3.85", "×", "1.74", "+1.70", "*"]
    assert layers.split()[-1] == "*" and theta.split()[-1] == "-0.10" and 0.1 < limit < 1.7


def test_front_and_ranks():
    front = [network.parameters for network in design_space.front(TRAINED)]
    assert front == [20_000, 36_000, 100_000, 141_000, 185_000]
    assert [design_space.rank(TRAINED, TRAINED[-1], seed) for seed in (0, 1)] == [1, 1]
    assert design_space.rank(TRAINED, TRAINED[0], 0) == 7


def test_landscape_joins_the_unbeaten_and_points_out_the_chosen_one():
    figure = figures.landscape(MEASURED, TRAINED[2])
    fronts = {20: 86.1, 36: 88.2, 100: 88.5, 141: 89.1, 185: 89.7}, {15.5: 86.1, 20: 88.2, 36: 89.1, 42: 89.7}
    for panel, front in zip(figure.axes, fronts, strict=True):
        squares = {line.get_xdata()[0]: line.get_ydata()[0] for line in panel.lines if line.get_marker() == "s"}
        assert squares == pytest.approx(front)
        (diamond,) = (line for line in panel.lines if line.get_marker() == "D")
        assert diamond.get_ydata()[0] == pytest.approx(87.8)
    said = "77,000 parameters, 2.5 million multiply-adds, 27 s, 87.8 % (87.6 to 88.0)"
    assert said in figure.alt_text and said in figure.get_suptitle() and figure.get_figwidth() <= 6.4
    plain = figures.landscape(MEASURED)
    assert not any(line.get_marker() == "D" for panel in plain.axes for line in panel.lines)
    assert "8 networks" in plain.alt_text


def test_one_knob_draws_means_and_every_line():
    figure = figures.one_knob(MEASURED)
    rate, layers, _ = figure.axes
    assert [len(panel.lines) for panel in figure.axes] == [5, 5, 5]  # four lines hold the others, and the mean
    assert list(rate.lines[-1].get_ydata()) == pytest.approx([87.1, 88.775])
    assert [label.get_text() for label in layers.get_xticklabels()] == ["2,2,2", "2,4,4"]
    assert "compression θ: 0.5 87.8 %" in figure.alt_text


def test_seconds_are_drawn_over_the_counts_given():
    counts = {"work": list(range(1, 9)), "bytes": [n.seconds for n in TRAINED]}
    figure = figures.seconds_by(MEASURED, counts)
    assert [panel.get_xlabel() for panel in figure.axes] == ["work", "bytes"]
    wide = figure.axes[0].lines[1]
    assert list(wide.get_xdata()) == [3, 4, 7, 8] and list(wide.get_ydata()) == [27, 36, 40, 42]
    assert len({line.get_marker() for line in figure.axes[0].lines}) == 2  # never by colour alone
    assert "bytes: 1 seconds each at k = 8, 1 at k = 16" in figure.alt_text
    with pytest.raises(ValueError, match="each of 8 networks, got 2"):
        figures.seconds_by(MEASURED, {"work": [1, 2]})


@pytest.mark.parametrize("draw", [figures.landscape, figures.one_knob, figures.explorer,
                                  lambda measured: figures.seconds_by(measured, {})])
def test_an_empty_result_is_refused(draw):
    with pytest.raises(ValueError, match="got none"):
        draw({"networks": []})


def test_explorer_shows_the_network_that_the_sliders_choose(monkeypatch):
    first, redrawn = [], []

    class Handle:
        def update(self, image):
            redrawn.append(image.alt)

    def display(thing, **options):
        first.append(thing)
        return Handle() if options.get("display_id") else None

    monkeypatch.setattr(IPython.display, "display", display)
    controls = figures.explorer(MEASURED)
    image, panel = first
    assert image.png.startswith(b"\x89PNG") and image.alt.startswith("k = 8, (2, 2, 2), θ = 0.5: 20,000 parameters")
    assert "run this cell" in panel["text/plain"] and "application/vnd.jupyter.widget-view+json" in panel
    controls["growth_rate"].value = 16
    controls["block_layers"].value = (2, 4, 4)
    controls["compression"].value = 1.0
    assert [alt.split(":")[0] for alt in redrawn] == [
        "k = 16, (2, 2, 2), θ = 0.5", "k = 16, (2, 4, 4), θ = 0.5", "k = 16, (2, 4, 4), θ = 1"]
    assert "185,000 parameters" in redrawn[-1] and "89.7 %" in redrawn[-1]


def test_the_quick_benchmark_writes_what_the_pictures_read():
    command = [sys.executable, "benchmarks/design_space.py", "--quick"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    measured = json.loads((ROOT / "runs/quick/design_space.json").read_text(encoding="utf-8"))
    trained = design_space.networks(measured)
    assert len(trained) == 4 and {len(network.accuracies) for network in trained} == {2}
    assert measured["train_images"] == 384 and measured["provenance"]["seeds"] == [0, 1]
    for network in trained:
        config = class_densenet(growth_rate=network.growth_rate, init_channels=2 * network.growth_rate,
                                block_layers=network.block_layers, compression=network.compression).config
        assert network.parameters == accounting.parameters(config)
    assert design_space.noise(trained) > 0 and "4 networks" in figures.landscape(measured).alt_text
