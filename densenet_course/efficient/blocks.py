"""The modules of an efficient network: dense block and transition, and how a plain network becomes efficient."""

import torch
from torch import nn

from densenet_course.efficient.functions import DenseFunction, Stage, TransitionFunction, infer
from densenet_course.efficient.kernels import Operators, native
from densenet_course.efficient.steps import Step, values_per_channel
from densenet_course.layers import DenseBlock

KNOWN_LAYERS = {("norm1", "relu1", "conv1"), ("norm1", "relu1", "conv1", "norm2", "relu2", "conv2")}


def step_of(norm, conv, kernels, pool=1):
    """Describe BatchNorm → ReLU → (pooling) → convolution.

    Raises:
        TypeError: the modules are not those that ``layers`` builds.
    """
    if type(norm) is not nn.BatchNorm2d or norm.weight is None or type(conv) is not nn.Conv2d:
        raise TypeError(
            f"efficient: expected nn.BatchNorm2d with γ and β, then nn.Conv2d, got {norm} and {conv}; "
            "build this network without efficient=True"
        )
    return Step(norm, conv, norm.training or norm.running_mean is None, pool, kernels)


def stages_of(block, kernels):
    """Describe a dense block as it is now: its modules, and which of them are in training mode.

    Args:
        block: a ``DenseBlock``.
        kernels: what computes the passes.

    Raises:
        TypeError: a layer is neither a conv block nor a bottleneck layer.
    """
    layers = []
    for layer in block.children():
        parts = dict(layer.named_children())
        if tuple(name for name in parts if name != "dropout") not in KNOWN_LAYERS:
            raise TypeError(f"efficient: expected a conv block or a BottleneckLayer, got {layer}")
        dropout = parts.get("dropout")
        rate = dropout.p if dropout is not None and dropout.training else 0.0
        places = [i for i in (1, 2) if f"norm{i}" in parts]
        layers.append(([step_of(parts[f"norm{i}"], parts[f"conv{i}"], kernels) for i in places], rate))
    stages, reads = [], layers[0][0][0].norm.num_features
    for i, (steps, rate) in enumerate(layers):
        writes = slice(reads, reads + steps[-1].conv.out_channels)
        read_again = any(later[0].uses_batch for later, _ in layers[i + 1:])
        if len(steps) == 2:
            stages.append(Stage(steps[0], reads, None, True, steps[1].uses_batch, 0.0))
        stages.append(Stage(steps[-1], reads, writes, len(steps) == 1, read_again, rate))
        reads = writes.stop
    return stages


def kernels_for(maps, *, is_native):
    """Choose what computes the passes over these maps: the compiled kernels are for a CPU."""
    return native() if is_native and maps.device.type == "cpu" else Operators


def in_compute_format(maps):
    """Cast maps to what autocast computes convolutions in, where it is on."""
    device = maps.device.type
    if torch.is_autocast_enabled(device) and maps.dtype != torch.float64:
        return maps.to(torch.get_autocast_dtype(device))
    return maps


def check_batch(maps, steps):
    """Refuse, as BatchNorm does, to measure a variance from one value.

    Raises:
        ValueError: there is one value per channel, and a step uses batch statistics.
    """
    if values_per_channel(maps) == 1 and any(step.uses_batch for step in steps):
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(maps.shape)}")


class EfficientDenseBlock(DenseBlock):
    """Compute what a ``DenseBlock`` computes, in one buffer and with shared statistics.

    Hooks on its layers are not called, because the layers themselves are not.

    Args:
        block: a ``DenseBlock``; its layers become this block's.
        is_native: whether to use the compiled kernels, where a compiler is at hand.
    """

    def __init__(self, block, *, is_native=False):
        nn.Module.__init__(self)
        adopt(self, block)
        self.is_native = is_native
        stages_of(self, Operators)  # refuses what it cannot compute

    def forward(self, features):
        stages = stages_of(self, kernels_for(features, is_native=self.is_native))
        check_batch(features, [stage.step for stage in stages])
        parameters = [p for stage in stages for p in stage.step.parameters]
        features = in_compute_format(features)
        with torch.autocast(features.device.type, enabled=False):
            if not torch.is_grad_enabled() and not any(stage.step.uses_batch or stage.drop_rate for stage in stages):
                return infer(features, stages)
            return DenseFunction.apply(features, stages, *parameters)


class EfficientTransition(nn.Module):
    """Compute what ``transition`` computes, keeping nothing but its input, and pooling before the convolution.

    Args:
        transition: what ``layers.transition`` built; its modules become this module's.
        is_native: whether to use the compiled kernels, where a compiler is at hand.
    """

    def __init__(self, transition, *, is_native=False):
        super().__init__()
        adopt(self, transition)
        self.is_native = is_native
        self.step(Operators)

    def step(self, kernels):
        return step_of(self.norm, self.conv, kernels, self.pool.kernel_size)

    def forward(self, maps):
        step = self.step(kernels_for(maps, is_native=self.is_native))
        check_batch(maps, [step])
        maps = in_compute_format(maps)
        with torch.autocast(maps.device.type, enabled=False):
            return TransitionFunction.apply(maps, step, *step.parameters)


def adopt(module, other):
    """Take over the children of another module, under the same names, and its mode."""
    for name, child in other.named_children():
        module.add_module(name, child)
    module.training = other.training


def make_efficient(model, *, is_native=False):
    """Exchange the dense blocks and transitions of a DenseNet, in place; parameters and ``state_dict`` stay the same.

    Args:
        model: a ``DenseNet``.
        is_native: whether to use the compiled kernels, where a compiler is at hand.

    Returns:
        The model.

    Raises:
        TypeError: it holds layers other than conv blocks and bottleneck layers.
    """
    for name, module in model.features.named_children():
        if name.startswith("denseblock") and not isinstance(module, EfficientDenseBlock):
            setattr(model.features, name, EfficientDenseBlock(module, is_native=is_native))
        elif name.startswith("transition") and not isinstance(module, EfficientTransition):
            setattr(model.features, name, EfficientTransition(module, is_native=is_native))
    return model
