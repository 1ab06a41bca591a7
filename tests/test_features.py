"""Features by depth are what the readers read; probes and links are what they say."""

import hashlib
import inspect
import json
from pathlib import Path

import pytest
import torch
import torchvision

from densenet_course import accounting, models, pretrained
from densenet_course.data import ResidentBatches, load
from densenet_course.models import class_densenet
from densenet_course.studies import features
from densenet_course.training import evaluate
from tests import notebook_rules as rules
from tests.test_models import randomise


def images(size=28, channels=1, number=4):
    return torch.randn(number, channels, size, size, generator=torch.Generator().manual_seed(0))


def read_by_hooks(model, inputs):
    """Record what each first convolution of a layer, and each transition's, really reads."""
    seen, handles = [], []
    for name, module in model.named_modules():
        if name.endswith((".conv1", ".conv")):
            handles.append(module.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone())))
    with torch.no_grad():
        logits = model(inputs)
    for handle in handles:
        handle.remove()
    return seen, logits


NETWORKS = {
    "class network": (lambda: models.class_densenet(), images()),
    "plain layers": (lambda: models.class_densenet(bottleneck_factor=None), images()),
    "efficient": (lambda: models.class_densenet(efficient=True), images()),
    "torchvision": (lambda: torchvision.models.densenet121(), images(32, 3, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_what_the_readers_read(name):
    build, inputs = NETWORKS[name]
    torch.manual_seed(0)
    model = randomise(build(), 0).eval()
    with torch.no_grad():
        found = dict(features.maps_by_depth(model, inputs))
    seen, logits = read_by_hooks(model, inputs)
    *read, pooled = found.values()
    if name != "efficient":  # its blocks call no layer, and so no hook
        assert len(read) == len(seen) and all(map(torch.equal, read, seen))
    torch.testing.assert_close(model.classifier(pooled.mean(dim=(2, 3))), logits, rtol=1e-4, atol=1e-5)


def test_places_have_names_and_the_channels_of_the_formulas():
    model = models.class_densenet().eval()
    found = features.pooled_by_depth(model, images())
    assert list(found)[:4] == ["stem", "block 1, layer 1", "block 1, layer 2", "transition 1"]
    assert list(found)[-1] == "block 3, layer 4" and len(found) == 13
    widths = [pooled.shape[1] for pooled in found.values()]
    expected, start = [], 32
    for layers, after in ((2, 32), (4, 48), (4, None)):
        expected += [*accounting.layer_inputs(start, num_layers=layers, growth_rate=16), start + layers * 16]
        start = after
    assert widths == expected


def test_pooling_keeps_mode_statistics_and_grid():
    model = models.class_densenet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole, parts = (features.pooled_by_depth(model, images(), batch_size=size) for size in (4, 3))
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.allclose(whole[place], parts[place], atol=1e-5) for place in whole)
    fine = features.pooled_by_depth(model, images(), grid=2)["stem"]
    assert fine.shape == (4, 128)
    torch.testing.assert_close(fine.reshape(4, 32, 4).mean(2), whole["stem"])  # 14 pixels halve evenly
    with pytest.raises(ValueError, match="at least 1"):
        features.pooled_by_depth(model, images(), grid=0)


def test_the_checkpoint_is_the_one_described_and_knows_its_classes():
    about = json.loads(pretrained.CHECKPOINT.with_suffix(".json").read_text(encoding="utf-8"))
    assert hashlib.sha256(pretrained.CHECKPOINT.read_bytes()).hexdigest() == about["sha256"]
    assert about["test_accuracy"] > 0.92 and about["train_images"] == 60_000 and about["provenance"]["seeds"] == [0]
    model = class_densenet(weights="DEFAULT")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    test = [part[:1000] for part in load("test")]
    assert evaluate(model, ResidentBatches(*test, batch_size=500))[1] == pytest.approx(about["test_accuracy"], abs=0.03)


def test_a_missing_checkpoint_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "CHECKPOINT", tmp_path / "gone.pt")
    with pytest.raises(FileNotFoundError, match=r"class_checkpoint\.py"):
        class_densenet(weights="DEFAULT")


def three_heaps(number=300):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(number) % 3
    points = 8 * torch.eye(3)[labels] + torch.tensor([30.0, 0, -9]) + torch.randn(number, 3, generator=generator)
    return torch.cat([points, torch.full((number, 1), 7.0)], dim=1), labels  # the last feature never varies


@torch.no_grad()
def test_a_probe_separates_what_a_line_can_and_ignores_units():
    known, labels = three_heaps()
    probe = features.linear_probe(known, labels)
    assert features.accuracy(probe, known, labels) > 0.99
    assert features.accuracy(probe, known, (labels + 1) % 3) < 0.01
    assert (probe.weight[:, 3] == 0).all()
    scaled = features.linear_probe(known * 100 - 5, labels)
    torch.testing.assert_close(scaled(known * 100 - 5).softmax(1), probe(known).softmax(1), atol=1e-2, rtol=0)
    with pytest.raises(ValueError, match="299"):
        features.linear_probe(known, labels[:299])


def test_a_stronger_penalty_makes_smaller_weights():
    known, labels = three_heaps()
    weak, strong = (features.linear_probe(known, labels, decay=decay).weight.norm() for decay in (1e-3, 1))
    assert strong < weak / 2


def test_best_places_are_those_that_the_best_does_not_beat_in_every_run():
    def run(**scores):
        return {"classes": {"test": scores}}

    runs = [run(a=0.5, b=0.9, c=0.8, d=0.9), run(a=0.6, b=0.9, c=0.95, d=0.7)]
    assert features.best_places(runs, "classes") == ["b", "c", "d"]  # b has the best mean; c and d equal it once
    assert features.best_places(runs[1:], "classes") == ["c"]


def test_lesson_10_shows_the_loop_that_the_package_runs():
    lesson = Path(__file__).resolve().parent.parent / "notebooks/source/10_what_the_layers_learn.py"
    shown, ours = (rules.definitions(text)["maps_by_depth"] for text in (
        lesson.read_text(encoding="utf-8"), inspect.getsource(features)))
    assert shown == ours


def test_edge_density_of_images_one_can_work_out():
    column = torch.arange(28, dtype=torch.uint8).expand(28, 28)
    flat, ramp = torch.full((28, 28), 90, dtype=torch.uint8), 5 * column
    found = features.edge_density(torch.stack([flat, ramp, ramp.T, ramp + column * 0 + 30]).unsqueeze(1))
    torch.testing.assert_close(found, torch.tensor([0, 5, 5, 5]) / 255)


def test_quarters_are_even_and_ordered():
    values = torch.randperm(400, generator=torch.Generator().manual_seed(0)).float()
    assert features.quartile_of(values, values).bincount().tolist() == [100] * 4
    assert features.quartile_of(torch.tensor([-1.0, 150.0, 999.0]), values).tolist() == [0, 1, 3]


@pytest.mark.parametrize("factor", [4, None])
def test_links_are_views_of_the_weights_in_their_order(factor):
    model = models.class_densenet(bottleneck_factor=factor)
    found = {link[:3]: link[3] for link in features.links(model)}
    assert len(found) == sum(range(1, 4)) + 2 * sum(range(1, 6))
    assert sum(weights.numel() for weights in found.values()) == sum(
        module.weight.numel() for name, module in model.named_modules() if name.endswith((".conv1", ".conv", "ifier")))
    found[2, "layer 3", "layer 2"].fill_(3)
    weight = model.features.denseblock2.denselayer3.conv1.weight
    assert (weight[:, 48:64] == 3).all() and not (weight[:, :48] == 3).any()
    found[3, "classifier", "layer 4"].zero_()
    assert (model.classifier.weight[:, -16:] == 0).all() and (model.classifier.weight[:, :-16] != 0).all()


def test_reuse_averages_absolute_weights():
    model = models.class_densenet()
    for block, reader, source, weights in features.links(model):
        weights.fill_(-block - (0.5 if source == "input" else 0) - (0.25 if reader == "layer 2" else 0))
    first, second, last = features.reuse(model)
    assert first["readers"] == ["layer 1", "layer 2", "transition1"] and first["sources"][:2] == ["input", "layer 1"]
    nan = float("nan")
    expected = torch.tensor([[1.5, nan, nan], [1.75, 1.25, nan], [1.5, 1, 1]])
    torch.testing.assert_close(first["weights"], expected, equal_nan=True)
    assert second["weights"].shape == (5, 5) and last["readers"][-1] == "classifier"
