"""The explorer's Python side: what it packs, what stands in its place without scripts, and how large it is."""

import json
import re
import struct
import sys

import pytest
import torch
from matplotlib import pyplot as plt

from densenet_course import accounting, explorer
from densenet_course.data import CLASS_NAMES, normalise
from densenet_course.explorer import bundle, picture
from densenet_course.explorer.widget import Explorer
from densenet_course.figures.style import MAX_WIDTH
from densenet_course.models import class_densenet
from densenet_course.studies.features import links
from tests import notebook_rules as rules

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def model():
    return class_densenet(weights="DEFAULT").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def packed():
    """The header and the arrays behind it."""
    data = bundle.pack()
    (length,) = struct.unpack("<I", data[:4])
    return json.loads(data[4:4 + length]), data[4 + length:]


def test_the_weights_are_the_published_ones_to_the_bit(packed, model):
    header, body = packed
    floats = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    assert set(header["tensors"]) == set(floats)
    for name, (start, count) in header["tensors"].items():
        numbers = torch.frombuffer(bytearray(body[start:start + 2 * count]), dtype=torch.float16)
        assert torch.equal(numbers.float(), floats[name].flatten()), name


def test_weights_that_are_no_halves_are_refused(monkeypatch):
    monkeypatch.setattr(bundle, "class_densenet", lambda weights: class_densenet())
    monkeypatch.setattr(bundle, "chosen_images", lambda: (torch.zeros(20, 1, 28, 28).byte(), [0] * 20, [0] * 20))
    with pytest.raises(ValueError, match="expected numbers in half precision"):
        bundle.pack.__wrapped__()


def test_ten_images_are_right_and_ten_wrong_and_of_the_first_kind_one_of_each_class(packed, model):
    header, body = packed
    images = torch.stack([torch.frombuffer(bytearray(body[one["start"]:one["start"] + 784]), dtype=torch.uint8)
                          for one in header["images"]]).view(-1, 1, 28, 28)
    labels, said = ([one[key] for one in header["images"]] for key in ("label", "said"))
    assert model(normalise(images)).argmax(1).tolist() == said
    assert labels[:10] == said[:10] == list(range(10))
    assert all(label != guess for label, guess in zip(labels[10:], said[10:], strict=True))
    assert max(labels[10:].count(label) for label in labels) == 2
    assert header["classes"] == list(CLASS_NAMES)


def test_too_few_images_are_refused(model):
    images, _ = bundle.packaged_images()
    with pytest.raises(ValueError, match="ten that the network gets right and ten it gets wrong, found 3"):
        bundle.choose(model, images[:10], torch.zeros(10).long())


def test_costs_are_those_of_accounting_and_links_those_of_lesson_10(packed, model):
    parts = packed[0]["parts"]
    assert sum(part["parameters"] for part in parts) == accounting.parameters(model.config) == 141_130
    assert sum(part["multiply_adds"] for part in parts) == accounting.multiply_adds(model.config, 28)
    sizes = {}
    for block, reader, _, weights in links(model):
        sizes.setdefault((block, reader), []).append(weights.abs().mean().item())
    readers = [part for part in parts if part["sources"]]
    for part, (place, each) in zip(readers, sizes.items(), strict=True):
        expected = [size * len(each) / sum(each) for size in each]
        assert part["strengths"] == pytest.approx(expected, abs=1e-4), place
        assert part["reads"] == sum(parts[source]["channels"] for source in part["sources"]), place
    assert sum(len(part["sources"]) for part in parts) == 36


@pytest.mark.parametrize(("view", "step", "words"), [
    ("network", 2, "36 in all. The network says T-shirt/top."),
    ("network", 3, "1×1 convolution: 48 maps of 7×7 pixels; 2×2 average: 48 maps of 3×3 pixels."),
    ("design", 3, "Channels along the depth of a DenseNet"),
])
def test_a_widget_brings_a_picture_for_pages_where_no_script_runs(view, step, words):
    data, _ = Explorer(view=view, step=step)._repr_mimebundle_()
    assert VIEW in data
    assert words in data["text/plain"]
    assert f'<div class="densenet-explorer" data-view="{view}" data-step="{step}"><img' in data["text/html"]
    (image,) = rules.IMAGE.findall(data["text/html"])
    assert rules.attribute(image, "alt") == data["text/plain"]
    assert int(rules.attribute(image, "width")) <= 100 * MAX_WIDTH


def test_the_picture_shows_the_image_of_the_question(packed):
    guide = (explorer.STATIC / "guide.js").read_text(encoding="utf-8")
    told = [int(place) for place in re.findall(r"\bimage: (\d+),", guide)]
    assert len(told) == 5
    assert told == [picture.SHOWN.get(step, 0) for step in range(1, 6)]
    labels = [one["label"] for one in packed[0]["images"]]
    for step in (1, 4, 5):
        text = picture.fallback("network", step)["text/plain"]
        assert f"An image of class {CLASS_NAMES[labels[told[step - 1]]]} on its way" in text


def test_the_steps_in_the_picture_end_with_what_the_transition_puts_out(monkeypatch):
    drawn = []
    monkeypatch.setattr(picture, "draw_tiles", lambda axes, maps, top: drawn.append(maps))
    plt.close(picture.inside_transition())
    _, every, found, _ = picture.example()
    place = [part["name"] for part in every].index("transition 2")
    assert torch.equal(drawn[-1], found[place]) and drawn[1].min() == 0 > drawn[0].min()


@pytest.mark.parametrize(("options", "message"), [
    ({"view": "inside"}, "view: expected 'network' or 'design', got 'inside'"),
    ({"step": 6}, "step: expected 0 to 5, got 6"),
    ({"step": None}, "step: expected 0 to 5, got None"),
])
def test_what_explore_does_not_know_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        explorer.explore(**options)


def test_explore_displays_a_widget(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    explorer.explore(step=3)
    (widget,) = shown
    assert (widget.view, widget.step, widget.network) == ("network", 3, bundle.pack())


def test_where_anywidget_is_not_installed_the_output_brings_its_script(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    monkeypatch.delitem(sys.modules, "densenet_course.explorer.widget")
    monkeypatch.setitem(sys.modules, "anywidget", None)
    explorer.explore("design")
    (data,) = shown
    assert data["text/html"].startswith('<div class="densenet-explorer" data-view="design" data-step="0"><img')
    assert data["text/html"].endswith("}</script>") and "densenetExplorer.mount" in data["text/html"]


def test_on_colab_the_manager_of_foreign_widgets_is_switched_on(monkeypatch):
    calls = []
    output = type(sys)("google.colab.output")
    output.enable_custom_widget_manager = lambda: calls.append(1)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    Explorer()
    assert calls


def test_it_stays_small():
    files = sorted(explorer.STATIC.iterdir())
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert {path.stem for path in files if path.suffix == ".js"} == set(explorer.PARTS)
    assert len(lines) < 800
    assert max(map(len, lines)) <= 120
    assert len(explorer.page_script().encode()) < 3_000_000


def test_no_address_stands_in_it_but_that_of_svg():
    text = explorer.module() + explorer.style()
    assert text.count("://") == text.count("http://www.w3.org/2000/svg") == 1
