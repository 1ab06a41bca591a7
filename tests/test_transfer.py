"""Classes, labelled images, new classifier and frozen features are what the lesson on transfer takes them for."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from densenet_course.models import class_densenet
from densenet_course.studies.transfer import (
    draw_per_class,
    last_features,
    measure_batchnorm,
    select_classes,
    with_new_classifier,
)

ROOT = Path(__file__).resolve().parent.parent


def test_classes_are_kept_and_numbered_anew_in_the_order_given():
    labels = torch.tensor([4, 2, 9, 4, 0, 2])
    images = torch.arange(6).reshape(6, 1)
    kept, numbers = select_classes(images, labels, (4, 2))
    assert kept[:, 0].tolist() == [0, 1, 3, 5] and numbers.tolist() == [0, 1, 0, 1] and numbers.dtype == torch.int64
    with pytest.raises(ValueError, match="no image of 7"):
        select_classes(images, labels, (4, 7))
    with pytest.raises(ValueError, match=r"each once, got \(4, 4\)"):
        select_classes(images, labels, (4, 4))


def test_few_draws_as_many_of_each_class_without_repeats():
    labels = torch.arange(3).repeat(20)
    images = torch.arange(60).reshape(60, 1)
    drawn, numbers = draw_per_class(images, labels, 7, seed=1)
    assert torch.bincount(numbers).tolist() == [7, 7, 7]
    assert len(set(drawn[:, 0].tolist())) == 21 and torch.equal(labels[drawn[:, 0]], numbers)
    assert torch.equal(drawn, draw_per_class(images, labels, 7, seed=1)[0])
    assert not torch.equal(drawn, draw_per_class(images, labels, 7, seed=2)[0])
    for wrong in (0, 21):
        with pytest.raises(ValueError, match=rf"1 … 20, .*got {wrong}"):
            draw_per_class(images, labels, wrong, seed=0)


def test_the_copy_has_a_new_classifier_and_the_original_keeps_its_own():
    model = class_densenet(7).eval().requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    new = with_new_classifier(model, 7)
    assert not torch.equal(new.classifier.weight, model.classifier.weight)
    assert all(p.requires_grad for p in new.parameters()) and not any(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        for p in new.parameters():
            p.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert with_new_classifier(model, 3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


@pytest.mark.parametrize("make", [
    lambda: (class_densenet(7), torch.randn(5, 1, 28, 28)),
    lambda: (torchvision.models.DenseNet(8, (2, 2), 16, num_classes=4), torch.randn(5, 3, 32, 32)),
])
def test_last_features_are_what_the_classifier_reads(make):
    torch.manual_seed(0)
    model, images = make()
    model.train()(images)  # so that the running statistics are not those of the start
    buffers = [buffer.clone() for buffer in model.buffers()]
    features = last_features(model, images, batch_size=2)
    assert model.training and not features.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    torch.testing.assert_close(model.classifier(features), model.eval()(images))


def test_settled_statistics_are_the_mean_over_the_batches():
    torch.manual_seed(0)
    model, images = class_densenet(3), torch.randn(6, 1, 28, 28) + 2
    model(torch.randn(4, 1, 28, 28) - 9)  # statistics of other images, which must not stay
    weights = [p.clone() for p in model.parameters()]
    assert measure_batchnorm(model, images, batch_size=3) is model and not model.training
    norm = model.features.denseblock1.denselayer1.norm1  # reads what the stem puts out
    assert isinstance(norm, nn.BatchNorm2d) and norm.momentum == 0.1
    with torch.no_grad():
        expected = torch.stack([model.features.conv0(part).mean(dim=(0, 2, 3)) for part in images.split(3)]).mean(0)
    torch.testing.assert_close(norm.running_mean, expected)
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


def test_the_quick_benchmark_runs_and_writes_what_the_pictures_read():
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    command = [sys.executable, "benchmarks/transfer.py", "--quick"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    measured = json.loads((ROOT / "runs/quick/transfer.json").read_text(encoding="utf-8"))
    assert measured["provenance"]["command"] == "python benchmarks/transfer.py --quick"
    kept = json.loads((ROOT / "benchmarks/results/transfer.json").read_text(encoding="utf-8"))
    keys = [[(run["method"], run["source"], run["target"]) for run in one["runs"]] for one in (measured, kept)]
    assert keys[0] == keys[1] and measured.keys() == kept.keys()
    for run in measured["runs"]:
        assert len(run["test"]) == 1 and 0 <= run["test"][0]["target"] <= 1
        assert ("source" in run["test"][0]) == bool(run["source"])
    still, before = ([run for run in measured["runs"] if run["method"] == "classifier, BN still"],
                     measured["pretraining"][0])
    assert [run["test"][0]["source"] for run in still] == before["test"] * 2, "a frozen network forgets nothing"
    (one,) = measured["forgetting"]
    assert one.keys() == kept["forgetting"][0].keys() and one["before"] == before["test"][0]


@pytest.mark.usefixtures("benchmarks")
def test_pixels_under_a_classifier_are_a_method_like_the_others():
    import transfer_methods as methods

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 40, (60, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.arange(3).repeat(20)
    images[labels == 1, :, :9] += 200  # bright on top; mirror images are, too
    images[labels == 2, :, 20:] += 200
    data = {"labelled": {(0, 1, 2): (images, labels)}}
    model, old, seconds = methods.transfer("raw pixels", (), (0, 1, 2), 10, 0, 0.1, data=data, plan=methods.Plan())
    assert old is None and seconds >= 0 and not any(isinstance(part, nn.Conv2d) for part in model.modules())
    assert methods.score(model, (images, labels)) == 1


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(("method", "moves"), [("fine-tuned", True), ("fine-tuned, BN still", False)])
def test_statistics_stay_where_they_are_to_be_still(method, moves):
    import transfer_methods as methods

    images, labels = torch.randint(0, 256, (12, 1, 28, 28), dtype=torch.uint8), torch.arange(3).repeat(4)
    model = class_densenet(3)
    before = copy.deepcopy(model.state_dict())
    methods.train(method, model, (images, labels), 0.01, 0, plan=methods.Plan(steps=2, batch_size=6))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.endswith("running_mean") for name in changed) == moves
    assert any(name.endswith("conv1.weight") for name in changed)
