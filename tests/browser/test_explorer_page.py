"""The explorer in a real browser: the package's numbers, every gesture, and the five questions by keyboard alone."""

import re
import statistics

import pytest
import torch
import torch.nn.functional as F
from looks import DESK, PHONE, broken_rules, is_outside

from densenet_course import accounting
from densenet_course.data import normalise
from densenet_course.explorer import page_script
from densenet_course.explorer.bundle import packaged_images, parts
from densenet_course.models import cifar_config, class_densenet
from densenet_course.studies.features import links

HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>explorer</title></head><body><main>
<h1>Explorer</h1><h2>It</h2><div class="densenet-explorer" {}></div></main><script src="explorer.js"></script></body>
</html>"""
PATIENCE = 400_000  # ms; a busy machine is not at fault
# Of each image: logits of the intact network and with each link cut in turn, and the milliseconds of the first pass.
ALL_LOGITS = """images => {
  const network = window.network, found = images.map(pixels => {
    const start = performance.now(), intact = network.forward(pixels), time = performance.now() - start;
    const cut = network.links.map(({reader, source}) =>
      network.forward(pixels, {cuts: new Set([`${reader} reads ${source}`])}, intact));
    return {time, logits: [intact, ...cut].map(results => [...network.logits(results)])};
  });
  return {times: found.map(one => one.time), logits: found.map(one => one.logits)};
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page with the explorer, opened as a file: no server, no kernel."""
    folder = tmp_path_factory.mktemp("explorer")
    (folder / "explorer.js").write_text(page_script(), encoding="utf-8")
    (folder / "index.html").write_text(HTML.format(""), encoding="utf-8")
    (folder / "design.html").write_text(HTML.format('data-view="design"'), encoding="utf-8")
    return folder


@pytest.fixture
def visit(browser, folder):
    """Return a function that opens the page; no visit may report an error or ask another server."""
    pages, wrong = [], []

    def start(name="index.html", **options):
        page = browser.new_page(**({"viewport": DESK} | options))
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: not request.url.startswith("file:") and is_outside(request.url)
                and wrong.append(request.url))
        page.goto((folder / name).as_uri())
        page.locator(".dnx").wait_for()
        pages.append(page)
        return page

    yield start
    for page in pages:
        page.close()
    assert wrong == []


@pytest.fixture(scope="module")
def model():
    return class_densenet(weights="DEFAULT").eval().requires_grad_(False)


@pytest.fixture
def network(visit):
    """A page whose ``window.network`` is the explorer's network."""
    page = visit()
    page.evaluate("() => { window.network = densenetExplorer.inside.network; }")
    return page


def said(page):
    """Return the probabilities that the page shows, by class."""
    cells = page.locator(".dnx-probabilities tbody tr").all()
    return {row.locator("th").inner_text().strip(" ✓"): row.locator("td").first.inner_text() for row in cells}


def maps_of(page, part):
    """Return the picture of a part's maps as a data address."""
    return page.evaluate("part => densenetExplorer.inside.network.parts.find(one => one.name === part)"
                         ".canvas.toDataURL()", part)


def test_logits_are_pytorchs_intact_and_with_each_link_cut(network, model, record_property):
    images, _ = packaged_images()
    images = images[:200]
    found, times = [], []
    for some in images.flatten(1).split(20):
        answer = network.evaluate(ALL_LOGITS, some.tolist())
        found += answer["logits"]
        times += answer["times"]
    found = torch.tensor(found).transpose(0, 1)  # (1 + links, N, 10)
    record_property("median milliseconds of a forward pass", statistics.median(times))
    print(f"a forward pass: {statistics.median(times):.1f} ms, at best {min(times):.1f} ms")
    batch, expected = normalise(images), [model(normalise(images))]
    for *_, weights in links(model):  # weights: a view into the model
        kept = weights.clone()
        weights.zero_()
        expected.append(model(batch))
        weights.copy_(kept)
    expected = torch.stack(expected)
    assert found.shape == expected.shape == (37, 200, 10)
    assert (found - expected).abs().max() < 1e-3
    assert torch.equal(found.argmax(2), expected.argmax(2))
    assert all((expected[i] - expected[0]).abs().max() > 1e-2 for i in range(1, 37))  # every cut is seen


def test_a_muted_part_puts_out_zeros_as_pytorchs_would(network, model):
    images, _ = packaged_images()
    batch = normalise(images[:3])
    for place, part in enumerate(parts(model)[:-1]):
        modules = dict(model.named_modules())
        module = modules[part["prefix"].rstrip(".")]
        handle = module.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        expected = model(batch)
        handle.remove()
        found = network.evaluate("([images, place]) => images.map(pixels => [...window.network.logits("
                                 "window.network.forward(pixels, {muted: new Set([place])}))])",
                                 [images[:3].flatten(1).tolist(), place])
        assert torch.allclose(torch.tensor(found), expected, atol=1e-3), part["name"]


def row(page, part):
    """Find a part by its name in the picture of the network."""
    return page.locator(".dnx-name").filter(has_text=re.compile(f"^{re.escape(part)}$"))


def step_result(page, name, arguments, maps):
    """Run one of the explorer's steps on maps (C, H, W)."""
    found = page.evaluate("""([name, lists, maps]) => {
      const numbers = lists.map(one => Array.isArray(one) ? Float32Array.from(one) : one);
      const step = name === 'relu' ? densenetExplorer.steps.relu : densenetExplorer.steps[name](...numbers);
      const out = step({...maps, data: Float32Array.from(maps.data)}, maps.isCut);
      return {...out, data: [...out.data]};
    }""", [name, arguments, maps])
    return torch.tensor(found["data"]).view(found["channels"], found["size"], found["size"])


@pytest.mark.parametrize("size", [3, 7, 14])
def test_every_step_computes_what_pytorch_does(visit, size):
    page, torch_maps = visit(), torch.randn(5, size, size)
    maps = {"data": torch_maps.flatten().tolist(), "channels": 5, "size": size}
    scale, shift = torch.randn(5), torch.randn(5)
    expected = torch_maps * scale[:, None, None] + shift[:, None, None]
    close = {"atol": 1e-4, "rtol": 1e-4}
    assert torch.allclose(step_result(page, "batchNorm", [scale.tolist(), shift.tolist()], maps), expected, **close)
    assert torch.allclose(step_result(page, "relu", [], maps), F.relu(torch_maps), **close)
    weight, bias = torch.randn(4, 5, 1, 1), torch.randn(4)
    found = step_result(page, "pointwise", [weight.flatten().tolist(), 4, bias.tolist()], maps)
    assert torch.allclose(found, F.conv2d(torch_maps, weight, bias), **close)
    cut = weight.clone()
    cut[:, 1:3] = 0
    is_cut = maps | {"isCut": [False, True, True, False, False]}
    found = step_result(page, "pointwise", [weight.flatten().tolist(), 4, None], is_cut)
    assert torch.allclose(found, F.conv2d(torch_maps, cut), **close)
    weight = torch.randn(4, 5, 3, 3)
    for stride in (1, 2):
        found = step_result(page, "convolution3", [weight.flatten().tolist(), 4, stride], maps)
        assert torch.allclose(found, F.conv2d(torch_maps, weight, stride=stride, padding=1), **close)
    assert torch.allclose(step_result(page, "averagePool", [2], maps), F.avg_pool2d(torch_maps, 2), **close)
    whole = F.adaptive_avg_pool2d(torch_maps, 1)
    assert torch.allclose(step_result(page, "averagePool", [], maps), whole, **close)


def test_the_second_view_counts_as_accounting_does(visit):
    page = visit("design.html")
    choices = [{"layers": layers, "growth": growth, "theta": theta, "bottleneck": bottleneck}
               for layers in (2, 16, 32) for growth in (4, 12, 48) for theta in (0.2, 0.3, 0.5, 0.7, 1.0)
               for bottleneck in (True, False)]
    found = page.evaluate("choices => choices.map(densenetExplorer.countNetwork)", choices)
    for choice, network in zip(choices, found, strict=True):
        depth = 4 + 3 * choice["layers"] * (1 + choice["bottleneck"])
        config = cifar_config(depth=depth, growth_rate=choice["growth"], compression=choice["theta"],
                              bottleneck=choice["bottleneck"])
        counted = [(row["channels"], row["size"], row["parameters"], row["work"]) for row in network["rows"]]
        assert counted == [(row.channels, row.height, row.parameters, row.multiply_adds)
                           for row in accounting.trace(config, 32)], choice
        assert (network["parameters"], network["depth"]) == (accounting.parameters(config), depth)


@pytest.mark.parametrize(("moves", "words"), [
    ({}, "DenseNet-BC, L = 100, k = 12, θ = 0.5 769,162 parameters"),
    ({"layers per block": "12", "compression θ": "1", "bottleneck": False},
     "DenseNet, L = 40, k = 12, θ = 1 1,019,722 parameters"),
])
def test_sliders_redraw_the_second_view(visit, moves, words):
    page = visit("design.html")
    for label, value in moves.items():
        control = page.get_by_label(label, exact=True)
        control.uncheck() if value is False else control.fill(value)
    assert words in " ".join(page.locator(".dnx-output p").inner_text().split())
    assert page.locator(".dnx-output svg").get_attribute("aria-label").startswith("Channels: ")


def test_pointing_lights_up_the_sources_and_says_what_a_part_costs(visit):
    page = visit()
    row(page, "2.2").hover()
    assert page.locator(".dnx-source .dnx-name").all_inner_texts() == ["transition 1", "2.1"]
    assert page.locator(".dnx-source .dnx-note").all_inner_texts() == ["× 0.93", "× 1.07"]
    assert page.locator(".dnx-arcs .dnx-lit").count() == 2
    assert page.locator(".dnx-arcs path").count() == 36
    told = page.locator(".dnx-told").inner_text()
    assert "reads 48 maps, makes 16 maps of 7×7 pixels; 12,512 parameters, 602,112 multiply-adds" in told


def test_choosing_a_part_shows_its_inside_map_by_map(visit):
    page = visit()
    row(page, "2.2").click()
    assert page.locator(".dnx-stages p").all_inner_texts() == [
        "BN 48 maps", "ReLU 48 maps", "1×1 convolution 64 maps", "BN 64 maps", "ReLU 64 maps",
        "3×3 convolution 16 maps"]
    page.get_by_label("maps after 3×3 convolution").focus()
    page.keyboard.press("ArrowRight")
    assert re.match(r"3×3 convolution, map 2 of 16: [−+][\d.]+ to [−+][\d.]+$", page.locator(".dnx-zoom").inner_text())
    for _ in range(3):
        page.keyboard.press("ArrowDown")  # there is no second row
    assert "map 2 of 16" in page.get_by_label("maps after 3×3 convolution").get_attribute("aria-valuetext")
    page.get_by_label("maps after 1×1 convolution").hover(position={"x": 3, "y": 3})
    assert "1×1 convolution, map 1 of 64" in page.locator(".dnx-zoom").inner_text()


def test_a_cut_changes_what_lies_behind_it_and_can_be_put_back(visit):
    page = visit()
    before, numbers = {part: maps_of(page, part) for part in ("2.3", "2.4", "3.1")}, said(page)
    row(page, "2.4").click()
    page.get_by_label("cut the link from layer 2.1 to layer 2.4").check()
    changed = {part for part, picture in before.items() if picture != maps_of(page, part)}
    assert changed == {"2.4", "3.1"}
    assert "1 of 36 links cut" in page.locator(".dnx-tools .dnx-status").inner_text()
    assert page.locator(".dnx-arcs .dnx-cut").count() == 1
    page.get_by_role("button", name="Put all back").click()
    assert before == {part: maps_of(page, part) for part in before}
    assert said(page) == numbers


def test_a_muted_layer_goes_blank_and_no_other_map_of_its_block_before_it(visit):
    page = visit()
    before = {part: maps_of(page, part) for part in ("2.1", "2.2", "2.3")}
    row(page, "2.2").click()
    page.get_by_label("mute layer 2.2").check()
    assert {part for part, picture in before.items() if picture != maps_of(page, part)} == {"2.2", "2.3"}
    page.get_by_label("mute layer 2.2").uncheck()
    assert before == {part: maps_of(page, part) for part in before}


def test_the_plain_chain_leaves_neighbours_only(visit):
    page = visit()
    numbers = said(page)
    page.get_by_role("button", name="Plain chain").click()
    assert "23 of 36 links cut" in page.locator(".dnx-tools .dnx-status").inner_text()
    assert said(page) != numbers


def test_images_are_shown_right_and_wrong_and_can_be_drawn(visit):
    page = visit()
    labels = [one.get_attribute("aria-label") for one in page.locator(".dnx-thumbs input").all()]
    assert len(labels) == 20
    assert ["the network says" in label for label in labels] == [False] * 10 + [True] * 10
    page.get_by_label("Trouser", exact=True).check(force=True)
    numbers = said(page)
    assert page.locator(".dnx-winner").inner_text() == "Trouser ✓"
    page.get_by_role("button", name="Draw your own").click()
    blank = said(page)
    box = page.locator(".dnx-image canvas").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 90, steps=12)
    page.mouse.up()
    drawn = said(page)
    assert len({str(one) for one in (numbers, blank, drawn)}) == 3
    assert page.locator(".dnx-thumbs input:checked").count() == 0


QUESTIONS = ("What is appended?", "Who reads whom?", "What does a transition drop?", "What does a cut cost?",
             "Where do two classes part?")
ANSWERS = ("2.4 reads 32 + 3 · 16 = 80 maps", "= 36.", "432 of 4,704 numbers", "With one link cut: transition 2",
           "Pullover minus Coat: transition 2")


def tab_to(page, selector):
    """Press Tab until the focus lies on an element, as one without a pointer does."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no way to {selector} by Tab")


def test_the_five_questions_are_worked_through_by_keyboard_alone(visit):
    page = visit()
    for number, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True), start=1):
        tab_to(page, f'[aria-label^="{number}: "]')
        page.keyboard.press("Enter")
        step = page.locator(".dnx-step")
        assert question in step.inner_text()
        assert answer not in step.inner_text()
        tab_to(page, ".dnx-step button")
        page.keyboard.press("Enter")
        assert answer in step.inner_text()
        page.keyboard.press("Shift+Tab")
        for _ in range(6 - number):
            page.keyboard.press("Shift+Tab")  # back before the buttons
    tab_to(page, '[data-key$="reads 9"]')  # the classifier's link from 3.1
    page.keyboard.press("Space")
    assert "1 of 36 links cut" in page.locator(".dnx-tools .dnx-status").inner_text()
    assert page.evaluate("document.activeElement.dataset.key") == "13 reads 9"


def test_parts_images_views_and_the_pen_move_by_keyboard(visit):
    page = visit()
    tab_to(page, "[role=tab]")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("growth rate k").is_visible()
    page.keyboard.press("ArrowLeft")
    tab_to(page, ".dnx-image canvas")
    numbers = said(page)
    for key in ("ArrowLeft", "Space", "ArrowUp", "Space", "ArrowUp", "Space"):
        page.keyboard.press(key)
    assert said(page) != numbers
    tab_to(page, ".dnx-thumbs input")
    page.keyboard.press("ArrowRight")
    assert page.locator(".dnx-thumbs input:checked").count() == 1
    tab_to(page, ".dnx-row input[type=radio]")
    page.keyboard.press("ArrowDown")
    assert "Inside: layer 2.4" in page.locator(".dnx-details").inner_text()


def test_a_table_says_the_same(visit):
    page = visit()
    page.get_by_text("The same as a table").click()
    rows = [row.inner_text().split("\t") for row in page.locator(".dnx-same tbody tr").all()]
    assert len(rows) == 14
    assert rows[5][:5] == ["2.2", "48", "16 × 7×7", "12,512", "602,112"]
    assert rows[5][5] == "transition 1 0.93, 2.1 1.07"


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "design.html"])
def test_no_rule_of_accessibility_is_broken(visit, colours, name):
    page = visit(name, color_scheme=colours, reduced_motion="reduce")
    if name == "index.html":
        page.get_by_role("button", name="5: ").click()
        page.get_by_role("button", name="Show the answer").click()
        page.get_by_label("cut the link from layer 3.1 to classifier").check()
        page.get_by_text("The same as a table").click()
    assert broken_rules(page) == {}


@pytest.mark.parametrize("name", ["index.html", "design.html"])
def test_it_fits_a_phone(visit, name):
    page = visit(name, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize(("attribute", "paper"), [("data-theme='dark'", "rgb(27, 29, 32)"),
                                                  ("data-jp-theme-light='false'", "rgb(27, 29, 32)"),
                                                  ("data-theme='light'", "rgb(255, 255, 255)")])
def test_colours_follow_the_page_around_it(visit, attribute, paper):
    page = visit(color_scheme="light" if "27" in paper else "dark")
    name, value = attribute.replace("'", "").split("=")
    page.evaluate("([name, value]) => document.documentElement.setAttribute(name, value)", [name, value])
    assert page.evaluate("getComputedStyle(document.querySelector('.dnx')).backgroundColor") == paper


def test_nothing_moves_for_those_who_asked_for_it(visit):
    page = visit(reduced_motion="reduce")
    bar = "getComputedStyle(document.querySelector('.dnx-bar'), '::before').transitionDuration"
    assert page.evaluate(bar) == "0s"
