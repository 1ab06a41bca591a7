"""The pictures of what the layers learn draw what the model and the results hold."""

import pytest
import torch
from matplotlib import pyplot as plt

from densenet_course.figures import features as figures
from densenet_course.models import class_densenet
from densenet_course.studies.features import maps_by_depth, reuse


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_maps_are_those_of_the_network_the_strongest_first():
    torch.manual_seed(0)
    model, image = class_densenet().eval(), torch.randn(1, 1, 28, 28)
    figure = figures.through_the_network(model, image, columns=4)
    assert len(figure.axes) == 20 and figure.get_figwidth() <= 6.4
    with torch.no_grad():
        maps = dict(maps_by_depth(model, image))["block 3, layer 4"][0]
    strongest = maps[maps.mean(dim=(1, 2)).argmax()]
    assert (figure.axes[16].images[0].get_array() == strongest.numpy()).all()
    assert figure.axes[4].get_ylabel() == "stem\n32 × 14×14"
    assert "block 2, layer 4: 96 maps of 7×7 pixels" in figure.alt_text
    with pytest.raises(ValueError, match="layer 9"):
        figures.through_the_network(model, image, places=["block 1, layer 9"])
    with pytest.raises(ValueError, match=r"\(2, 1, 28, 28\)"):
        figures.through_the_network(model, torch.randn(2, 1, 28, 28))


def test_map_holds_every_link_relative_to_its_reader():
    model = class_densenet()
    figure = figures.reuse_map(model)
    assert [len(panel.texts) for panel in figure.axes] == [6, 15, 15]
    last = reuse(model)[2]["weights"][-1]
    assert figure.axes[2].texts[-1].get_text() == f"{last[-1] / last.mean():.2f}"
    assert "block 3, classifier: input" in figure.alt_text and figure.get_figwidth() <= 6.4
