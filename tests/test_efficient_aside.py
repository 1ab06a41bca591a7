"""Where an efficient block's shortcut would go unseen or not hold, the plain forward computes, or an error says why."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from densenet_course import models
from densenet_course.efficient import EfficientDenseBlock, EfficientTransition, make_efficient
from densenet_course.efficient import functions as efficient_functions
from densenet_course.layers import DenseBlock, transition
from tests.test_efficient import assert_same, difference, pair, step, tiny, with_both_kernels
from tests.test_models import randomise

IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def doubles(kernels, build=tiny, train=True):
    """Build a plain and an efficient network in double precision."""
    return [model.double().train(train) for model in pair(build, kernels=kernels)]


def each(model, kind):
    """List (parent, name, module) of all modules of exactly this kind inside the blocks and transitions."""
    parents = [p for name, part in model.features.named_children() if name.startswith(("dense", "trans"))
               for p in part.modules()]
    return [(p, name, m) for p in parents for name, m in p.named_children() if type(m) is kind]


def replace(model, kind, build):
    for parent, name, module in each(model, kind):
        setattr(parent, name, build(module))


def set_all(kind, **values):
    def change(model):
        for _, _, module in each(model, kind):
            for name, value in values.items():
                setattr(module, name, value)
    return change


def circular(conv):
    new = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding, bias=False,
                    padding_mode="circular")
    new.weight = conv.weight
    return new


def wider(conv):
    return nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=False)


def own_forward(model):
    class Residual(nn.Sequential):
        def forward(self, maps):
            return 2 * super().forward(maps)
    model.features.denseblock1.denselayer1.__class__ = Residual


def dropout_first(model):
    layer = model.features.denseblock1.denselayer1
    parts = list(layer.named_children())
    for name, _ in parts:
        delattr(layer, name)
    for name, part in [("dropout", nn.Dropout(0.5)), *parts]:
        layer.add_module(name, part)


FOREIGN = {
    "LeakyReLU": lambda m: replace(m, nn.ReLU, lambda _: nn.LeakyReLU(0.3)),
    "ReLU6": lambda m: replace(m, nn.ReLU, lambda _: nn.ReLU6()),
    "MaxPool2d": lambda m: replace(m, nn.AvgPool2d, lambda _: nn.MaxPool2d(2)),
    "pool of stride 1": set_all(nn.AvgPool2d, stride=1),
    "pool with padding": lambda m: replace(m, nn.AvgPool2d, lambda _: nn.AvgPool2d(3, 2, 1)),
    "pool, ceil": set_all(nn.AvgPool2d, ceil_mode=True),
    "pool, divisor": set_all(nn.AvgPool2d, divisor_override=3),
    "pool, not square": lambda m: replace(m, nn.AvgPool2d, lambda _: nn.AvgPool2d((2, 1))),
    "circular": lambda m: replace(m, nn.Conv2d, circular),
    "padding_mode": set_all(nn.Conv2d, padding_mode="reflect"),
    "dilation": set_all(nn.Conv2d, dilation=(2, 2), padding=(2, 2)),
    "padding 0": set_all(nn.Conv2d, padding=(0, 0)),
    "padding same": set_all(nn.Conv2d, padding="same"),
    "stride": set_all(nn.Conv2d, stride=(2, 2)),
    "groups": set_all(nn.Conv2d, groups=2),
    "3×3 in the transition": lambda m: setattr(m.features.transition1, "conv", wider(m.features.transition1.conv)),
    "Dropout2d": lambda m: m.features.denseblock1.denselayer1.add_module("dropout", nn.Dropout2d(0.5)),
    "AlphaDropout": lambda m: m.features.denseblock1.denselayer1.add_module("dropout", nn.AlphaDropout(0.5)),
    "dropout first": dropout_first,
    "a layer with its own forward": own_forward,
    "no γ": lambda m: replace(m, nn.BatchNorm2d, lambda n: nn.BatchNorm2d(n.num_features, affine=False)),
    "Identity": lambda m: replace(m, nn.BatchNorm2d, lambda n: nn.Identity()),
    "GroupNorm": lambda m: replace(m, nn.BatchNorm2d, lambda n: nn.GroupNorm(1, n.num_features)),
    "SyncBatchNorm": nn.SyncBatchNorm.convert_sync_batchnorm,
    "a part more": lambda m: m.features.transition1.add_module("dropout", nn.Dropout(0.5)),
}


@with_both_kernels
@pytest.mark.parametrize("name", list(FOREIGN))
def test_foreign_parts_are_refused_and_the_way_out_is_named(name, kernels):
    _, fast = pair(tiny, kernels=kernels)
    FOREIGN[name](fast)
    with pytest.raises(TypeError, match=r"^efficient: expected .* got [\s\S]*build this network with efficient=False"):
        fast(IMAGES)
    plain = tiny()
    FOREIGN[name](plain)
    parts = ", ".join(f"{n}: {type(p).__name__}" for n, p in plain.features.named_children())
    with pytest.raises(TypeError, match="efficient: expected"):
        make_efficient(plain, kernels)
    assert parts == ", ".join(f"{n}: {type(p).__name__}" for n, p in plain.features.named_children()), "half exchanged"


def pool_of(size):
    return lambda m: replace(m, nn.AvgPool2d, lambda _: nn.AvgPool2d(size))


def forward_of_its_own(model):
    relu = model.features.denseblock1.denselayer1.relu1
    relu.forward = lambda maps: F.leaky_relu(maps, 0.5)


def hooked(model):
    model.features.denseblock1.denselayer2.relu1.register_forward_hook(lambda module, given, made: made * 2)
    model.features.transition1.conv.register_forward_pre_hook(lambda module, given: given[0] + 1)


def backward_hooked(model):
    for _, _, relu in each(model, nn.ReLU):
        relu.register_full_backward_hook(lambda module, into, out: (F.relu(into[0]),))


def pruned(model):
    for _, _, conv in each(model, nn.Conv2d):
        prune.l1_unstructured(conv, "weight", amount=0.5)


def old_weight_norm(model):
    for _, _, conv in each(model, nn.Conv2d):
        nn.utils.weight_norm(conv)


def compiled_layer(model):
    torch._dynamo.reset()
    model.features.transition1.conv.compile(backend="eager")


ACCEPTED = {
    "hooks": hooked, "backward hooks": backward_hooked, "pruned": pruned, "old weight norm": old_weight_norm,
    "a forward of its own": forward_of_its_own, "a compiled layer": compiled_layer,
    "pool 1": pool_of(1), "pool (2, 2)": pool_of((2, 2)), "pool 3": pool_of(3),
    "no tracking": set_all(nn.BatchNorm2d, track_running_stats=False), "in place": set_all(nn.ReLU, inplace=True),
    "half of it frozen": lambda m: m.features.denseblock1.requires_grad_(False),
    "momentum 0": set_all(nn.BatchNorm2d, momentum=0.0),
    "everything dropped": lambda m: m.features.denseblock1.denselayer2.add_module("dropout", nn.Dropout(1.0)),
}


@with_both_kernels
@pytest.mark.parametrize("name", list(ACCEPTED))
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_what_may_be_changed_gives_the_plain_results(name, train, kernels):
    both = doubles(kernels, train=train)
    for model in both:
        ACCEPTED[name](model)
    plain, fast = both
    for seed in range(2):
        assert_same(step(fast, IMAGES.double(), seed=seed), step(plain, IMAGES.double(), seed=seed), 1e-10)


@with_both_kernels
def test_parametrisations(kernels):
    both = doubles(kernels)
    for model in both:
        for _, _, conv in each(model, nn.Conv2d):
            parametrizations.weight_norm(conv)
    plain, fast = (step(model, IMAGES.double()) for model in both)
    assert_same(fast, plain, 1e-10)


@with_both_kernels
def test_hooks_on_all_modules(kernels):
    calls = []
    for model in pair(tiny, kernels=kernels):
        calls.append([])
        with nn.modules.module.register_module_forward_hook(
            lambda module, given, made, own=calls[-1]: own.append(type(module).__name__)
        ):
            model(IMAGES)
    plain, fast = calls
    assert fast.count("ReLU") == plain.count("ReLU") > 0


@with_both_kernels
def test_hooks_on_the_block_itself_cost_nothing(kernels, monkeypatch):
    _, fast = pair(tiny, kernels=kernels)
    seen = []
    fast.features.denseblock1.register_forward_hook(lambda module, given, made: seen.append(made.shape))
    monkeypatch.setattr(DenseBlock, "forward", None)  # the plain way is not taken
    fast(IMAGES)
    assert len(seen) == 1


def test_hooks_of_a_block_survive_the_exchange():
    model, seen = tiny(), []
    handle = model.features.denseblock1.register_forward_hook(lambda module, given, made: seen.append(1))
    make_efficient(model)(IMAGES)
    handle.remove()
    model(IMAGES)
    assert len(seen) == 1


def test_an_efficient_network_gets_other_kernels():
    model = make_efficient(make_efficient(tiny()), "native")
    assert model.features.denseblock1.kernels == model.features.transition1.kernels == "native"
    with pytest.raises(ValueError, match="kernels: expected one of operators, native, got 'fast'"):
        make_efficient(tiny(), "fast")


@with_both_kernels
def test_a_counter_of_operations_counts_what_the_plain_network_does(kernels):
    counts = []
    for model in pair(tiny, kernels=kernels):
        with FlopCounterMode(display=False) as counter:
            model(IMAGES).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


def run_traced(model, images):
    return torch.jit.trace(model, images[:2])(images)


def run_exported(model, images):
    shapes = ({0: torch.export.Dim("batch")},)
    return torch.export.export(model, (images[:2],), dynamic_shapes=shapes).module()(images)


def run_compiled(model, images):
    torch._dynamo.reset()
    return torch.compile(model, backend="aot_eager")(images)


def run_symbolic(model, images):
    return torch.fx.symbolic_trace(model)(images)


def run_made(model, images):
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(model)(images)(images)


def run_made_before_dispatch(model, images):
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(model, pre_dispatch=True)(images)(images)


FOLLOWERS = (run_traced, run_exported, run_compiled, run_symbolic, run_made, run_made_before_dispatch)


@pytest.mark.parametrize("efficient", [False, True, "native"])
@pytest.mark.parametrize("follow", FOLLOWERS, ids=lambda f: f.__name__)
def test_tracers_compilers_and_exporters(follow, efficient):
    torch.manual_seed(0)
    model, images = models.class_densenet(efficient=efficient).eval(), torch.randn(5, 1, 28, 28)
    with torch.no_grad():
        assert difference(follow(model, images), model(images)) < 1e-5


def test_scripting():
    plain = models.class_densenet().eval()
    images, buffer = torch.randn(2, 1, 28, 28), io.BytesIO()
    torch.jit.save(torch.jit.script(plain), buffer)
    buffer.seek(0)
    assert difference(torch.jit.load(buffer)(images), plain(images)) < 1e-5
    with pytest.raises(TypeError, match=r"cannot read Efficient.*: build the network with efficient=False and load"):
        torch.jit.script(models.class_densenet(efficient=True))


@pytest.mark.parametrize("efficient", [False, True, "native"])
def test_feature_extractor(efficient):
    from torchvision.models.feature_extraction import create_feature_extractor

    model, images = models.class_densenet(efficient=efficient).eval(), torch.randn(2, 1, 28, 28)
    seen = {}
    with model.features.denseblock2.register_forward_hook(lambda m, given, made: seen.update(maps=made)):
        model(images)
    maps = create_feature_extractor(model, {"features.denseblock2": "maps"})(images)["maps"]
    assert difference(maps, seen["maps"]) < 1e-5


@with_both_kernels
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_second_derivatives(train, kernels):
    """A gradient penalty: the gradient of the gradients' length."""
    found = []
    for model in doubles(kernels, lambda: tiny(conv_bias=True), train):
        images = IMAGES.double().requires_grad_()
        grads = torch.autograd.grad(model(images).square().sum(), [images, *model.parameters()], create_graph=True)
        sum(g.square().sum() for g in grads).backward()
        found.append({"input": images.grad} | {name: p.grad for name, p in model.named_parameters()})
    assert_same(*reversed(found), 1e-8)


@with_both_kernels
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_gradgradcheck(train, kernels):
    block = EfficientDenseBlock(randomise(DenseBlock(2, 3, 2), 0), kernels).double().train(train)
    down = EfficientTransition(randomise(transition(7), 1), kernels).double().train(train)
    features = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: down(block(x)), (features,), fast_mode=True)


@with_both_kernels
def test_gradients_in_a_batch(kernels):
    """``is_grads_batched`` sends vmapped gradients through a graph that was made without."""
    found = []
    for model in doubles(kernels):
        images = IMAGES.double().requires_grad_()
        logits = model(images)
        rows = torch.eye(logits.numel(), dtype=torch.float64).view(-1, *logits.shape)
        found.append(torch.autograd.grad(logits, images, rows, is_grads_batched=True)[0])
    assert difference(*found) < 1e-10


@with_both_kernels
def test_function_transforms(kernels):
    """Per-sample gradients, Jacobians and forward mode; what a transform allows is as on the plain network."""
    results = []
    for model in doubles(kernels, train=False):
        parameters, images = dict(model.named_parameters()), IMAGES.double()

        def loss(parameters, image, model=model):
            return torch.func.functional_call(model, parameters, (image[None],)).square().sum()

        each_image = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, images)
        with forward_ad.dual_level():
            dual = model(forward_ad.make_dual(images, torch.ones_like(images)))
            tangent = forward_ad.unpack_dual(dual).tangent
        results.append(each_image | {
            "jvp": torch.func.jvp(model, (images,), (torch.ones_like(images),))[1], "tangent": tangent,
            "jacobian": torch.func.jacrev(model)(images[:1]),
        })
    assert_same(*(({n: v.detach() for n, v in r.items()}) for r in reversed(results)), 1e-9)


@pytest.mark.parametrize("efficient", [False, True, "native"])
def test_stand_ins_for_images(efficient):
    from torch._subclasses import FakeTensorMode

    model = models.class_densenet(efficient=efficient)
    for train in (True, False):
        assert model.train(train)(torch.randn(0, 1, 28, 28)).shape == (0, 10), "no images"
    with torch.device("meta"):
        assert models.class_densenet(efficient=efficient)(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.randn(2, 1, 28, 28))
        assert models.class_densenet(efficient=efficient)(fake).shape == (2, 10)


@with_both_kernels
def test_maps_in_any_layout(kernels):
    torch.manual_seed(0)
    plain, down = randomise(DenseBlock(2, 3, 2), 0), randomise(transition(8), 1)
    block, fast = EfficientDenseBlock(copy.deepcopy(plain), kernels), EfficientTransition(copy.deepcopy(down), kernels)
    for kind, channels, ours, theirs in (("block", 3, block, plain), ("transition", 8, fast, down)):
        maps = torch.randn(4, channels, 6, 6)
        layouts = {
            "contiguous": maps, "every second row": maps.repeat_interleave(2, 2)[:, :, ::2],
            "expanded": maps[:1].expand(4, -1, -1, -1), "transposed": maps.transpose(2, 3),
            "wider": torch.cat([maps, maps], 1).contiguous(memory_format=torch.channels_last)[:, channels:],
            "cut": F.pad(maps, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)[:, :, 1:-1, 1:-1],
            "negative": torch._neg_view(maps), "some images": maps.repeat_interleave(2, 0)[::2],
        }
        for name, given in layouts.items():
            found = []
            for module in (copy.deepcopy(ours), copy.deepcopy(theirs)):
                leaf = given.detach().requires_grad_()
                made = module(leaf)
                made.square().sum().backward()
                found.append((made.detach(), leaf.grad))
            for a, b in zip(*found, strict=True):
                assert difference(a, b) < 1e-5, (kind, name)


@with_both_kernels
def test_parameters_in_any_layout(kernels):
    """γ and others may be views of something larger, as in a hypernetwork."""
    plain, fast = doubles(kernels, train=False)
    names = dict(plain.named_parameters())
    wide = {n: torch.stack([p.detach(), p.detach() + 1], -1)[..., 0] for n, p in names.items()}
    wide |= {n: p.detach()[:1].expand(len(p)) for n, p in names.items() if "norm" in n}
    ours, theirs = (torch.func.functional_call(m, wide, (IMAGES.double(),)) for m in (fast, plain))
    assert difference(ours, theirs) < 1e-10


WRONG = {
    "channels": lambda block: torch.randn(2, 4, 5, 5), "fewer channels": lambda block: torch.randn(2, 2, 5, 5),
    "double": lambda block: torch.randn(2, 3, 5, 5).double(),
    "bfloat16": lambda block: torch.randn(2, 3, 5, 5).bfloat16(),
    "three dimensions": lambda block: torch.randn(3, 5, 5),
    "whole numbers": lambda block: torch.ones(2, 3, 5, 5).long(),
    "a layer less": lambda block: delattr(block, "denselayer1") or torch.randn(2, 3, 5, 5),
    "a layer in double": lambda block: block.denselayer2.double() and torch.randn(2, 3, 5, 5),
    "one value": lambda block: torch.randn(1, 3, 1, 1),
}


@with_both_kernels
@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_maps_are_refused_in_the_words_of_the_plain_block(name, kernels):
    plain = DenseBlock(2, 3, 2)
    messages = []
    for block in (EfficientDenseBlock(copy.deepcopy(plain), kernels), plain):
        with pytest.raises((RuntimeError, ValueError)) as error:
            block(WRONG[name](block))
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@with_both_kernels
def test_backward_inside_autocast(kernels):
    plain, fast = pair(tiny, kernels=kernels)
    found = []
    for model in (fast, plain):
        logits = model(IMAGES)
        with torch.autocast("cpu", torch.bfloat16):
            logits.square().sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    assert_same(*found, 1e-4)


@with_both_kernels
def test_copies(kernels):
    _, fast = pair(tiny, kernels=kernels)
    fast.eval()
    buffer = io.BytesIO()
    torch.save(fast, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(fast), torch.load(buffer, weights_only=False)):
        assert torch.equal(other(IMAGES), fast(IMAGES))
        assert other.features.denseblock1.kernels == kernels


@with_both_kernels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("norms", ["narrow", "wide"])
def test_half_precision_weights(dtype, norms, kernels):
    """All of it in half precision, and with the norms kept in fp32, as is common."""
    both = pair(tiny, kernels=kernels)
    exact = step(copy.deepcopy(both[0]).double(), IMAGES.double())
    found = []
    for model in both:
        model.to(dtype)
        for module in model.modules() if norms == "wide" else ():
            if isinstance(module, nn.BatchNorm2d):
                module.float()
        found.append(step(model, IMAGES.to(dtype))["logits"])
    errors = [difference(logits, exact["logits"]) for logits in found]
    assert errors[1] < 2 * errors[0] + 0.02


def test_what_a_backward_pass_is_for(monkeypatch):
    """The shortcut is taken by an ordinary step: stepping aside is no way of life."""
    _, fast = pair(tiny)
    monkeypatch.setattr(DenseBlock, "forward", None)
    monkeypatch.setattr(efficient_functions, "gradients_with_a_graph", None)
    step(fast, IMAGES)
