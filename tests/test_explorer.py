"""The explorer of lesson 05: what it counts, and that moving a control redraws the picture."""

import IPython.display
import pytest
from matplotlib import pyplot as plt

from densenet_course import accounting
from densenet_course.figures import explorer
from densenet_course.models import DenseNet, cifar_config


@pytest.fixture
def outputs(monkeypatch):
    """Collect what the explorer displays: first its picture and panel, then every redrawn picture."""
    shown = {"first": [], "redrawn": []}

    class Handle:
        def update(self, image):
            shown["redrawn"].append(image)

    def display(thing, **options):
        shown["first"].append(thing)
        return Handle() if options.get("display_id") else None

    monkeypatch.setattr(IPython.display, "display", display)
    yield shown
    plt.close("all")


@pytest.mark.parametrize(("choice", "name", "depth", "parameters"), [
    ({}, "DenseNet-BC", 100, 769_162),
    ({"num_layers": 12, "bottleneck": False, "compression": 1.0}, "DenseNet", 40, 1_019_722),
    ({"compression": 1.0}, "DenseNet-B", 100, 1_180_666),
    ({"bottleneck": False}, "DenseNet-C", 52, 1_017_850),
])
def test_summary_has_the_papers_names_and_numbers(choice, name, depth, parameters):
    summary = explorer.summarise(explorer.choose(**choice))
    assert (summary.name, summary.depth, summary.parameters) == (name, depth, parameters)


def test_summary_counts_a_live_model():
    config = explorer.choose(growth_rate=4, num_layers=2, compression=0.3)
    live = sum(p.numel() for p in DenseNet(config).parameters())
    assert explorer.summarise(config).parameters == live


def test_extremes_of_the_controls_make_networks():
    controls = explorer.make_controls()
    for end in ("min", "max"):
        for bottleneck in (True, False):
            sliders = {name: getattr(c, end) for name, c in controls.items() if name != "bottleneck"}
            assert explorer.summarise(explorer.choose(**sliders, bottleneck=bottleneck)).parameters > 0


def test_first_picture_is_an_ordinary_output_with_a_line_for_readers_without_kernel(outputs):
    explorer.explorer()
    image, panel = outputs["first"]
    assert image.png.startswith(b"\x89PNG") and "769,162 parameters" in image.alt
    assert "run this cell" in panel["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in panel


def test_every_control_redraws_with_the_numbers_of_accounting(outputs):
    controls = explorer.explorer()
    state = {"growth_rate": 12, "num_layers": 16, "compression": 0.5, "bottleneck": True}
    moves = {"growth_rate": 24, "num_layers": 6, "compression": 1.0, "bottleneck": False}
    for count, (name, value) in enumerate(moves.items(), start=1):
        controls[name].value = value
        state[name] = value
        assert len(outputs["redrawn"]) == count
        depth = 4 + 3 * state["num_layers"] * (1 + state["bottleneck"])
        config = cifar_config(depth=depth, growth_rate=state["growth_rate"], compression=state["compression"],
                              bottleneck=state["bottleneck"])
        alt = outputs["redrawn"][-1].alt
        assert f"{accounting.parameters(config):,} parameters" in alt
        assert f"{accounting.multiply_adds(config, 32) / 1e6:,.1f} million multiply-adds" in alt
