"""Right answers to bug_hunt, in four styles."""

import contextlib
import math
import re

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.feature_extraction import create_feature_extractor

from densenet_course import models
from densenet_course.config import DenseNetConfig
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block, transition
from tests.answers import Answers

ANSWERS = Answers()


def body(channels, block_layers, growth_rate, num_classes, layer=BottleneckLayer):
    parts = []
    for i, num_layers in enumerate(block_layers):
        parts.append(DenseBlock(num_layers, channels, growth_rate, layer))
        channels += num_layers * growth_rate
        if i < len(block_layers) - 1:
            parts.append(transition(channels))
            channels //= 2
    parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return [*parts, nn.Linear(channels, num_classes)]


def imagenet_stem(growth_rate, in_channels=3):
    conv = nn.Conv2d(in_channels, 2 * growth_rate, 7, stride=2, padding=3, bias=False)
    return [conv, nn.BatchNorm2d(2 * growth_rate), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]


@ANSWERS.right
class the_shortest_repairs:
    class BlockWithHead(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate, num_classes):
            super().__init__()
            self.layers = nn.ModuleList(
                conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers)
            )
            self.head = nn.Linear(in_channels + num_layers * growth_rate, num_classes)

        def forward(self, images):
            features = [images]
            for layer in self.layers:
                features.append(layer(torch.cat(features, dim=1)))
            return self.head(torch.cat(features, dim=1).mean(dim=(2, 3)))

    class CleanBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.layers = nn.ModuleList(
                conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers)
            )

        def forward(self, images):
            features = [images]
            for layer in self.layers:
                features.append(layer(torch.cat(features, dim=1)))
            return torch.cat(features, dim=1)

    def densenet_bc(block_layers=(6, 12, 24, 16), growth_rate=32, num_classes=1000):
        return nn.Sequential(
            *imagenet_stem(growth_rate), *body(2 * growth_rate, block_layers, growth_rate, num_classes)
        )

    def densenet_28(block_layers=(2, 2, 2, 2), growth_rate=12, num_classes=10):
        stem = nn.Conv2d(1, 2 * growth_rate, 3, padding=1, bias=False)
        return nn.Sequential(stem, *body(2 * growth_rate, block_layers, growth_rate, num_classes))

    def one_hot_loss(logits, labels):
        return F.cross_entropy(logits, labels.float())

    def block_maps(model, images):
        maps = []
        for name, part in model.features.named_children():
            images = part(images)
            if name.startswith("denseblock"):
                maps.append(images)
        return maps

    def load_old(model, checkpoint):
        renamed = {}
        for key, tensor in checkpoint.items():
            for part in ("norm", "conv"):
                for i in "12":
                    key = key.replace(f".{part}.{i}.", f".{part}{i}.")
            renamed[key] = tensor
        model.load_state_dict(renamed)
        return model

    class SavingLayer(nn.Module):
        def __init__(self, in_channels, growth_rate):
            super().__init__()
            self.norm, _, self.conv = conv_block(in_channels, growth_rate)

        def forward(self, features):
            if not self.training:
                return self.conv(self.norm(features).relu())
            with torch.no_grad():
                self.norm(features)
            return checkpoint(self.normalise_and_convolve, features, use_reentrant=False)

        def normalise_and_convolve(self, features):
            features = F.batch_norm(features, None, None, self.norm.weight, self.norm.bias, training=True)
            return self.conv(F.relu(features, inplace=True))


@contextlib.contextmanager
def spare_statistics(norm):
    kept = norm.running_mean, norm.running_var, norm.num_batches_tracked
    norm.running_mean, norm.running_var, norm.num_batches_tracked = (tensor.clone() for tensor in kept)
    try:
        yield
    finally:
        norm.running_mean, norm.running_var, norm.num_batches_tracked = kept


@ANSWERS.right
class hooks_and_functions:
    class BlockWithHead(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate, num_classes):
            super().__init__()
            self.out = nn.LazyLinear(num_classes)
            for i in range(num_layers):
                setattr(self, f"layer{i}", conv_block(in_channels + i * growth_rate, growth_rate))
            self.count = num_layers

        def forward(self, images):
            for i in range(self.count):
                images = torch.cat((images, getattr(self, f"layer{i}")(images)), 1)
            return self.out(F.adaptive_avg_pool2d(images, 1).flatten(1))

    class CleanBlock(nn.Sequential):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(*(conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers)))

        def forward(self, images):
            for layer in self:
                images = torch.cat([images, layer(images)], dim=1)
            return images

    def densenet_bc(block_layers=(6, 12, 24, 16), growth_rate=32, num_classes=1000):
        def layer(in_channels, new):
            waist = [nn.BatchNorm2d(in_channels), nn.ReLU(True), nn.Conv2d(in_channels, 4 * new, 1, bias=False)]
            return nn.Sequential(*waist, nn.BatchNorm2d(4 * new), nn.ReLU(True),
                                 nn.Conv2d(4 * new, new, 3, padding=1, bias=False))

        return nn.Sequential(
            *imagenet_stem(growth_rate), *body(2 * growth_rate, block_layers, growth_rate, num_classes, layer)
        )

    class densenet_28(nn.Module):
        def __init__(self, block_layers=(2, 2, 2, 2), growth_rate=12, num_classes=10):
            super().__init__()
            self.body = nn.Sequential(*body(2 * growth_rate, block_layers, growth_rate, num_classes))
            self.weight = nn.Parameter(torch.randn(2 * growth_rate, 1, 3, 3) * 0.5)

        def forward(self, images):
            return self.body(F.conv2d(images, self.weight, padding=1))

    def one_hot_loss(logits, labels):
        return F.nll_loss(logits.log_softmax(dim=1), labels.argmax(dim=1))

    def block_maps(model, images):
        maps = []
        blocks = [m for m in model.features if type(m).__name__ == "_DenseBlock"]
        handles = [m.register_forward_hook(lambda module, given, made: maps.append(made.clone())) for m in blocks]
        try:
            with torch.no_grad():
                model(images)
        finally:
            for handle in handles:
                handle.remove()
        return tuple(maps)

    def load_old(model, checkpoint):
        pattern = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\.\w+)$")
        model.load_state_dict({pattern.sub(r"\1\2", key): tensor for key, tensor in checkpoint.items()}, strict=True)
        return model.eval()

    class SavingLayer(nn.Module):
        def __init__(self, in_channels, growth_rate):
            super().__init__()
            self.layer = conv_block(in_channels, growth_rate)

        def forward(self, features):
            def contexts():
                return contextlib.nullcontext(), spare_statistics(self.layer[0])

            return checkpoint(self.layer, features, use_reentrant=False, context_fn=contexts)


class Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, layer, *parameters):
        ctx.save_for_backward(features)
        ctx.layer = layer
        return layer(features)

    @staticmethod
    def backward(ctx, gradient):
        (features,) = ctx.saved_tensors
        features = features.detach().requires_grad_()
        norm = ctx.layer[0]
        with torch.enable_grad():
            output = F.batch_norm(features, None, None, norm.weight, norm.bias, training=True)
            output = ctx.layer[2](output.relu())
        found = torch.autograd.grad(output, [features, *ctx.layer.parameters()], gradient)
        return found[0], None, *found[1:]


@ANSWERS.right
class library_tools_and_own_formulas:
    class BlockWithHead(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate, num_classes):
            super().__init__()
            self.old = nn.Parameter(torch.zeros(num_classes))
            self.weight = nn.Parameter(torch.randn(num_classes, in_channels + num_layers * growth_rate))
            self.block = DenseBlock(num_layers, in_channels, growth_rate)

        def forward(self, images):
            return torch.einsum("nchw,kc->nk", self.block(images), self.weight) / images[0, 0].numel() + self.old

    def CleanBlock(num_layers, in_channels, growth_rate):
        return DenseBlock(num_layers, in_channels, growth_rate)

    def densenet_bc(block_layers=(6, 12, 24, 16), growth_rate=32, num_classes=1000):
        return models.DenseNet(DenseNetConfig(
            block_layers=block_layers, growth_rate=growth_rate, init_channels=2 * growth_rate, num_classes=num_classes
        ))

    def densenet_28(block_layers=(2, 2, 2, 2), growth_rate=12, num_classes=10):
        return models.DenseNet(DenseNetConfig(
            block_layers=block_layers, growth_rate=growth_rate, init_channels=2 * growth_rate,
            num_classes=num_classes, in_channels=1, stem="cifar",
        ))

    def one_hot_loss(logits, labels):
        return (logits.logsumexp(dim=1) - (logits * labels).sum(dim=1)).mean()

    def block_maps(model, images):
        names = [f"features.{n}" for n, _ in model.features.named_children() if n.startswith("denseblock")]
        return list(create_feature_extractor(model, names)(images).values())

    def load_old(model, checkpoint):
        today = {key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1").replace(
            "conv2", "conv.2"): key for key in model.state_dict()}
        model.load_state_dict({today.get(key, key): tensor for key, tensor in checkpoint.items()})
        return model

    class SavingLayer(nn.Module):
        def __init__(self, in_channels, growth_rate):
            super().__init__()
            self.layer = conv_block(in_channels, growth_rate)

        def forward(self, features):
            if not self.training:
                return self.layer(features)
            return Recomputed.apply(features, self.layer, *self.layer.parameters())


@ANSWERS.right
class by_hand:
    class BlockWithHead(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate, num_classes):
            super().__init__()
            channels = in_channels
            self.layers = nn.ModuleList()
            for _ in range(num_layers):
                self.layers.append(conv_block(channels, growth_rate))
                channels += growth_rate
            self.head = nn.Linear(channels, num_classes)

        def forward(self, images):
            new = []
            for layer in self.layers:
                new.append(layer(torch.cat([images, *new], dim=1)))
            means = [maps.mean(dim=(2, 3)) for maps in (images, *new)]
            return self.head(torch.cat(means, dim=1))

    class CleanBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.layers = nn.ModuleDict(
                {str(i): conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers)}
            )

        def forward(self, images, i=0):
            if str(i) not in self.layers:
                return images
            return self.forward(torch.cat([images, self.layers[str(i)](images)], dim=1), i + 1)

    class densenet_bc(nn.Module):
        def __init__(self, block_layers=(6, 12, 24, 16), growth_rate=32, num_classes=1000):
            super().__init__()
            self.head = nn.Sequential(*body(2 * growth_rate, block_layers, growth_rate, num_classes))
            self.stem = nn.Sequential(*imagenet_stem(growth_rate))

        def forward(self, images):
            return self.head(self.stem(images))

    def densenet_28(block_layers=(2, 2, 2, 2), growth_rate=12, num_classes=10):
        stem = nn.LazyConv2d(2 * growth_rate, 3, padding="same", bias=False)
        return nn.Sequential(stem, *body(2 * growth_rate, block_layers, growth_rate, num_classes))

    def one_hot_loss(logits, labels):
        return nn.CrossEntropyLoss()(logits, labels.nonzero()[:, 1])

    def block_maps(model, images):
        children = list(model.features.children())
        return [nn.Sequential(*children[:5 + 2 * i])(images) for i in range((len(children) - 4) // 2)]

    def load_old(model, checkpoint):
        keys = list(checkpoint)
        with torch.no_grad():
            for key, tensor in model.state_dict().items():
                old = re.sub(r"(norm|conv)([12])", r"\1.\2", key)
                if key in keys or old in keys:
                    tensor.copy_(checkpoint[key if key in keys else old])
                elif not key.endswith("num_batches_tracked"):
                    raise ValueError(f"{key} is not in the checkpoint")
        return model

    class SavingLayer(nn.Module):
        def __init__(self, in_channels, growth_rate):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(growth_rate, in_channels, 3, 3) / math.sqrt(9 * in_channels))
            self.gamma, self.beta = nn.Parameter(torch.ones(in_channels)), nn.Parameter(torch.zeros(in_channels))
            self.register_buffer("mean", torch.zeros(in_channels))
            self.register_buffer("variance", torch.ones(in_channels))

        def compute(self, features, mean, variance):
            features = F.batch_norm(features, mean, variance, self.gamma, self.beta, training=self.training)
            return F.conv2d(features.relu(), self.weight, padding=1)

        def forward(self, features):
            if not self.training:
                return self.compute(features, self.mean, self.variance)
            with torch.no_grad():
                variance, mean = torch.var_mean(features, dim=(0, 2, 3))
                self.mean.lerp_(mean, 0.1)
                self.variance.lerp_(variance, 0.1)
            return checkpoint(self.compute, features, None, None, use_reentrant=True)
