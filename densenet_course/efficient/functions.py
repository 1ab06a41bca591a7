"""A dense block and a transition as one autograd function each, made of the steps of ``steps``."""

from dataclasses import dataclass

import torch
from torch.autograd.function import once_differentiable

from densenet_course.efficient.backward import Gradient, run_backward
from densenet_course.efficient.kernels import LAST, Operators, wide
from densenet_course.efficient.steps import (
    Step,
    empty_maps,
    for_kernels,
    images_at_once,
    measure_all,
    run,
    scale_and_shift,
    tiles,
    values_per_channel,
)


@dataclass(frozen=True)
class Stage:
    """One step of a block and its place in it.

    Args:
        step: a ``Step``.
        reads: how many channels of the block the layer reads.
        writes: which channels of the block the step makes; None for the first step of a bottleneck layer.
        from_block: whether it reads the block's maps; otherwise it reads what the step before it made.
        measured: whether a later step needs the batch statistics of what it makes.
        drop_rate: of the dropout behind it, 0 for none.
    """

    step: Step
    reads: int
    writes: slice | None
    from_block: bool
    measured: bool
    drop_rate: float


class DenseFunction(torch.autograd.Function):
    """A dense block: ``DenseFunction.apply(features, stages, *parameters)``.

    Args:
        features: (N, C, H, W).
        stages: a ``Stage`` for every step.
        parameters: γ, β, weight and bias of every step, in order.

    Returns:
        (N, C + L·k, H, W) in channels-last.
    """

    @staticmethod
    def forward(ctx, features, stages, *parameters):
        maps, channels = empty_maps(features, stages[-1].writes.stop), features.shape[1]
        maps[:, :channels] = features
        mean = var = made = found = None
        if any(stage.from_block and stage.step.uses_batch for stage in stages):
            mean, var = torch.zeros((2, maps.shape[1]), dtype=wide(maps.dtype), device=maps.device)
            mean[:channels], var[:channels] = measure_all(maps[:, :channels], stages[0].step.kernels)
        kept = []
        for i, stage in enumerate(stages):
            source = maps[:, :stage.reads] if stage.from_block else made
            used = stage.step.statistics(*((mean, var) if stage.from_block else (found or (None, None))))
            made = empty_maps(maps, stage.step.conv.out_channels) if stage.writes is None else maps[:, stage.writes]
            keep = dropout(made, stage.drop_rate)
            found = run(stage.step, parameters[4 * i:][:4], source, *used, made, measured=stage.measured, keep=keep)
            stage.step.update_running(*used, values_per_channel(maps))
            if stage.writes is not None and found is not None:
                mean[stage.writes], var[stage.writes] = found
            kept += [None if stage.from_block else source, *used, keep]
        ctx.stages = stages
        ctx.save_for_backward(maps, mean, *kept, *parameters)
        return maps

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        maps, mean, *saved = ctx.saved_tensors
        kernels = ctx.stages[0].step.kernels
        kept, parameters = saved[:4 * len(ctx.stages)], saved[4 * len(ctx.stages):]
        needs = [ctx.needs_input_grad[0], *ctx.needs_input_grad[2:]]  # of features, then four for every stage
        block = below = Gradient(grad.clone(**LAST), maps, mean, kernels)
        grads = [None] * len(parameters)
        for i, stage in reversed(list(enumerate(ctx.stages))):
            if not any(needs[:4 * i + 5]):  # nothing from here down wants a gradient
                break
            own = slice(4 * i, 4 * i + 4)
            source, *used, keep = kept[own]
            above = below if stage.writes is None else block.part(stage.writes)
            if stage.from_block:
                source, below = maps[:, :stage.reads], block.part(slice(stage.reads))
            else:
                below = Gradient(None, source, used[0] if stage.step.uses_batch else None, kernels)
            grads[own] = run_backward(
                stage.step, parameters[own], source, *used, above, below, keep=keep,
                wanted=needs[4 * i + 3:4 * i + 5], inside=any(needs[:4 * i + 3]),
            )
        wanted = block.part(slice(ctx.stages[0].reads)).whole() if needs[0] else None
        return wanted, None, *grads


def infer(features, stages):
    """Compute a dense block when nothing is learned: no gradients, no batch statistics.

    All layers take a few images before the next few.
    """
    kernels = stages[0].step.kernels
    return infer_by_operators(features, stages) if kernels is Operators else infer_natively(features, stages, kernels)


def infer_natively(features, stages, kernels):
    """Hand ``dense_block.cpp`` what it needs to know of each stage."""
    tensors, places, eps, channels = [], [], [], stages[-1].writes.stop
    for stage in stages:
        norm, conv = stage.step.norm, stage.step.conv
        tensors += for_kernels(stage.step.parameters, norm.running_mean, norm.running_var)
        places += *conv.padding, stage.reads if stage.from_block else 0, stage.writes.start if stage.writes else -1
        eps.append(norm.eps)
    return kernels.infer(features, tensors, places, eps, channels, images_at_once(features, channels))


def infer_by_operators(features, stages):
    """Do the same on any device."""
    maps = empty_maps(features, stages[-1].writes.stop)
    maps[:, :features.shape[1]] = features
    steps = [stage.step for stage in stages]
    numbers = [scale_and_shift(step, step.parameters, *step.statistics(None, None)) for step in steps]
    weights = [[p if p is None else p.to(maps.dtype) for p in step.parameters[2:]] for step in steps]
    for tile in tiles(maps):
        made = block = maps[tile]
        for stage, affine, (weight, bias) in zip(stages, numbers, weights, strict=True):
            active = stage.step.kernels.activate(block[:, :stage.reads] if stage.from_block else made, *affine)
            made = torch.conv2d(active, weight, bias, padding=stage.step.conv.padding)
            if stage.writes is not None:
                block[:, stage.writes] = made
    return maps


class TransitionFunction(torch.autograd.Function):
    """A transition: ``TransitionFunction.apply(maps, step, gamma, beta, weight, bias)``."""

    @staticmethod
    def forward(ctx, maps, step, *parameters):
        used = step.statistics(*(measure_all(maps, step.kernels) if step.uses_batch else (None, None)))
        out = empty_maps(maps, step.conv.out_channels, shrink=step.pool)
        run(step, parameters, maps, *used, out)
        step.update_running(*used, values_per_channel(maps))
        ctx.step = step
        ctx.save_for_backward(maps, *used, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        maps, mean, var, *parameters = ctx.saved_tensors
        needs = [ctx.needs_input_grad[0], *ctx.needs_input_grad[2:]]
        above = Gradient(grad, None, None, ctx.step.kernels)
        below = Gradient(None, maps, mean if ctx.step.uses_batch else None, ctx.step.kernels)
        grads = run_backward(
            ctx.step, parameters, maps, mean, var, above, below, wanted=needs[3:], inside=any(needs[:3])
        )
        return below.whole() if needs[0] else None, None, *grads


def dropout(maps, rate):
    """Draw the factors of dropout, 0 or 1 / (1 − rate), as ``F.dropout`` draws them; None for no dropout."""
    if rate == 0:
        return None
    return torch.empty(maps.shape, dtype=maps.dtype, device=maps.device).bernoulli_(1 - rate).div_(1 - rate)
