"""Networks refuse bad arguments, and agree with torchvision's in every number."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
import torchvision

from densenet_course import models
from densenet_course.config import DenseNetConfig

GOOD = {"block_layers": (2, 2), "growth_rate": 4, "init_channels": 8}


@pytest.mark.parametrize("wrong, message", [
    ({"growth_rate": 0}, r"growth_rate: expected .* at least 1, got 0"),
    ({"growth_rate": 2.5}, r"growth_rate: expected a whole number .* got 2.5"),
    ({"growth_rate": True}, r"growth_rate: .* got True"),
    ({"init_channels": -8}, r"init_channels: .* got -8"),
    ({"num_classes": 0}, r"num_classes: .* got 0"),
    ({"in_channels": 0}, r"in_channels: .* got 0"),
    ({"bottleneck_factor": 0}, r"bottleneck_factor: .* got 0"),
    ({"compression": 0}, r"compression: expected 0 < θ ≤ 1, got 0"),
    ({"compression": 1.5}, r"compression: expected 0 < θ ≤ 1, got 1.5"),
    ({"compression": 0.01}, r"0.01 of 16 channels leaves none at transition 1"),
    ({"drop_rate": 1.0}, r"drop_rate: expected 0 ≤ p < 1, got 1.0"),
    ({"block_layers": ()}, r"block_layers: expected at least one block"),
    ({"block_layers": (6, 0)}, r"block_layers\[1\]: .* got 0"),
    ({"stem": "vit"}, r"stem: expected one of imagenet, cifar, class, got 'vit'"),
])
def test_bad_arguments_are_refused_with_the_number(wrong, message):
    DenseNetConfig(**GOOD)
    with pytest.raises(ValueError, match=message):
        DenseNetConfig(**(GOOD | wrong))


def test_bad_images_are_refused_with_the_shape():
    model = models.class_densenet()
    with pytest.raises(ValueError, match=r"expected shape \(N, 1, H, W\), got \(2, 3, 28, 28\)"):
        model(torch.zeros(2, 3, 28, 28))
    with pytest.raises(ValueError, match="images of 28×28 pixels are too small: the imagenet stem and 3 transitions"):
        models.densenet121()(torch.zeros(1, 3, 28, 28))


def test_cifar_depth_must_divide():
    with pytest.raises(ValueError, match=r"depth: expected 4 \+ 6·n with n ≥ 1, got 101"):
        models.cifar_config(depth=101, growth_rate=12)


def test_dropout_stands_in_every_layer_and_changes_no_key():
    plain, dropped = models.class_densenet(), models.class_densenet(drop_rate=0.2)
    assert list(plain.state_dict()) == list(dropped.state_dict())
    assert sum(isinstance(m, torch.nn.Dropout) for m in dropped.modules()) == sum(plain.config.block_layers)
    torch.manual_seed(0)
    images = torch.randn(2, 1, 28, 28)
    assert not torch.equal(dropped.train()(images), dropped(images))
    dropped.eval()
    assert torch.equal(dropped(images), dropped(images))


def test_initial_weights_are_the_papers():
    model = models.densenet121()
    conv = model.features.denseblock3.denselayer20.conv1.weight
    fan_in = conv[0].numel()
    assert conv.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    assert model.classifier.bias.abs().max() == 0
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)


@pytest.mark.parametrize("efficient", [False, True])
def test_initialise_only_sets_numbers(efficient):
    model = models.small_densenet(efficient=efficient)
    parts, names = list(model.modules()), [name for name, _ in model.named_parameters()]
    assert any(name.endswith("conv1.bias") for name in names)
    models.initialise(model)
    assert all(a is b for a, b in zip(model.modules(), parts, strict=True))
    assert [name for name, _ in model.named_parameters()] == names


def test_biases_start_at_zero_and_come_where_they_are_asked_for():
    biases = [p for name, p in models.small_densenet().features.named_parameters() if "conv" in name and "bias" in name]
    assert len(biases) == 1 + 16 + 3 and not any(p.any() for p in biases)
    assert not [name for name, _ in models.class_densenet().features.named_parameters() if "conv" in name
                and "bias" in name]


def test_onnx_with_a_free_batch(tmp_path):
    pytest.importorskip("onnxscript")
    model, images = models.class_densenet(efficient=True).eval(), torch.randn(2, 1, 28, 28)
    program = torch.onnx.export(model, (images,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert str(program.model.graph.inputs[0].shape[0]) == "batch"


def test_export_with_free_sizes():
    edge = torch.export.Dim("edge", min=16, max=64)
    program = torch.export.export(models.class_densenet().eval(), (torch.randn(2, 1, 28, 28),),
                                  dynamic_shapes=({2: edge, 3: edge},))
    assert program.module()(torch.randn(2, 1, 40, 40)).shape == (2, 10)


def relative_difference(ours, theirs):
    """Largest difference, relative to the largest value of the tensor."""
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30)).item()


def randomise(model, seed):
    """Give parameters and running statistics values at which a swapped or forgotten one would show."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5), (module.bias, -0.5, 0.5), (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 1.5),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return model


@pytest.mark.parametrize("name", list(models.IMAGENET_VARIANTS))
def test_parity_with_torchvision(name):
    """Logits in both modes, every gradient and every running statistic, weights copied in both directions."""
    torch.manual_seed(0)
    theirs = randomise(getattr(torchvision.models, name)(num_classes=10), seed=1)
    ours = getattr(models, name)(10)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([3, 7])
    with torch.no_grad():
        assert relative_difference(ours.eval()(images), theirs.eval()(images)) < 1e-5
    outputs = []
    for model in (ours.train(), theirs.train()):
        outputs.append(model(images))
        F.cross_entropy(outputs[-1], labels).backward()
    assert relative_difference(*outputs) < 1e-5
    expected = dict(theirs.named_parameters())
    assert list(expected) == [n for n, _ in ours.named_parameters()]
    for key, parameter in ours.named_parameters():
        assert relative_difference(parameter.grad, expected[key].grad) < 1e-5, key
    back = getattr(torchvision.models, name)(num_classes=10)
    back.load_state_dict(ours.state_dict(), strict=True)  # after the step, running statistics and counters included
    for key, value in theirs.state_dict().items():
        assert relative_difference(back.state_dict()[key].double(), value.double()) < 1e-5, key


def test_parity_in_single_precision():
    torch.manual_seed(0)
    theirs = torchvision.models.densenet121(num_classes=10)
    ours = models.densenet121(10)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(4, 3, 64, 64)
    for model in (ours, theirs):
        model.train()
    assert relative_difference(ours(images), theirs(images)) < 1e-5
    for model in (ours, theirs):
        model.eval()
    assert relative_difference(ours(images), theirs(images)) < 1e-5


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, densenet_course, densenet_course.models, densenet_course.training, densenet_course.data\n"
        "print([m for m in ('torchvision', 'd2l', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
