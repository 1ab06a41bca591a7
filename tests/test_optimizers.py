"""Muon: what orthogonalising does to singular values, which weights get it, and that the rest is SGD."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from densenet_course.models import class_densenet
from densenet_course.recipe import Recipe
from densenet_course.training import FP32, fit, make_optimizer, optimizers
from densenet_course.training.optimizers import (
    decay_groups,
    make_adam,
    make_muon,
    optimizer_for,
    orthogonalise,
    orthogonalise_all,
)
from tests.test_training import small_data


def tiny():
    torch.manual_seed(0)
    return class_densenet(block_layers=(2, 2), growth_rate=4, init_channels=8)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (8, 8)])
def test_singular_values_end_near_one_and_the_vectors_stay(shape):
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    sizes = torch.logspace(0, -1.7, min(shape), dtype=torch.float64)
    result = orthogonalise(u * sizes @ vh)
    across = u.T @ result @ vh.T  # diagonal where the singular vectors are the same
    assert (across - across.diagonal().diag()).abs().max() < 1e-9
    assert across.diagonal().min() > 0.68
    assert across.diagonal().max() < 1.14


def test_many_matrices_at_once_give_what_each_gives_alone():
    torch.manual_seed(0)
    shapes = [(6, 40), (6, 9), (40, 6), (6, 6), (5, 12), (7, 7), (6, 3)]
    matrices = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    for matrix, found in zip(matrices, orthogonalise_all(matrices), strict=True):
        torch.testing.assert_close(found, orthogonalise(matrix))
    assert orthogonalise_all([]) == []


def test_the_size_of_a_gradient_does_not_matter():
    torch.manual_seed(0)
    gradient = torch.randn(5, 12, dtype=torch.float64)
    torch.testing.assert_close(orthogonalise(gradient), orthogonalise(1000 * gradient), rtol=1e-6, atol=1e-6)


def test_convolutions_between_first_and_last_layer_get_orthogonal_steps():
    model = tiny()
    optimizer = make_muon(model, peak_rate=0.2)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    assert sorted(name for group in groups for name in group) == sorted(names.values()), "each once"
    assert all("conv" in name and name != "features.conv0.weight" for name in groups[0])
    assert groups[1] == ["features.conv0.weight", "classifier.weight"]
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.02), 0.2, 0.2]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 5e-4, 0.0]


def test_orthogonal_steps_may_have_another_momentum():
    recipe = Recipe(optimizer="muon", peak_rate=0.9, momentum=0.8, orthogonal_momentum=0.7)
    groups = optimizer_for(tiny(), recipe).param_groups
    assert [group["momentum"] for group in groups] == [0.7, 0.8, 0.8]
    assert [group["lr"] for group in groups] == [pytest.approx(0.09), 0.9, 0.9]
    groups = optimizer_for(tiny(), replace(recipe, optimizer="sgd")).param_groups
    assert [group["momentum"] for group in groups] == [0.8, 0.8]


def steps_of(make, model, count=3):
    """Take some steps with fixed gradients; return how far each parameter moved."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make(model, peak_rate=0.2)
    for i in range(count):
        torch.manual_seed(i)
        for p in model.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


def test_all_other_weights_take_the_steps_of_sgd():
    muon, sgd = steps_of(make_muon, tiny()), steps_of(make_optimizer, tiny())
    for name in muon:
        inner = muon[name].ndim == 4 and name != "features.conv0.weight"
        assert torch.equal(muon[name], sgd[name]) != inner, name


def test_a_step_is_the_rate_times_an_orthogonal_matrix_of_the_looked_ahead_velocity():
    model = tiny()
    weight = model.features.denseblock1.denselayer1.conv2.weight  # (4, 16, 3, 3)
    moved = steps_of(make_muon, model, count=2)["features.denseblock1.denselayer1.conv2.weight"]
    torch.manual_seed(0)
    gradients = []
    for i in range(2):
        torch.manual_seed(i)
        gradients.append([torch.randn_like(p) for p in model.parameters()][
            [id(p) for p in model.parameters()].index(id(weight))].flatten(1))
    velocity = torch.zeros_like(gradients[0])
    expected = torch.zeros_like(velocity)
    for gradient in gradients:
        velocity = 0.95 * velocity + gradient
        expected -= 0.02 * orthogonalise(gradient + 0.95 * velocity)
    torch.testing.assert_close(moved.flatten(1), expected, rtol=1e-5, atol=1e-6)


def test_gradients_stay_and_missing_ones_are_passed_over():
    model = tiny()
    optimizer = make_muon(model, peak_rate=0.1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    frozen = model.features.denseblock1.denselayer1.conv1.weight
    frozen.grad, before = None, frozen.detach().clone()
    optimizer.step()
    assert torch.equal(frozen, before)
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters() if p is not frozen)


def test_a_closure_finds_the_gradients_of_all_weights():
    plain, closed = tiny(), tiny()
    closed.load_state_dict(plain.state_dict())
    images = torch.randn(4, 1, 28, 28)

    def gradients(model):
        loss = model(images).square().sum()
        loss.backward()
        return loss

    loss = gradients(plain)
    make_muon(plain, peak_rate=0.1).step()
    assert make_muon(closed, peak_rate=0.1).step(lambda: gradients(closed)) == loss
    for ours, right in zip(closed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, right)


def test_training_learns_and_resumes_to_the_same_weights(tmp_path):
    options = {"epochs": 3, "peak_rate": 0.05, "optimizer": "muon", "device": torch.device("cpu"),
               "precision": FP32}
    whole, resumed = tiny(), tiny()
    data = small_data(count=64, batch_size=16, shuffle=True)
    history = fit(whole, data, **options)
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.1

    def stop(epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    halted = small_data(count=64, batch_size=16, shuffle=True)
    halted.set_epoch = stop
    assert len(fit(tiny(), halted, checkpoint=tmp_path / "muon.pt", **options)) == 2
    fit(resumed, data, checkpoint=tmp_path / "muon.pt", **options)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)
    with pytest.raises(ValueError, match="optimizer"):
        fit(tiny(), data, checkpoint=tmp_path / "muon.pt", **(options | {"optimizer": "sgd"}))


def test_a_frozen_stem_is_still_the_first_convolution():
    model = tiny()
    model.features.conv0.requires_grad_(False)
    inner = make_muon(model, peak_rate=0.2).param_groups[0]
    assert inner["orthogonal"] and len(inner["params"]) == sum(p.ndim == 4 for p in model.parameters()) - 1


def test_with_all_convolutions_frozen_the_classifier_is_trained_by_sgd():
    model = tiny()
    model.features.requires_grad_(False)
    optimizer = make_muon(model, peak_rate=0.2)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]  # its weight and its bias
    assert not any(group["orthogonal"] for group in optimizer.param_groups)


def test_adam_decays_what_sgd_decays_and_learns():
    model = tiny()
    adam, sgd = make_adam(model, peak_rate=0.01, momentum=0.8), make_optimizer(model, peak_rate=0.2)
    for ours, theirs in zip(adam.param_groups, sgd.param_groups, strict=True):
        assert [id(p) for p in ours["params"]] == [id(p) for p in theirs["params"]]
        assert ours["weight_decay"] == theirs["weight_decay"]
        assert ours["betas"][0] == 0.8
    history = fit(tiny(), small_data(), epochs=4, optimizer="adam", peak_rate=0.01)
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.1


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="optimizer: expected one of sgd, muon, adam, got 'lbfgs'"):
        fit(tiny(), small_data(), optimizer="lbfgs")


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize(("make", "original"), [(make_optimizer, torch.optim.SGD), (make_adam, torch.optim.AdamW)])
def test_the_optimizers_are_those_of_torch_with_torch_compile_and_without(make, original, is_loaded, monkeypatch):
    monkeypatch.setattr(optimizers, "sys", SimpleNamespace(modules={"torch._dynamo": None} if is_loaded else {}))
    ours, theirs = tiny(), tiny()
    optimizer = make(ours, peak_rate=0.2)
    options = {name: value for name, value in optimizer.defaults.items() if name != "decoupled_weight_decay"}
    reference = original(decay_groups(theirs.parameters(), 5e-4), **options)
    for seed in range(3):
        for model, one in ((ours, optimizer), (theirs, reference)):
            one.zero_grad()
            assert all(p.grad is None for p in model.parameters())
            torch.manual_seed(seed)
            for p in model.parameters():
                p.grad = torch.randn_like(p)
            one.step()
        state = optimizer.state_dict()
        optimizer = make(ours, peak_rate=0.1)
        optimizer.load_state_dict(state)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_training_imports_neither_torch_compile_nor_what_lies_behind_it():
    code = """if True:
        import sys, tempfile, torch
        from densenet_course.data import ResidentBatches
        from densenet_course.models import class_densenet
        from densenet_course.training import fit
        batches = ResidentBatches(torch.zeros(8, 1, 28, 28, dtype=torch.uint8), torch.arange(8), batch_size=8)
        for optimizer in ("sgd", "muon", "adam"):
            with tempfile.TemporaryDirectory() as folder:
                options = {"optimizer": optimizer, "test": batches, "checkpoint": f"{folder}/checkpoint.pt"}
                for _ in range(2):  # the second time from the checkpoint
                    fit(class_densenet(), batches, epochs=1, **options)
        print([m for m in ("torch._dynamo", "torchvision", "sympy", "matplotlib") if m in sys.modules])
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "[]\n"
