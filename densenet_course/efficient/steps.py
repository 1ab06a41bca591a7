"""The arithmetic under ``efficient``: steps of BatchNorm → ReLU → (pooling) → convolution, forward.

A step reads maps that are kept anyway, and keeps nothing of its own. Its statistics are handed to it, so that several
steps can share them. The way back is in ``backward``.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.efficient.kernels import LAST, Operators, computes_steps, wide

# What a step takes at once on a CPU: maps of so many bytes that a normalised copy of them stays in the cache.
TILE_BYTES = 4 * 2**20


class Parameters(NamedTuple):
    """One thing for each parameter of a step: the parameter itself, its gradient, or whether it needs one."""

    gamma: object
    beta: object
    weight: object
    bias: object


@dataclass(frozen=True)
class Step:
    """BatchNorm → ReLU → pooling, if any → convolution.

    Args:
        norm: an ``nn.BatchNorm2d``.
        conv: an ``nn.Conv2d`` of stride 1.
        uses_batch: whether it normalises with the batch's statistics, as in training, or with its running ones.
        pool: edge of the squares that are averaged; 1 for none.
        kernels: what computes the passes: ``Operators``, ``native()`` or ``TritonPasses``.
    """

    norm: nn.BatchNorm2d
    conv: nn.Conv2d
    uses_batch: bool
    pool: int = 1
    kernels: object = Operators

    @property
    def parameters(self):
        return Parameters(self.norm.weight, self.norm.bias, self.conv.weight, self.conv.bias)

    @property
    def reads(self):
        """How many channels it takes."""
        return self.norm.weight.shape[0]

    @property
    def makes(self):
        """How many channels it returns."""
        return self.conv.weight.shape[0]

    @property
    def is_compiled(self):
        return computes_steps(self.kernels)

    def statistics(self, mean, var):
        """Choose what it normalises with: the first of these channels' batch statistics, or its running ones."""
        if self.uses_batch:
            return mean[:self.reads], var[:self.reads]
        norm, dtype = self.norm, wide(self.norm.running_mean.dtype)
        return norm.running_mean.to(dtype, copy=True), norm.running_var.to(dtype, copy=True)

    def update_running(self, mean, var, count):
        """Move the running statistics towards those of a batch with ``count`` values in each channel."""
        norm, rate = self.norm, self.norm.momentum
        if not (norm.training and norm.track_running_stats) or norm.running_mean is None:
            return
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)  # without setting the attribute again, which takes longer
            rate = 1 / norm.num_batches_tracked.item() if rate is None else rate
        rate = rate or 0.0
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), rate)
        norm.running_var.lerp_((var * (count / (count - 1))).to(norm.running_var.dtype), rate)  # the unbiased one


@dataclass(frozen=True)
class Call:
    """One use of a step: what its forward pass reads, and its backward pass reads again.

    Args:
        step: a ``Step``.
        parameters: its ``Parameters``.
        source: maps x (N, C, H, W), perhaps some channels of a wider tensor.
        mean, var: (C,), the μ and σ² it normalises with.
        keep: (N, C', H', W'), the factors that dropout applies to what it makes; None for no dropout.
    """

    step: Step
    parameters: Parameters
    source: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    keep: torch.Tensor | None = None

    def scale_and_shift(self):
        """Return a and b (C,) with which γ·x̂ + β = a·x + b."""
        return scale_and_shift(self.step, self.parameters, self.mean, self.var)

    def tiles(self):
        """Yield slices over the images that it takes at once."""
        return tiles(self.source, self.step.makes)

    def for_kernels(self):
        """Put what the compiled steps need to know of it in their order: tensors, ε, padding, pool."""
        tensors = for_kernels(self.parameters, self.mean, self.var)
        return tensors, self.step.norm.eps, self.step.conv.padding, self.step.pool

    @property
    def images_at_once(self):
        return images_at_once(self.source, self.step.makes)


def empty_maps(like, channels, shrink=1):
    """Allocate maps in channels-last for the same images."""
    size = (len(like), channels, *(edge // shrink for edge in like.shape[2:]))
    return torch.empty(size, dtype=like.dtype, device=like.device, **LAST)


def tiles(maps, channels=0):
    """Yield slices over the images, each of about ``TILE_BYTES``; everything at once on a GPU.

    Args:
        maps: (N, C, H, W).
        channels: of other maps that belong to them, if more than C.
    """
    count, size = len(maps), max(1, len(maps))
    if maps.device.type == "cpu":
        image_bytes = max(maps.shape[1], channels) * maps.shape[2] * maps.shape[3] * maps.element_size()
        size = max(1, TILE_BYTES // max(1, image_bytes))
    for start in range(0, count, size):
        yield slice(start, start + size)


def images_at_once(maps, channels=0):
    """Return the number of images in a tile."""
    return next(tiles(maps, channels)).stop


def values_per_channel(maps):
    return maps.numel() // maps.shape[1]


def join(parts):
    """Combine (number of values, mean, biased variance) of the parts of a batch into mean and variance of the whole."""
    count, mean, var = zip(*parts, strict=True)
    if len(parts) == 1:
        return mean[0], var[0]
    mean, var = torch.stack(mean), torch.stack(var)
    share = mean.new_tensor(count)[:, None] / sum(count)
    joint = (share * mean).sum(0)
    return joint, (share * (var + (mean - joint).square())).sum(0)


def measure_all(maps, kernels, out=None):
    """Return mean and biased variance of every channel, and copy the maps to their place, if there is one."""
    if kernels is not Operators:
        return kernels.store(maps.contiguous(**LAST), out)
    return join([(values_per_channel(maps[tile]), *kernels.store(maps[tile], None if out is None else out[tile]))
                 for tile in tiles(maps)])


def scale_and_shift(step, parameters, mean, var):
    """Return a = γ·r and b = β − μ·a, where r = 1/√(σ² + ε), so that γ·(x − μ)·r + β = a·x + b."""
    gamma, beta = parameters.gamma.to(mean.dtype), parameters.beta.to(mean.dtype)
    scale = gamma * torch.rsqrt(var + step.norm.eps)
    return scale, torch.addcmul(beta, mean, scale, value=-1)


def weight_and_bias(parameters, dtype):
    """Return the convolution's numbers in the format of the maps."""
    return tuple(p if p is None else p.to(dtype) for p in (parameters.weight, parameters.bias))


def pooled(step, active):
    """Average before the 1×1 convolution: the order does not matter to the result, and this one is cheaper."""
    return F.avg_pool2d(active, step.pool) if step.pool > 1 else active


def for_kernels(parameters, mean, var):
    """Put a step's tensors in the order in which the compiled steps take them."""
    gamma, beta, weight, bias = parameters
    return [gamma, beta, mean, var, weight, bias]


def run(call, out, *, measured=False):
    """Compute one step, some images at a time.

    Args:
        call: a ``Call``.
        out: (N, C', H', W'), filled.
        measured: whether a later step normalises ``out`` with its batch statistics.

    Returns:
        (mean, variance) of ``out`` if ``measured``, otherwise None.
    """
    step, source, keep = call.step, call.source, call.keep
    if step.is_compiled:
        found = step.kernels.run(source, *call.for_kernels(), out, measured, keep, call.images_at_once)
        return found if measured else None
    weight, bias = weight_and_bias(call.parameters, source.dtype)
    scale, shift = call.scale_and_shift()
    parts = []
    for tile in call.tiles():
        active = step.kernels.activate(source[tile], scale, shift)
        new = torch.conv2d(pooled(step, active), weight, bias, padding=step.conv.padding)
        if keep is not None:
            new *= keep[tile]
        if measured:
            parts.append((values_per_channel(new), *step.kernels.store(new, out[tile])))
        else:
            out[tile] = new
    return join(parts) if measured else None


def run_plainly(call, source):
    """Compute one step with PyTorch's own layers, which can be differentiated any number of times.

    Args:
        call: a ``Call``.
        source: in place of the call's own.
    """
    step, parameters = call.step, call.parameters
    statistics = (None, None) if step.uses_batch else (n.to(parameters.gamma.dtype) for n in (call.mean, call.var))
    active = F.relu(F.batch_norm(
        source, *statistics, parameters.gamma, parameters.beta, training=step.uses_batch, eps=step.norm.eps
    ))
    weight, bias = weight_and_bias(parameters, source.dtype)
    new = torch.conv2d(pooled(step, active), weight, bias, padding=step.conv.padding)
    return new if call.keep is None else new * call.keep
