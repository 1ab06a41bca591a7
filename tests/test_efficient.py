"""The efficient blocks compute what ``layers`` computes, and keep fewer bytes."""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from densenet_course import models
from densenet_course.config import DenseNetConfig
from densenet_course.efficient import EfficientDenseBlock, EfficientTransition, make_efficient
from densenet_course.efficient import functions as efficient_functions
from densenet_course.efficient.steps import tiles
from densenet_course.figures.memory import exponent
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block, transition
from densenet_course.measure import saved_bytes
from tests.test_models import randomise

LAST = {"memory_format": torch.channels_last}
TINY = {"block_layers": (2, 3), "growth_rate": 4, "init_channels": 6, "num_classes": 5, "stem": "cifar"}


def pair(build, seed=0, *, kernels="operators"):
    """Build a network twice, plain and efficient, with the same random weights."""
    torch.manual_seed(seed)
    plain = randomise(build(), seed)
    for name, parameter in plain.named_parameters():
        if name.startswith("features.") and "conv" in name and name.endswith("bias"):
            nn.init.uniform_(parameter, -0.5, 0.5)
    return plain, make_efficient(copy.deepcopy(plain), kernels=kernels)


def tiny(**options):
    return models.DenseNet(DenseNetConfig(**(TINY | options)))


def step(model, images, *, seed=0):
    """Run forward and backward; return everything that came of it, by name."""
    torch.manual_seed(seed)  # of dropout
    images = images.clone().requires_grad_()
    model.zero_grad()
    logits = model(images)
    F.cross_entropy(logits, torch.arange(len(images), device=images.device) % logits.shape[1]).backward()
    results = {"logits": logits.detach(), "input": images.grad}
    results |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
    return results | {name: value.clone() for name, value in model.state_dict().items()}


def difference(ours, theirs):
    """Largest difference relative to the largest value; gradients that are nothing but rounding count as 0."""
    ours, theirs = ours.double(), theirs.double()
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-4)).item()


def assert_same(ours, theirs, tolerance):
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        if value is None:
            assert ours[name] is None, name
        else:
            assert difference(ours[name], value) < tolerance, name


NETWORKS = {
    "bottleneck": tiny,
    "plain": lambda: tiny(bottleneck_factor=None),
    "plain with biases": lambda: tiny(bottleneck_factor=None, conv_bias=True),
    "biases": lambda: tiny(conv_bias=True),
    "dropout": lambda: tiny(drop_rate=0.3),
    "class": lambda: models.class_densenet(in_channels=3, drop_rate=0.2),
}


with_both_kernels = pytest.mark.parametrize("kernels", ["operators", "native"])


@with_both_kernels
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_same_results_in_double_precision(name, train, kernels, monkeypatch):
    monkeypatch.setattr("densenet_course.efficient.steps.TILE_BYTES", 2 * 12 * 12 * 8 * 24)  # a few images at once
    plain, fast = pair(NETWORKS[name], kernels=kernels)
    images = torch.randn(5, 3, 12, 12).double()
    for model in (plain, fast):
        model.double().train(train)
    for seed in range(2):  # the second step starts from the running statistics of the first
        assert_same(step(fast, images, seed=seed), step(plain, images, seed=seed), 1e-10)


@pytest.mark.parametrize("name", list(models.IMAGENET_VARIANTS))
def test_same_as_torchvision(name):
    torch.manual_seed(0)
    theirs = randomise(getattr(torchvision.models, name)(num_classes=10), seed=1).double()
    ours = getattr(models, name)(10, efficient=True).double()
    assert isinstance(ours.features.denseblock1, EfficientDenseBlock)
    assert isinstance(ours.features.transition1, EfficientTransition)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 32, 32).double()
    with torch.no_grad():
        assert difference(ours.eval()(images), theirs.eval()(images)) < 1e-10
    images = torch.randn(4, 3, 32, 32).double()
    assert_same(step(ours.train(), images), step(theirs.train(), images), 1e-8)
    theirs.load_state_dict(ours.state_dict(), strict=True)


@with_both_kernels
def test_same_in_single_precision(kernels):
    plain, fast = pair(lambda: models.class_densenet(drop_rate=0.2), kernels=kernels)
    images = torch.randn(8, 1, 28, 28)
    for train in (True, False):
        assert_same(step(fast.train(train), images), step(plain.train(train), images), 1e-5)


def error(results, exact):
    """How far the gradients are from exact ones: median over the parameters of the relative Euclidean distance."""
    names = [name for name in exact if name.startswith("gradient")]
    errors = [((results[name].double() - exact[name]).norm() / exact[name].norm()).item() for name in names]
    return sorted(errors)[len(errors) // 2]


@with_both_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deep_network_is_as_exact_as_the_plain_one(dtype, kernels):
    """Rounding moves some values across the ReLU in any order of computing; here it may not move more of them."""
    config = models.cifar_config(depth=58, growth_rate=12, in_channels=1)
    plain, fast = pair(lambda: models.DenseNet(config), kernels=kernels)
    images = torch.randn(4, 1, 16, 16)
    exact = step(copy.deepcopy(plain).double(), images.double())
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        ours, theirs = (step(m.to(**LAST), images.contiguous(**LAST)) for m in (fast, plain))
    assert ours["logits"].dtype == theirs["logits"].dtype == dtype
    assert difference(ours["logits"], exact["logits"]) < (1e-5 if dtype == torch.float32 else 0.05)
    assert error(ours, exact) < 1.5 * error(theirs, exact) + 1e-6


def test_autocast_of_a_block_alone():
    torch.manual_seed(0)
    block, down = DenseBlock(2, 3, 2), transition(7)
    features = torch.randn(2, 3, 4, 4)
    exact = down(block(features))
    with torch.autocast("cpu", torch.bfloat16):
        ours = EfficientTransition(down)(EfficientDenseBlock(block)(features).float())
    assert ours.dtype == torch.bfloat16
    assert difference(ours, exact) < 0.05


@with_both_kernels
@pytest.mark.parametrize("layer", [conv_block, BottleneckLayer])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_gradcheck(layer, train, kernels):
    torch.manual_seed(0)
    block = EfficientDenseBlock(randomise(DenseBlock(3, 3, 2, layer), 0), kernels=kernels).double().train(train)
    down = EfficientTransition(randomise(transition(9), 1), kernels=kernels).double().train(train)
    names = [(module, name) for module in (block, down) for name, _ in module.named_parameters()]
    features = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)

    def function(features, *values):
        for module in (block, down):
            own = {name: v for (m, name), v in zip(names, values, strict=True) if m is module}
            features = torch.func.functional_call(module, own, (features,))
        return features

    values = [module.get_parameter(name).detach().requires_grad_() for module, name in names]
    assert torch.autograd.gradcheck(function, (features, *values), fast_mode=True)


def freeze(model, *, statistics=False):
    """Freeze everything before the last block, and its first layer; on request the statistics of all norms."""
    last = list(model.features.children())[-2]
    for parameter in [*model.features.parameters()]:
        parameter.requires_grad = False
    for parameter in [*last.parameters()][len(list(last.denselayer1.parameters())):]:
        parameter.requires_grad = True
    last.denselayer2.norm2.bias.requires_grad = False
    for module in model.modules():
        if statistics and isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


@pytest.mark.parametrize("statistics", [False, True], ids=["batch", "frozen"])
def test_frozen_parameters_and_statistics(statistics):
    both = [freeze(m.double(), statistics=statistics) for m in pair(tiny)]
    results = [step(m, torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)).double()) for m in both]
    assert_same(*reversed(results), 1e-10)
    frozen = [name for name, value in results[0].items() if value is None]
    assert "gradient of features.denseblock1.denselayer1.conv1.weight" in frozen
    assert "gradient of features.denseblock2.denselayer2.norm2.bias" in frozen
    assert "gradient of features.denseblock2.denselayer2.norm2.weight" not in frozen


def test_nothing_is_computed_for_nobody(monkeypatch):
    _, model = pair(tiny)
    for parameter in [*model.features.parameters()][:-10]:
        parameter.requires_grad = False
    calls = []
    original = efficient_functions.run_backward
    monkeypatch.setattr(efficient_functions, "run_backward", lambda *a, **k: calls.append(1) or original(*a, **k))
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    assert len(calls) == 2 * sum(1 for _ in model.features.denseblock2.children()) - 3


@with_both_kernels
def test_mixed_norms(kernels):
    """Readers may differ in eps, momentum and mode; a norm without running statistics uses the batch's."""
    plain, fast = pair(tiny, kernels=kernels)
    for model in (plain, fast):
        block = model.double().features.denseblock2
        block.denselayer1.norm1.momentum = None
        block.denselayer2.norm1.eps = 0.1
        block.denselayer3.norm1.eval()
        block.denselayer3.norm2 = nn.BatchNorm2d(16, track_running_stats=False, dtype=torch.float64)
        block.denselayer3.norm2.eval()
        block.denselayer1.norm2.eval()
    for seed in range(2):
        images = torch.randn(3, 3, 8, 8).double()
        assert_same(step(fast, images, seed=seed), step(plain, images, seed=seed), 1e-10)


@pytest.mark.parametrize("inputs", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("weights", [torch.contiguous_format, torch.channels_last])
def test_memory_layouts(inputs, weights):
    plain, fast = pair(tiny)
    images = torch.randn(3, 3, 8, 8)
    ours = step(fast.to(memory_format=weights), images.contiguous(memory_format=inputs))
    assert_same(ours, step(plain, images), 1e-5)


def test_without_gradients():
    plain, fast = pair(tiny)
    images = torch.randn(3, 3, 8, 8)
    for mode in (torch.no_grad, torch.inference_mode):
        for train in (True, False):
            with mode():
                assert difference(fast.train(train)(images), plain.train(train)(images)) < 1e-5
    for name, value in plain.state_dict().items():
        assert difference(fast.state_dict()[name], value) < 1e-5, name
    assert not fast(images).isnan().any()


@with_both_kernels
@pytest.mark.parametrize("name", ["bottleneck", "plain with biases", "biases", "dropout"])
def test_inference(name, kernels, monkeypatch):
    """Without gradients and batch statistics nothing is kept: the block is computed in another way."""
    monkeypatch.setattr("densenet_course.efficient.steps.TILE_BYTES", 2 * 8 * 8 * 8 * 18)
    plain, fast = (model.double().eval() for model in pair(NETWORKS[name], kernels=kernels))
    if name != "plain with biases":
        plain.features.denseblock1.denselayer1.norm2.eps = fast.features.denseblock1.denselayer1.norm2.eps = 0.1
    images = torch.randn(5, 3, 8, 8).double()
    monkeypatch.setattr(efficient_functions.DenseFunction, "apply", None)  # the other way is not taken
    with torch.no_grad():
        assert difference(fast(images), plain(images)) < 1e-12
        plain.bfloat16(), fast.bfloat16()
        assert difference(fast(images.bfloat16()), plain(images.bfloat16())) < 0.05


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("edge", [3, 24], ids=["few pixels", "many pixels"])
@pytest.mark.parametrize("layer", [conv_block, BottleneckLayer])
def test_inference_of_a_compiled_block(layer, edge, threads):
    """Few pixels are multiplied as matrices, many are convolved."""
    torch.manual_seed(0)
    plain = randomise(DenseBlock(3, 5, 4, layer), 0).eval()
    for module in plain.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.randn(module.out_channels))
    fast = EfficientDenseBlock(copy.deepcopy(plain), kernels="native")
    features, before = torch.randn(2, 5, edge, edge), torch.get_num_threads()
    torch.set_num_threads(threads)
    with torch.no_grad():
        ours, right = fast(features), plain(features)
    torch.set_num_threads(before)
    assert difference(ours, right) < 1e-5
    assert not ours.is_inference() and (ours.requires_grad_() * 2).requires_grad  # may go into what is trained


def test_two_backward_passes_through_one_graph():
    _, model = pair(tiny)
    loss = model(torch.randn(3, 3, 8, 8)).square().sum()
    weights = list(model.parameters())
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, weights), strict=True):
        assert torch.equal(a, b)


def test_the_gradient_handed_in_is_left_alone():
    block = EfficientDenseBlock(DenseBlock(2, 3, 2))
    output = block(torch.randn(2, 3, 4, 4))
    grad = torch.randn_like(output)
    before = grad.clone()
    output.backward(grad)
    assert torch.equal(grad, before)


def test_changed_weights_are_noticed_before_the_backward_pass():
    _, model = pair(tiny)
    loss = model(torch.randn(3, 3, 8, 8)).sum()
    with torch.no_grad():
        model.features.denseblock1.denselayer1.conv1.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_it_cannot_compute_is_refused():
    with pytest.raises(TypeError, match="expected a conv block or a BottleneckLayer, got Sequential"):
        EfficientDenseBlock(DenseBlock(1, 3, 2, lambda c, k: nn.Sequential(nn.Conv2d(c, k, 1))))
    model = nn.SyncBatchNorm.convert_sync_batchnorm(make_efficient(tiny()))
    with pytest.raises(TypeError, match=r"expected nn.BatchNorm2d .* got SyncBatchNorm"):
        model.features.denseblock1(torch.randn(2, 6, 4, 4))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        make_efficient(tiny(block_layers=(1,)))(torch.randn(1, 3, 1, 1))


def test_the_argument():
    plain, fast, native = (DenseNetConfig(**TINY, efficient=e) for e in (False, True, "native"))
    assert plain == fast == native and str(plain) == str(fast)  # so a checkpoint of one continues as the other
    assert models.DenseNet(plain).features.denseblock1.__class__ is DenseBlock
    for model in (
        models.DenseNet(fast), models.small_densenet(efficient=True), models.class_densenet(efficient=True),
        models.DenseNet(models.cifar_config(depth=22, growth_rate=4, efficient=True)),
    ):
        assert isinstance(model.features.denseblock1, EfficientDenseBlock)
        assert isinstance(model.features.transition1, EfficientTransition)
    assert not EfficientDenseBlock(DenseBlock(1, 3, 2).eval()).training
    features = models.DenseNet(native).features
    assert features.denseblock1.kernels == features.transition1.kernels == "native"
    with pytest.raises(ValueError, match='expected False, True or "native", got \'fast\''):
        DenseNetConfig(**TINY, efficient="fast")


def test_tiles_cover_the_batch():
    for shape in ((7, 1, 28, 28), (1, 1, 224, 224), (130, 1, 4, 4)):
        covered = [i for tile in tiles(torch.empty(shape)) for i in range(shape[0])[tile]]
        assert covered == list(range(shape[0]))


def bottleneck_net(depth, **options):
    return models.DenseNet(models.cifar_config(depth=depth, growth_rate=12, in_channels=1, **options))


def test_saved_bytes_are_linear_in_depth():
    images, depths = torch.randn(2, 1, 8, 8), (40, 100, 160, 250)
    plain, fast = ([saved_bytes(bottleneck_net(d, efficient=e), images) for d in depths] for e in (False, True))
    assert exponent(depths, plain) > 1.5
    assert exponent(depths, fast) < 1.1


def test_saved_bytes_of_the_paper_network():
    images = torch.randn(2, 1, 28, 28)  # all of it grows with the batch alike
    plain, fast = (saved_bytes(bottleneck_net(100, efficient=e), images) for e in (False, True))
    assert plain > 5 * fast
