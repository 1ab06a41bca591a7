"""The arithmetic under ``efficient``, backward: a step makes its normalised maps once more to find its gradients."""

import torch

from densenet_course.efficient.kernels import LAST
from densenet_course.efficient.steps import (
    empty_maps,
    for_kernels,
    images_at_once,
    pooled,
    scale_and_shift,
    tiles,
    values_per_channel,
)

aten = torch.ops.aten


class Gradient:
    """The gradient of stored maps, collected from all steps that read them.

    A step that normalises with x̂ = (x − μ)·r sends back γ·r·(g − mean(g) − x̂·mean(g·x̂)). Only γ·r·g differs from
    pixel to pixel, and it is added at once. The two means are known from the gradients of β and γ; they are summed
    over the steps, and subtracted once for each map when all its readers are done.

    Args:
        total: (N, C, H, W), γ·r·g summed over the steps so far; None where one step alone will add it.
        maps: (N, C, H, W), the maps.
        mean: (C,), their mean in the batch; None where no step uses it.
        kernels: as in ``Step``.
        shift, slope: (C,), what the two means add up to so far.
    """

    def __init__(self, total, maps, mean, kernels, shift=None, slope=None):
        self.is_first, self.kernels = total is None, kernels
        self.total = empty_maps(maps, maps.shape[1]) if total is None else total
        self.maps, self.mean, self.shift, self.slope = maps, mean, shift, slope
        if mean is not None and shift is None:
            self.shift, self.slope = torch.zeros_like(mean), torch.zeros_like(mean)

    def tensors(self):
        """Return what the compiled steps need of it."""
        return [self.total, self.maps, self.mean, self.slope, self.shift]

    def part(self, channels):
        """View some of the channels; what is added there is added here."""
        numbers = (None if v is None else v[channels] for v in (self.mean, self.shift, self.slope))
        mean, *sums = numbers
        return Gradient(self.total[:, channels], self.maps[:, channels], mean, self.kernels, *sums)

    def add_statistics(self, scale, r, grad_gamma, grad_beta):
        """Note what a step sends back through mean and variance."""
        scale = scale / values_per_channel(self.maps)
        self.shift.addcmul_(scale, grad_beta)
        self.slope.addcmul_(scale * r, grad_gamma)

    def finished(self, tile):
        """Return the gradient of some images, when all readers are done."""
        if self.mean is None:
            return self.total[tile].contiguous(**LAST)
        return self.kernels.finish(self.total[tile], self.maps[tile], self.mean, self.slope, self.shift)

    def whole(self):
        """Return the gradient of all images."""
        whole = empty_maps(self.maps, self.maps.shape[1])
        for tile in tiles(whole):
            whole[tile] = self.finished(tile)
        return whole


def run_backward(step, parameters, source, mean, var, above, below, *, keep=None, wanted=(True, True), inside=True):
    """Send gradients back through one step, some images at a time, computing its inside again.

    Args:
        step, parameters, source, mean, var, keep: as in ``run``.
        above: ``Gradient`` of what the step made.
        below: ``Gradient`` of ``source``; added to.
        wanted: whether weight and bias need gradients.
        inside: whether anything before the convolution does.

    Returns:
        Gradients of γ, β, weight and bias; None where they were not wanted.
    """
    if step.is_compiled:
        sums = step.kernels.run_backward(
            for_kernels(parameters, mean, var), step.norm.eps, step.conv.padding, step.uses_batch, above.tensors(),
            below.tensors(), below.is_first, keep, [inside, *wanted], images_at_once(source, step.conv.out_channels),
        )
    else:
        sums = run_backward_by_operators(step, parameters, source, mean, var, above, below, keep, wanted, inside)
    return [None if s is None else s.to(p.dtype) for s, p in zip(sums, parameters, strict=True)]


def run_backward_by_operators(step, parameters, source, mean, var, above, below, keep, wanted, inside):
    """Do it on any device, and for what is pooled."""
    kernels, weight, bias = step.kernels, parameters[2].to(source.dtype), parameters[3]
    scale, shift = scale_and_shift(step, parameters, mean, var)
    r = torch.rsqrt(var + step.norm.eps)
    sums = [None] * 4
    for tile in tiles(source, step.conv.out_channels):
        active = kernels.activate(source[tile], scale, shift)
        grad = above.finished(tile)
        if keep is not None:
            grad = grad * keep[tile]
        grad, *grads = aten.convolution_backward(
            grad, pooled(step, active), weight, None if bias is None else bias.shape,
            (1, 1), step.conv.padding, (1, 1), False, (0, 0), 1, (inside, *wanted),
        )
        norm_grads = [None, None]
        if inside:
            if step.pool > 1:
                square = (step.pool, step.pool)
                grad = aten.avg_pool2d_backward(grad, active, square, square, (0, 0), False, True, None)
            total = below.total[tile]
            grad_beta, moments = kernels.send_back(grad, active, source[tile], scale, mean, total, below.is_first)
            norm_grads = [moments, grad_beta]
        for i, part in enumerate(norm_grads + grads):
            if part is not None:
                sums[i] = part.to(mean.dtype) if sums[i] is None else sums[i].add_(part)
    if inside:
        sums[0] = sums[0] * r
        if step.uses_batch:
            below.add_statistics(scale, r, *sums[:2])
    return sums
