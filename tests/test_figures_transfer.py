"""The pictures of transfer draw what the results file holds."""

import pytest
from matplotlib import pyplot as plt

from densenet_course.figures import transfer as figures
from densenet_course.figures.style import COLOURS
from densenet_course.studies import transfer as studies

TARGET, SOURCE = ["Pullover", "Coat"], ["Bag"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def results():
    """Two regimes; the accuracies of a run are its base, in percent, less and plus one."""
    runs = []
    for per_class, bases in ((30, (66, 50, 60, 65, 70, 80)), (300, (73, 55, 80, 82, 75, 90))):
        for method, base in zip(figures.LOOKS, bases, strict=True):
            source = SOURCE if method in ("frozen", "fine-tuned") else []
            old = {"source": 0.9} if source else {}
            held_out = {"0.01": [{"target": base / 200} | old], "0.1": [{"target": base / 100} | old]}
            runs.append({"method": method, "source": source, "target": TARGET, "per_class": per_class,
                         "held_out": held_out,
                         "test": [{"target": (base - 1) / 100} | old, {"target": (base + 1) / 100} | old]})
    pretraining = [{"source": ["Bag", "Dress"], "test": [0.1, 0.1]}, {"source": SOURCE, "test": [0.96, 0.5]}]
    return {"per_class": [30, 300], "seeds": [0, 1], "runs": runs, "pretraining": pretraining}


def rows_of(figure, number):
    """Read panel 0 or 1: for each row its points, their colour and marker, its mean and the number beside it."""
    labels, panel = [label.get_text() for label in figure.axes[0].get_yticklabels()], figure.axes[number]
    dots, means = panel.lines[::2], panel.lines[1::2]
    return {label: (list(d.get_xdata()), d.get_color(), d.get_marker(), m.get_xdata()[0], t.get_text().strip())
            for label, d, m, t in zip(labels, dots, means, panel.texts, strict=True)}


def test_every_seed_and_the_mean_of_every_method_are_drawn():
    figure = figures.by_method(results(), TARGET, SOURCE)
    few, many = (rows_of(figure, number) for number in (0, 1))
    assert list(few) == list(figures.LOOKS)
    assert few["fine-tuned"] == (pytest.approx([79, 81]), COLOURS["new"], "o", pytest.approx(80), "80.0")
    assert many["random, frozen"] == (pytest.approx([54, 56]), COLOURS["input"], "s", pytest.approx(55), "55.0")
    assert [panel.get_title() for panel in figure.axes] == [f"{n} images a class" for n in (30, 300)]
    assert "300 images a class, frozen: 75.0 %" in figure.alt_text and "mean of 2 seed(s)" in figure.alt_text
    assert figure.get_figwidth() <= 6.4
    for panel in figure.axes:
        assert panel.get_xlim()[1] > max(line.get_xdata()[0] for line in panel.lines)


def test_sources_are_compared_frozen_and_trained():
    figure = figures.by_source(results(), TARGET, {"bags": SOURCE})
    rows = rows_of(figure, 0)
    assert list(rows) == ["bags · frozen", "bags · fine-tuned"]
    assert [row[3] for row in rows.values()] == pytest.approx([70, 80])
    with pytest.raises(ValueError, match=r"no run with method frozen, .* source \['Dress'\]"):
        figures.by_source(results(), TARGET, {"dresses": ["Dress"]})


def test_curves_by_rate_show_new_and_old_classes():
    figure = figures.by_rate(results(), TARGET, SOURCE)
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[1].lines}
    assert lines["fine-tuned: new classes"] == ([0.01, 0.1], pytest.approx([45, 90]))
    assert lines["fine-tuned: old classes"][1] == pytest.approx([90, 90])
    assert lines["from scratch: new classes"][1] == pytest.approx([40, 80])
    assert lines["old classes before fine-tuning"][1] == pytest.approx([96, 96]), "one seed chose the rates"
    assert figure.axes[0].get_xscale() == "log" and "Old classes before fine-tuning: 96.0 %" in figure.alt_text
    assert "30 images a class, fine-tuned: new classes: from 40 % to 80 %" in figure.alt_text


def test_points_are_percent_of_the_part_asked_for():
    run = studies.find(results(), "frozen", 30, TARGET, SOURCE)
    assert studies.points(run) == pytest.approx([69, 71]) and studies.points(run, "source") == pytest.approx([90, 90])


def test_a_method_without_pretraining_is_found_whatever_the_source():
    found = [studies.find(results(), "raw pixels", 30, TARGET, source) for source in ((), SOURCE)]
    assert found[0] == found[1] and studies.points(found[0]) == pytest.approx([65, 67])


def test_runs_are_compared_seed_by_seed():
    def run(*values):
        return {"test": [{"target": value} for value in values]}

    assert studies.compare(run(0.5, 0.7), run(0.4, 0.5)) == "+15.0 points (+10.0 to +20.0; all 2 seeds agree)"
    assert studies.compare(run(0.4, 0.4), run(0.5, 0.5)).endswith("all 2 seeds agree)")
    assert studies.compare(run(0.5, 0.4), run(0.4, 0.5)).startswith(" +0.0 points (-10.0 to +10.0; the seeds disagree")
