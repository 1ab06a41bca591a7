"""The arithmetic under ``efficient``: steps of BatchNorm → ReLU → (pooling) → convolution, forward.

A step reads maps that are kept anyway, and keeps nothing of its own. Its statistics are handed to it, so that several
steps can share them. The way back is in ``backward``.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.efficient.kernels import LAST, Operators, wide

# What a step takes at once on a CPU: maps of so many bytes that a normalised copy of them stays in the cache.
TILE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Step:
    """BatchNorm → ReLU → pooling, if any → convolution.

    Args:
        norm: an ``nn.BatchNorm2d``.
        conv: an ``nn.Conv2d`` of stride 1.
        uses_batch: whether it normalises with the batch's statistics, as in training, or with its running ones.
        pool: edge of the squares that are averaged; 1 for none.
        kernels: what computes the passes: ``Operators`` or ``native()``.
    """

    norm: nn.BatchNorm2d
    conv: nn.Conv2d
    uses_batch: bool
    pool: int = 1
    kernels: object = Operators

    @property
    def parameters(self):
        return self.norm.weight, self.norm.bias, self.conv.weight, self.conv.bias

    @property
    def is_compiled(self):
        """Whether all of it is: that is, if nothing is pooled."""
        return self.kernels is not Operators and self.pool == 1

    def statistics(self, mean, var):
        """Choose what it normalises with: the first of these channels' batch statistics, or its running ones."""
        if self.uses_batch:
            return mean[:self.norm.num_features], var[:self.norm.num_features]
        norm, dtype = self.norm, wide(self.norm.running_mean.dtype)
        return norm.running_mean.to(dtype, copy=True), norm.running_var.to(dtype, copy=True)

    def update_running(self, mean, var, count):
        """Move the running statistics towards those of a batch with ``count`` values in each channel."""
        norm = self.norm
        if not norm.training or norm.running_mean is None:
            return
        norm.num_batches_tracked.add_(1)  # without setting the attribute again, which takes longer
        momentum = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
        norm.running_var.lerp_((var * (count / (count - 1))).to(norm.running_var.dtype), momentum)


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


def measure_all(maps, kernels):
    """Return mean and biased variance of every channel."""
    return join([(values_per_channel(maps[tile]), *kernels.store(maps[tile], None)) for tile in tiles(maps)])


def scale_and_shift(step, parameters, mean, var):
    """Return scale and shift of a step's BatchNorm with the statistics given."""
    gamma, beta = (p.to(mean.dtype) for p in parameters[:2])
    scale = gamma * torch.rsqrt(var + step.norm.eps)
    return scale, torch.addcmul(beta, mean, scale, value=-1)


def pooled(step, active):
    """Average before the 1×1 convolution: the order does not matter to the result, and this one is cheaper."""
    return F.avg_pool2d(active, step.pool) if step.pool > 1 else active


def for_kernels(parameters, mean, var):
    """Put a step's tensors in the order in which the compiled steps take them."""
    return [*parameters[:2], mean, var, *parameters[2:]]


def run(step, parameters, source, mean, var, out, *, measured=False, keep=None):
    """Compute one step, some images at a time.

    Args:
        step: a ``Step``.
        parameters: its γ, β, weight and bias.
        source: maps (N, C, H, W), perhaps some channels of a wider tensor.
        mean, var: (C,), what it normalises with.
        out: (N, C', H', W'), filled.
        measured: whether a later step normalises ``out`` with its batch statistics.
        keep: (N, C', H', W'), the factors that dropout applies to ``out``; None for no dropout.

    Returns:
        (mean, variance) of ``out`` if ``measured``, otherwise None.
    """
    if step.is_compiled:
        found = step.kernels.run(
            source, for_kernels(parameters, mean, var), step.norm.eps, step.conv.padding, out, measured, keep,
            images_at_once(source, step.conv.out_channels),
        )
        return found if measured else None
    weight, bias = (p if p is None else p.to(source.dtype) for p in parameters[2:])
    scale, shift = scale_and_shift(step, parameters, mean, var)
    parts = []
    for tile in tiles(source, step.conv.out_channels):
        active = step.kernels.activate(source[tile], scale, shift)
        new = torch.conv2d(pooled(step, active), weight, bias, padding=step.conv.padding)
        if keep is not None:
            new *= keep[tile]
        if measured:
            parts.append((values_per_channel(new), *step.kernels.store(new, out[tile])))
        else:
            out[tile] = new
    return join(parts) if measured else None
