"""The modules of an efficient network: dense block and transition, and how a plain network becomes efficient."""

import torch
from torch import nn

from densenet_course.efficient.conditions import fit, must_step_aside
from densenet_course.efficient.functions import DenseFunction, TransitionFunction, infer
from densenet_course.efficient.gpu import triton_passes
from densenet_course.efficient.kernels import LAST, Operators, native
from densenet_course.efficient.stages import expect, is_sequential, stages_of, transition_step
from densenet_course.layers import DenseBlock

KERNELS = ("operators", "native")


class EfficientDenseBlock(DenseBlock):
    """Compute what a ``DenseBlock`` computes, in one buffer and with shared statistics.

    Its layers are not called, so it steps aside for the plain forward where that would matter: with hooks on them, or
    a compiler, a tracer or ``torch.func`` looking on. ``conditions`` has the list.

    Args:
        block: a ``DenseBlock``; its layers become this block's.
        kernels: "operators", or "native" for the compiled kernels, where a compiler is at hand.

    Raises:
        TypeError: it is made of anything else than conv blocks or bottleneck layers.
    """

    def __init__(self, block, kernels="operators"):
        super(DenseBlock, self).__init__()
        expect(type(block).forward in (DenseBlock.forward, EfficientDenseBlock.forward), "a DenseBlock", block)
        adopt(self, block, kernels)
        stages_of(self, Operators)  # refuses what it cannot compute

    def forward(self, features):
        if must_step_aside(self, features):
            return super().forward(features)
        stages = stages_of(self, kernels_for(features, self.kernels))
        maps = in_compute_format(features)
        if not stages or maps.shape[1] != stages[0].reads or not fit(taken_by(stages), maps):
            return super().forward(features)
        parameters = [p for stage in stages for p in stage.step.parameters]
        with torch.autocast(maps.device.type, enabled=False):
            if not torch.is_grad_enabled() and not any(stage.step.uses_batch or stage.drop_rate for stage in stages):
                return infer(maps, stages)
            return DenseFunction.apply(maps, stages, *parameters)

    def __prepare_scriptable__(self):
        refuse_script(self)


class EfficientTransition(nn.Sequential):
    """Compute what ``transition`` computes, keeping nothing but its input, and pooling before the convolution.

    It steps aside as ``EfficientDenseBlock`` does.

    Args:
        transition: what ``layers.transition`` built; its modules become this module's.
        kernels: "operators", or "native" for the compiled kernels, where a compiler is at hand.

    Raises:
        TypeError: it is made of anything else.
    """

    def __init__(self, transition, kernels="operators"):
        super().__init__()
        expect(is_sequential(transition) or isinstance(transition, EfficientTransition), "a transition", transition)
        adopt(self, transition, kernels)
        transition_step(self, Operators)

    def forward(self, maps):
        if must_step_aside(self, maps):
            return super().forward(maps)
        step = transition_step(self, kernels_for(maps, self.kernels))
        cast = in_compute_format(maps)
        if not fit([(step, maps.shape[1])], cast):
            return super().forward(maps)
        if step.kernels is not Operators:
            cast = cast.contiguous(**LAST)
        with torch.autocast(cast.device.type, enabled=False):
            return TransitionFunction.apply(cast, step, *step.parameters)

    def __prepare_scriptable__(self):
        refuse_script(self)


def taken_by(stages):
    """Say which step takes how many channels."""
    made = None
    for stage in stages:
        yield stage.step, stage.reads if stage.from_block else made
        made = stage.step.makes


def kernels_for(maps, name):
    """Choose what computes the passes over these maps: of the native kernels, C++ is for a CPU, Triton for a GPU."""
    if name != "native":
        return Operators
    return native() if maps.device.type == "cpu" else triton_passes(maps.device)


def in_compute_format(maps):
    """Cast maps to what autocast computes convolutions in, where it is on."""
    device = maps.device.type
    if torch.is_autocast_enabled(device) and maps.dtype != torch.float64:
        return maps.to(torch.get_autocast_dtype(device))
    return maps


def adopt(module, other, kernels):
    """Take over all that another module is: children, mode and hooks.

    Raises:
        ValueError: there are no such kernels.
    """
    if kernels not in KERNELS:
        raise ValueError(f"kernels: expected one of {', '.join(KERNELS)}, got {kernels!r}")
    vars(module).update(vars(other))
    module.kernels = kernels


def refuse_script(module):
    """Name the way out to ``torch.jit.script``, which asks each module before it reads its code."""
    raise TypeError(f"torch.jit.script cannot read {type(module).__name__}: build the network with efficient=False and "
                    "load this one's state_dict, or use torch.export or torch.jit.trace")


def make_efficient(model, kernels="operators", *, is_native=False):
    """Exchange the dense blocks and transitions of a DenseNet, in place; parameters and ``state_dict`` stay the same.

    Args:
        model: a ``DenseNet``; one that is efficient already gets the kernels asked for.
        kernels: "operators", or "native" for the compiled kernels, where a compiler is at hand.
        is_native: True is another way to ask for "native".

    Returns:
        The model.

    Raises:
        TypeError: it holds layers other than conv blocks and bottleneck layers; nothing was exchanged then.
    """
    kernels = "native" if is_native else kernels
    exchanged = {}
    for name, module in model.features.named_children():
        if name.startswith("denseblock"):
            exchanged[name] = EfficientDenseBlock(module, kernels)
        elif name.startswith("transition"):
            exchanged[name] = EfficientTransition(module, kernels)
    for name, module in exchanged.items():
        setattr(model.features, name, module)
    return model
