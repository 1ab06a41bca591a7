"""DenseNet, and factories for the networks the lessons use: ImageNet, CIFAR, d2l's, and the class network."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.config import STEM_STRIDES, DenseNetConfig
from densenet_course.efficient import make_efficient
from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block, transition


def stem(config):
    """Build what stands before the first block, by ``config.stem``.

    Returns:
        An ``nn.Sequential`` from (N, in_channels, H, W) to (N, init_channels, ⌈H/s⌉, ⌈W/s⌉), where s is 4 for
        "imagenet", 2 for "class" and 1 for "cifar".
    """
    if config.stem == "imagenet":
        conv = nn.Conv2d(config.in_channels, config.init_channels, kernel_size=7, stride=2, padding=3, bias=False)
        return nn.Sequential(OrderedDict(
            conv0=conv,  # (N, k0, H/2, W/2)
            norm0=nn.BatchNorm2d(config.init_channels),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),  # (N, k0, H/4, W/4)
        ))
    stride = STEM_STRIDES[config.stem]
    conv = nn.Conv2d(config.in_channels, config.init_channels, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv0=conv))


def dense_layer(config):
    """Choose what a layer is: a function (in_channels, growth_rate) → ``nn.Module``, by ``config``."""

    def layer(in_channels, growth_rate):
        if config.bottleneck_factor is None:
            module = conv_block(in_channels, growth_rate)
        else:
            module = BottleneckLayer(in_channels, growth_rate, config.bottleneck_factor)
        if config.drop_rate:
            module.add_module("dropout", nn.Dropout(config.drop_rate))
        return module

    return layer


class DenseNet(nn.Module):
    """Stack stem, dense blocks and transitions, and classify what comes out.

    Args:
        config: a ``DenseNetConfig``.

    Raises:
        ValueError: from ``forward``, when the images are too small for the transitions.

    Source: Huang et al. 2017, table 1. The ``state_dict`` has torchvision's keys.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.features = stem(config)
        channels = config.init_channels
        for i, num_layers in enumerate(config.block_layers, start=1):
            layer = dense_layer(config)
            block = DenseBlock(num_layers, channels, config.growth_rate, layer)
            self.features.add_module(f"denseblock{i}", block)
            channels += num_layers * config.growth_rate
            if i < len(config.block_layers):  # no transition after the last block
                step = transition(channels, config.compression)
                self.features.add_module(f"transition{i}", step)
                channels = int(config.compression * channels)
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, config.num_classes)
        initialise(self)
        apply_options(self)

    def forward(self, images):
        if not torch.jit.is_scripting():  # TorchScript cannot read the check
            check_images(images, self.config)
        maps = F.relu(self.features(images))  # (N, C, H', W')
        pooled = F.adaptive_avg_pool2d(maps, 1).flatten(1)  # (N, C)
        return self.classifier(pooled)  # (N, num_classes)


def check_images(images, config):
    """Refuse images that the network cannot take; stand aside while a tracer or compiler reads the network.

    Raises:
        ValueError: not (N, in_channels, H, W), or too small for the number of transitions.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or isinstance(images, torch.fx.Proxy):
        return  # to them a comparison of sizes would mean: only these sizes, for ever
    if images.ndim != 4 or images.shape[1] != config.in_channels:
        raise ValueError(f"images: expected shape (N, {config.in_channels}, H, W), got {tuple(images.shape)}")
    if min(images.shape[2:]) < config.min_image_size:
        raise ValueError(
            f"images of {images.shape[2]}×{images.shape[3]} pixels are too small: the {config.stem} stem and "
            f"{len(config.block_layers) - 1} transitions need at least {config.min_image_size} pixels a side"
        )


def initialise(model):
    """Set the weights as the paper's authors do: Kaiming normal convolutions, BN at γ = 1 and β = 0, linear bias 0.

    Source: Huang et al. 2017, section 4.2 (He et al. 2015).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def apply_options(model):
    """Change the parts of a network as its config asks: biases in the convolutions, blocks that move fewer bytes."""
    if model.config.conv_bias:
        add_biases(model)
    if model.config.kernels:
        make_efficient(model, model.config.kernels)


def add_biases(model):
    """Give every convolution a bias of 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.zeros(module.out_channels))


IMAGENET_VARIANTS = {
    "densenet121": {"block_layers": (6, 12, 24, 16), "growth_rate": 32, "init_channels": 64},
    "densenet161": {"block_layers": (6, 12, 36, 24), "growth_rate": 48, "init_channels": 96},
    "densenet169": {"block_layers": (6, 12, 32, 32), "growth_rate": 32, "init_channels": 64},
    "densenet201": {"block_layers": (6, 12, 48, 32), "growth_rate": 32, "init_channels": 64},
}


def _imagenet(name, num_classes, in_channels, weights, options):
    config = DenseNetConfig(
        **IMAGENET_VARIANTS[name], num_classes=num_classes, in_channels=in_channels, **options
    )
    return _with_weights(DenseNet(config), name, weights)


def _with_weights(model, name, weights):
    if weights is not None:
        from densenet_course.pretrained import load_pretrained

        load_pretrained(model, name, weights)
    return model


def densenet121(num_classes=1000, *, in_channels=3, weights=None, **options):
    """Build DenseNet-121: 7,978,856 parameters for 1000 classes.

    Args:
        num_classes: outputs of the classifier.
        in_channels: channels of the images.
        weights: None for random weights; "DEFAULT", or ``torchvision.models.DenseNet121_Weights.DEFAULT``, for
            torchvision's ImageNet weights; or a file or URL of such.
        options: further ``DenseNetConfig`` fields, for instance ``drop_rate`` or ``efficient``.

    Raises:
        ValueError: an option is out of range, or pretrained weights do not fit the network.
        OSError: the weights cannot be fetched; the message says what to do.

    Source: Huang et al. 2017, table 1.
    """
    return _imagenet("densenet121", num_classes, in_channels, weights, options)


def densenet161(num_classes=1000, *, in_channels=3, weights=None, **options):
    """Build DenseNet-161 (growth rate 48): 28,681,000 parameters. Arguments as for ``densenet121``."""
    return _imagenet("densenet161", num_classes, in_channels, weights, options)


def densenet169(num_classes=1000, *, in_channels=3, weights=None, **options):
    """Build DenseNet-169: 14,149,480 parameters. Arguments as for ``densenet121``."""
    return _imagenet("densenet169", num_classes, in_channels, weights, options)


def densenet201(num_classes=1000, *, in_channels=3, weights=None, **options):
    """Build DenseNet-201: 20,013,928 parameters. Arguments as for ``densenet121``."""
    return _imagenet("densenet201", num_classes, in_channels, weights, options)


def cifar_config(
    *, depth, growth_rate, bottleneck=True, compression=0.5, num_classes=10, in_channels=3, drop_rate=0.0,
    efficient=False,
):
    """Describe a three-block DenseNet for small images: DenseNet, -B, -C or -BC, as the paper trains on CIFAR.

    Args:
        depth: L, all convolutions and the classifier: 4 + 3·n for plain layers, 4 + 6·n for bottleneck layers.
        growth_rate: k.
        bottleneck: True for -B: 1×1 convolutions to 4k.
        compression: θ; below 1 for -C.
        num_classes: outputs of the classifier.
        in_channels: channels of the images.
        drop_rate: the paper uses 0.2 where it does not augment.
        efficient: True computes the same with fewer bytes, "native" faster too.

    Returns:
        A ``DenseNetConfig``; k0 is 2k for -BC and 16 otherwise.

    Raises:
        ValueError: the depth does not divide into three equal blocks.

    Source: Huang et al. 2017, section 3, "Implementation Details".
    """
    convs_per_layer = 2 if bottleneck else 1
    num_layers, remainder = divmod(depth - 4, 3 * convs_per_layer)
    if remainder or num_layers < 1:
        raise ValueError(f"depth: expected 4 + {3 * convs_per_layer}·n with n ≥ 1, got {depth}")
    return DenseNetConfig(
        block_layers=(num_layers,) * 3,
        growth_rate=growth_rate,
        init_channels=2 * growth_rate if bottleneck and compression < 1 else 16,
        num_classes=num_classes,
        in_channels=in_channels,
        compression=compression,
        bottleneck_factor=4 if bottleneck else None,
        stem="cifar",
        drop_rate=drop_rate,
        efficient=efficient,
    )


def small_densenet(num_classes=10, *, in_channels=1, efficient=False):
    """Build the network of Dive into Deep Learning: four blocks of four plain layers.

    It has 758,226 parameters on grey images. Its convolutions keep their biases, as in the book. Images need at least
    29 pixels a side; the book uses 96. ``efficient=True`` computes the same with fewer bytes.

    Source: Zhang et al., Dive into Deep Learning, section 8.7.
    """
    return DenseNet(DenseNetConfig(
        block_layers=(4, 4, 4, 4), growth_rate=32, init_channels=64, num_classes=num_classes, in_channels=in_channels,
        bottleneck_factor=None, conv_bias=True, efficient=efficient,
    ))


def class_densenet(num_classes=10, *, in_channels=1, weights=None, **options):
    """Build the network trained in class: a DenseNet-BC of 141,130 parameters for 28×28 images.

    Args:
        num_classes: outputs of the classifier.
        in_channels: channels of the images.
        weights: None for random weights; "DEFAULT" for those of six epochs of lesson 07's training, which the package
            holds in half precision (``assets/class_densenet.json`` tells how they came about); or a file or URL.
        options: further ``DenseNetConfig`` fields, for instance ``drop_rate`` or ``efficient``.

    Raises:
        ValueError: the weights do not fit this network.
        OSError: the weights cannot be had; the message says what to do.
    """
    defaults = {"block_layers": (2, 4, 4), "growth_rate": 16, "init_channels": 32, "stem": "class"}
    config = DenseNetConfig(num_classes=num_classes, in_channels=in_channels, **(defaults | options))
    return _with_weights(DenseNet(config), "class_densenet", weights)
