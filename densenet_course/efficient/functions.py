"""A dense block and a transition as one autograd function each, made of the steps of ``steps``."""

import math
from dataclasses import replace
from itertools import accumulate, chain
from typing import NamedTuple

import torch

from densenet_course.efficient.backward import Gradient, run_backward
from densenet_course.efficient.kernels import LAST, computes_steps, wide
from densenet_course.efficient.steps import (
    Call,
    Parameters,
    empty_maps,
    for_kernels,
    images_at_once,
    measure_all,
    run,
    run_plainly,
    scale_and_shift,
    tiles,
    values_per_channel,
    weight_and_bias,
)


class Kept(NamedTuple):
    """What the forward pass keeps of one step's ``Call``: all but the parameters, which are kept anyway."""

    source: torch.Tensor | None  # None for channels of the block, which are kept once
    mean: torch.Tensor
    var: torch.Tensor
    keep: torch.Tensor | None


def in_groups(kind, values):
    """Put values, four by four, into tuples of one kind."""
    return [kind(*values[i:i + 4]) for i in range(0, len(values), 4)]


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
        kernels, ctx.stages = stages[0].step.kernels, stages
        if computes_steps(kernels):
            ctx.description = Description.of(features, stages)
            maps, mean, *kept = kernels.learn(features, tensors_of(stages, parameters), *ctx.description)
        else:
            maps, mean, *kept = learn_by_passes(features, stages, parameters)
        ctx.save_for_backward(maps, mean, *kept, *parameters)
        return maps

    @staticmethod
    def backward(ctx, grad):
        if is_differentiated(grad):
            maps, _, calls = saved_calls(ctx)
            features = maps[:, :ctx.stages[0].reads]  # as an output of this node, so further gradients find the way
            return gradients_with_a_graph(
                ctx, grad, features, calls, lambda features, calls: dense_plainly(features, ctx.stages, calls)
            )
        is_compiled = computes_steps(ctx.stages[0].step.kernels)
        with torch.autocast(grad.device.type, enabled=False):
            return learn_backward(ctx, grad) if is_compiled else dense_backward(ctx, grad, *saved_calls(ctx))


def learn_by_passes(features, stages, parameters):
    """Compute a dense block that learns, on any device.

    Returns:
        The maps, their means, and what is in ``Kept`` for each stage, one after the other.
    """
    maps, channels = empty_maps(features, stages[-1].writes.stop), features.shape[1]
    mean = var = made = found = None
    if any(stage.from_block and stage.step.uses_batch for stage in stages):
        mean, var = torch.zeros((2, maps.shape[1]), dtype=wide(maps.dtype), device=maps.device)
        mean[:channels], var[:channels] = measure_all(features, stages[0].step.kernels, maps[:, :channels])
    else:
        maps[:, :channels] = features
    kept = []
    for stage, own in zip(stages, in_groups(Parameters, parameters), strict=True):
        step, source = stage.step, maps[:, :stage.reads] if stage.from_block else made
        used = step.statistics(*((mean, var) if stage.from_block else (found or (None, None))))
        made = empty_maps(maps, step.makes) if stage.writes is None else maps[:, stage.writes]
        call = Call(step, own, source, *used, dropout(made, stage.drop_rate))
        found = run(call, made, measured=stage.measured)
        step.update_running(*used, values_per_channel(maps))
        if stage.writes is not None and found is not None:
            mean[stage.writes], var[stage.writes] = found
        kept.append(Kept(None if stage.from_block else source, *used, call.keep))
    return maps, mean, *chain.from_iterable(kept)


class Description(NamedTuple):
    """What ``dense_block.cpp`` needs to know of a block beside its tensors: see ``Stage`` there."""

    places: list
    numbers: list
    channels: int
    images: int

    @classmethod
    def of(cls, features, stages):
        """Describe a block for features (N, C, H, W)."""
        places, numbers, channels = [], [], stages[-1].writes.stop
        for stage in stages:
            norm, conv = stage.step.norm, stage.step.conv
            moves = norm.training and norm.track_running_stats and norm.running_mean is not None
            places += *conv.padding, stage.reads if stage.from_block else 0, stage.writes.start if stage.writes else -1
            places += int(stage.step.uses_batch), int(stage.measured), int(moves)
            numbers += norm.eps, math.nan if norm.momentum is None else norm.momentum, stage.drop_rate
        return cls(places, numbers, channels, images_at_once(features, channels))


def tensors_of(stages, parameters):
    """List the tensors of a block in the order of ``dense_block.cpp``."""
    tensors = []
    for stage, (gamma, beta, weight, bias) in zip(stages, in_groups(Parameters, parameters), strict=True):
        norm = stage.step.norm
        tensors += gamma, beta, norm.running_mean, norm.running_var, weight, bias, norm.num_batches_tracked
    return tensors


def saved_calls(ctx):
    """Return the maps of a block, their means, and the ``Call`` of every stage, as the forward pass left them."""
    maps, mean, *saved = ctx.saved_tensors
    half = len(Kept._fields) * len(ctx.stages)
    groups = zip(ctx.stages, in_groups(Kept, saved[:half]), in_groups(Parameters, saved[half:]), strict=True)
    return maps, mean, [
        Call(stage.step, parameters, maps[:, :stage.reads] if stage.from_block else kept.source, *kept[1:])
        for stage, kept, parameters in groups
    ]


def learn_backward(ctx, grad):
    """Let ``dense_block.cpp`` go back through a block.

    Returns:
        What ``DenseFunction.backward`` has to.
    """
    places, numbers, _, images = ctx.description
    cut, needs = 2 + len(Kept._fields) * len(ctx.stages), [ctx.needs_input_grad[0], *ctx.needs_input_grad[2:]]
    kept, parameters = ctx.saved_tensors[:cut], ctx.saved_tensors[cut:]
    features, *grads = ctx.stages[0].step.kernels.learn_backward(
        grad, list(kept), list(parameters), places, numbers, [int(need) for need in needs], images
    )
    return features, None, *grads


def dense_backward(ctx, grad, maps, mean, calls):
    """Go back through a block's stages, the last first.

    Returns:
        What ``DenseFunction.backward`` has to.
    """
    kernels, needs = ctx.stages[0].step.kernels, in_groups(Parameters, ctx.needs_input_grad[2:])
    # Whether anything before each stage needs a gradient: the features, or a parameter.
    further = list(accumulate(map(any, needs), lambda a, b: a or b, initial=ctx.needs_input_grad[0]))
    block = below = Gradient(grad.clone(**LAST), maps, mean, kernels)
    grads = [Parameters(None, None, None, None)] * len(calls)
    for i, (stage, call) in reversed(list(enumerate(zip(ctx.stages, calls, strict=True)))):
        if not further[i + 1]:  # nothing from here down wants a gradient
            break
        above = below if stage.writes is None else block.part(stage.writes)
        if stage.from_block:
            below = block.part(slice(stage.reads))
        else:
            below = Gradient(None, call.source, call.mean if stage.step.uses_batch else None, kernels)
        grads[i] = run_backward(call, above, below, needs[i], further=further[i])
    features = block.part(slice(ctx.stages[0].reads)).whole() if ctx.needs_input_grad[0] else None
    return features, None, *chain.from_iterable(grads)


def dense_plainly(features, stages, calls):
    """Compute a block once more with PyTorch's own layers."""
    made = None
    for stage, call in zip(stages, calls, strict=True):
        made = run_plainly(call, features if stage.from_block else made)
        if stage.writes is not None:
            features = torch.cat([features, made], dim=1)
    return features


def is_differentiated(grad):
    """Say whether a backward pass is itself differentiated (``create_graph=True``) or transformed: by ``torch.func``,
    or by the older vmap behind ``is_grads_batched``, which shows in the gradient alone."""
    is_batched = "Batched" in str(torch._C._dispatch_keys(grad))  # no other sign of it reaches Python
    return is_batched or torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()


def gradients_with_a_graph(ctx, grad, source, calls, compute):
    """Find the gradients by PyTorch's own derivatives, so that they can be differentiated again.

    Args:
        ctx: of the function whose backward pass it is.
        grad: gradient of its output.
        source: what stands for its input.
        calls: a ``Call`` for every step.
        compute: makes the output once more, from a source and calls.

    Returns:
        What ``backward`` has to.
    """
    create_graph = torch.is_grad_enabled()
    needs = [ctx.needs_input_grad[0], *ctx.needs_input_grad[2:]]
    with torch.enable_grad(), torch.autocast(source.device.type, enabled=False):
        # Under names of their own: the source may have been made with the same parameters, and the way ends here.
        source = source.view_as(source)
        calls = [replace(call, parameters=Parameters(*(p if p is None else p.view_as(p) for p in call.parameters)))
                 for call in calls]
        output = compute(source, calls)
    inputs = [source, *chain.from_iterable(call.parameters for call in calls)]
    wanted = [tensor for tensor, need in zip(inputs, needs, strict=True) if need]
    found = iter(torch.autograd.grad(output, wanted, grad, create_graph=create_graph))
    source_grad, *grads = [next(found) if need else None for need in needs]
    return source_grad, None, *grads


def infer(features, stages):
    """Compute a dense block when nothing is learned: no gradients, no batch statistics.

    All layers take a few images before the next few.
    """
    kernels = stages[0].step.kernels
    return infer_natively(features, stages, kernels) if computes_steps(kernels) else infer_by_passes(features, stages)


def infer_natively(features, stages, kernels):
    """Hand ``dense_block.cpp`` what it needs to know of each stage."""
    tensors, places, eps, channels = [], [], [], stages[-1].writes.stop
    for stage in stages:
        norm, conv = stage.step.norm, stage.step.conv
        tensors += for_kernels(stage.step.parameters, norm.running_mean, norm.running_var)
        places += *conv.padding, stage.reads if stage.from_block else 0, stage.writes.start if stage.writes else -1
        eps.append(norm.eps)
    return kernels.infer(features, tensors, places, eps, channels, images_at_once(features, channels))


def infer_by_passes(features, stages):
    """Do the same on any device."""
    maps = empty_maps(features, stages[-1].writes.stop)
    maps[:, :features.shape[1]] = features
    steps = [stage.step for stage in stages]
    numbers = [scale_and_shift(step, step.parameters, *step.statistics(None, None)) for step in steps]
    weights = [weight_and_bias(step.parameters, maps.dtype) for step in steps]
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
        out = empty_maps(maps, step.makes, shrink=step.pool)
        run(Call(step, Parameters(*parameters), maps, *used), out)
        step.update_running(*used, values_per_channel(maps))
        ctx.step = step
        ctx.save_for_backward(maps, *used, *parameters)
        return out

    @staticmethod
    def backward(ctx, grad):
        maps, mean, var, *parameters = ctx.saved_tensors
        call = Call(ctx.step, Parameters(*parameters), maps, mean, var)
        if is_differentiated(grad):
            return gradients_with_a_graph(ctx, grad, maps, [call], lambda maps, calls: run_plainly(calls[0], maps))
        above = Gradient(grad.contiguous(**LAST), None, None, ctx.step.kernels)
        below = Gradient(None, maps, mean if ctx.step.uses_batch else None, ctx.step.kernels)
        needs = Parameters(*ctx.needs_input_grad[2:])
        with torch.autocast(maps.device.type, enabled=False):
            grads = run_backward(call, above, below, needs, further=ctx.needs_input_grad[0])
            return below.whole() if ctx.needs_input_grad[0] else None, None, *grads


def dropout(maps, rate):
    """Draw the factors of dropout, 0 or 1 / (1 − rate), as ``F.dropout`` draws them; None for no dropout."""
    if rate == 0:
        return None
    keep = torch.empty(maps.shape, dtype=maps.dtype, device=maps.device)
    return keep.bernoulli_(1 - rate).div_(1 - rate) if rate < 1 else keep.zero_()
