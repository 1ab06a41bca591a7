"""Known wrong forms of DenseNet-121: by their number of parameters, and by their logits."""

from itertools import combinations, product

import torch
from torch import nn

from densenet_course.accounting import parameters
from densenet_course.checks.kinds.slips import BATCH, RUNNING
from densenet_course.config import DenseNetConfig

PLAN = {"block_layers": (6, 12, 24, 16), "growth_rate": 32, "init_channels": 64}
BIASES = {"the stem": 64, "the 1×1 convolutions": 58 * 128, "the 3×3 convolutions": 58 * 32, "the transitions": 896}


def count(num_classes, **changes):
    """Count the parameters of DenseNet-121 with some fields of its plan changed."""
    return parameters(DenseNetConfig(**PLAN | {"num_classes": num_classes} | changes))


def cause(number, num_classes):
    """Name the mistake that gives this number of parameters, or return ""."""
    return next((text for wrong, text in causes(num_classes) if wrong == number), "")


def causes(n):
    """Generate pairs (number of parameters, the mistake that gives it), the likely ones first."""
    right = count(n)
    yield count(n, bottleneck_factor=None), "This is without bottlenecks: each layer needs BN → ReLU → 1×1 to 4k first."
    yield count(n, compression=1.0), "The transitions keep all channels; expected half of them."
    yield count(n, block_layers=(6, 12, 32, 32)), "These are DenseNet-169's blocks; expected 6, 12, 24, 16."
    yield count(n, block_layers=(6, 12, 48, 32)), "These are DenseNet-201's blocks; expected 6, 12, 24, 16."
    yield count(n, block_layers=(6, 12, 24)), "The fourth block, of 16 layers, is missing."
    yield right + 2 * 1024 + 512 * 1024 - 512 * (n + 2), "There is a transition after the last block; expected none."
    yield right - 2 * 1024, "BatchNorm after the last block is missing."
    yield right - 2 * 64, "BatchNorm in the stem is missing."
    yield right - 58 * 2 * 128, "BatchNorm between the two convolutions of each layer is missing."
    yield right - 2 * (256 + 512 + 1024), "BatchNorm in the transitions is missing."
    for transitions in (0, 256 + 512 + 1024):  # sizes of BatchNorm behind the convolutions in place of before
        text = "BatchNorm stands behind the convolutions, the order of ResNet; expected BN → ReLU → convolution."
        yield right - 2 * 31_520 + 58 * 2 * 32 - transitions, text
    yield right - n, "The classifier has no bias; expected one."
    yield right + 48 * 1024 * n, "The classifier reads 7×7 pixels of every map; average each map to one number first."
    yield right + 83_648, "Running means and variances are counted as parameters; make them buffers."
    yield right - 83_648, "BatchNorm has no γ and β; expected both."
    for kernel in (1, 3, 5):
        yield right - (49 - kernel**2) * 3 * 64, f"The stem's kernel is {kernel}×{kernel}; expected 7×7."
    for channels in (1, 4):
        yield count(n, in_channels=channels), f"The stem reads {channels} channels; expected 3 (RGB)."
    for classes in {10, 100, 1000} - {n}:
        yield count(classes), f"The classifier has {classes} classes: num_classes is not used."
    for factor in (1, 2, 3, 8):
        yield count(n, bottleneck_factor=factor), f"The waist is {factor}k wide; expected 4k = 128."
    for chosen in (c for size in range(1, 5) for c in combinations(BIASES, size)):
        which = ", ".join(chosen) if len(chosen) < 4 else "all convolutions"
        yield right + sum(BIASES[part] for part in chosen), f"There are biases in {which}: set bias=False."
    for k, k0 in product(range(8, 65, 4), (16, 24, 32, 48, 64, 96, 128)):
        if (k, k0) != (32, 64):
            text = f"This fits growth rate {k} and {k0} channels after the stem; expected 32 and 64."
            yield count(n, growth_rate=k, init_channels=k0), text


class HalfUp(nn.Module):
    """Average to half the height and width, rounded up."""

    def forward(self, maps):
        """Pool maps (N, C, H, W)."""
        return nn.functional.adaptive_avg_pool2d(maps, [-(-side // 2) for side in maps.shape[2:]])


class HalfDown(nn.Module):
    """Average to half the height and width, rounded down, over windows that overlap where a size is odd."""

    def forward(self, maps):
        """Pool maps (N, C, H, W)."""
        return nn.functional.adaptive_avg_pool2d(maps, [side // 2 for side in maps.shape[2:]])


def _set(path, make):
    """Make a change that replaces a part of the features, given by its path."""

    def change(model):
        parent, _, name = path.rpartition(".")
        part = model.features.get_submodule(parent)
        setattr(part, name, make())

    return change


def _each(name, make):
    """Make a change that replaces every part of this name."""

    def change(model):
        for module in list(model.modules()):
            if name in dict(module.named_children()):
                setattr(module, name, make())

    return change


def _norms(**values):
    """Make a change of attributes of every BatchNorm."""

    def change(model):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                vars(module).update(values)

    return change


def _conv0(**values):
    return lambda model: vars(model.features.conv0).update(values)


def _head(forward):
    """Make a change of what follows the features."""

    def change(model):
        model.forward = lambda images: forward(model, model.features(images))

    return change


def _after(finish):
    """Make a change that adds a step behind the logits."""
    return _head(lambda model, maps: finish(model.classifier(maps.relu().mean((2, 3)))))


def _mode(training):
    def change(model):
        model.train(training)
        model.train = lambda mode=True: model

    return change


def _new_maps_in_front(model):
    def forward(block, maps):
        maps = [maps]
        for layer in block.values():
            maps.insert(0, layer(maps))
        return torch.cat(maps, 1)

    for name, block in model.features.named_children():
        if name.startswith("denseblock"):
            block.forward = lambda maps, block=block: forward(block, maps)


def _pooled_first(model):
    for name, step in model.features.named_children():
        if name.startswith("transition"):
            step.forward = lambda maps, step=step: step.conv(step.relu(step.norm(step.pool(maps))))


SLIPS = (  # of torchvision's network; the parameters keep their shapes and their order
    (_each("pool", lambda: nn.MaxPool2d(2)), "the transitions take the maximum; expected 2×2 average pooling."),
    (_set("pool0", lambda: nn.MaxPool2d(3, 2)), "the stem's max pooling has no padding; expected padding=1."),
    (_head(lambda model, maps: model.classifier(maps.mean((2, 3)))), "the ReLU after the last BatchNorm is missing."),
    (_set("pool0", lambda: nn.AvgPool2d(3, 2, 1)), "the stem takes the average; expected 3×3 max pooling."),
    (_set("pool0", lambda: nn.MaxPool2d(2)), "the stem pools 2×2; expected 3×3, stride 2, padding 1."),
    (_set("pool0", nn.Identity), "the stem's max pooling is missing."),
    (_set("relu0", nn.Identity), "the ReLU in the stem is missing."),
    (_set("norm0", nn.Identity), "BatchNorm in the stem is not used."),
    (_conv0(stride=(1, 1)), "the stem's convolution has stride 1; expected 2."),
    (_conv0(padding=(0, 0)), "the stem's convolution has no padding; expected padding=3."),
    (_conv0(padding=(1, 1)), "the stem's convolution has padding 1; expected 3."),
    (_conv0(padding=(2, 2)), "the stem's convolution has padding 2; expected 3."),
    (_set("norm5", nn.Identity), "BatchNorm after the last block is not used."),
    (_head(lambda model, maps: model.classifier(maps.relu().amax((2, 3)))),
     "the head takes the maximum of each map; expected the average."),
    (_head(lambda model, maps: model.classifier(maps.mean((2, 3)).relu())),
     "the last ReLU stands after the average; expected BN → ReLU → average."),
    (_after(lambda logits: logits.softmax(1)), "there is a softmax at the end; expected logits."),
    (_after(lambda logits: logits.log_softmax(1)), "there is a log-softmax at the end; expected logits."),
    (_after(lambda logits: logits.relu()), "there is a ReLU after the classifier; expected logits."),
    (_new_maps_in_front, "the new maps are joined in front; expected behind: cat([features, new_maps], dim=1)."),
    (_each("relu1", nn.Identity), "the ReLU before the layers' 1×1 convolution is missing."),
    (_each("relu2", nn.Identity), "the ReLU before the layers' 3×3 convolution is missing."),
    (_each("relu", nn.Identity), "the ReLU in the transitions is missing."),
    (_each("pool", lambda: nn.MaxPool2d(3, 2, 1)), "the transitions pool 3×3 maxima; expected 2×2 averages."),
    (_each("pool", lambda: nn.AvgPool2d(3, 2, 1)), "the transitions pool 3×3; expected 2×2 averages."),
    (_each("pool", lambda: nn.AvgPool2d(2, ceil_mode=True)),
     "the transitions round odd sizes up; 2×2 average pooling drops the last row and column."),
    (_each("pool", HalfUp), "the transitions pool to half of the size rounded up; expected 2×2 average pooling."),
    (_each("pool", HalfDown), "the transitions pool adaptively; expected 2×2 average pooling, stride 2."),
    (_pooled_first, "the transitions pool before BN and ReLU; expected after."),
    (_norms(eps=1e-3), "BatchNorm's eps is 1e-3; expected PyTorch's, 1e-5."),
    (_norms(momentum=0.01),
     "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
    (_norms(momentum=0.99), "BatchNorm's momentum is 0.99, as Keras counts it; expected PyTorch's, 0.1."),
    (_norms(momentum=0.9), "BatchNorm's momentum is 0.9; expected PyTorch's, 0.1."),
    (_norms(momentum=None), "BatchNorm's running statistics are a mean over all batches (momentum=None); expected "
     "PyTorch's momentum, 0.1."),
    (_mode(False), RUNNING),
    (_mode(True), BATCH),
)
