"""The arithmetic under ``efficient``, backward: a step makes its normalised maps once more to find its gradients.

For one channel let m be its number of values, x̂ = (x − μ)·r with r = 1/√(σ² + ε), y = γ·x̂ + β, and g the gradient
of y, after the ReLU has let it pass or not. Then

    ∂β = Σ g,    ∂γ = Σ g·x̂ = r·Σ g·(x − μ),    ∂x = γ·r·(g − Σ g / m − x̂·Σ g·x̂ / m)
       = γ·r·g − shift − (x − μ)·slope,    where shift = γ·r·∂β / m and slope = γ·r·r·∂γ / m.

Source: Ioffe and Szegedy 2015, section 3 (the gradients); Pleiss et al. 2017, section 4 (recomputing).
"""

import torch

from densenet_course.efficient.kernels import LAST, Operators
from densenet_course.efficient.steps import (
    Parameters,
    empty_maps,
    pooled,
    tiles,
    values_per_channel,
    weight_and_bias,
)

aten = torch.ops.aten


class Gradient:
    """The gradient of stored maps, collected from all steps that read them.

    Only γ·r·g differs from pixel to pixel, and it is added at once. ``shift`` and ``slope`` are summed over the steps,
    and subtracted once for each map when all its readers are done.

    Args:
        total: (N, C, H, W), γ·r·g summed over the steps so far; None where one step alone will add it.
        maps: (N, C, H, W), the maps x.
        mean: (C,), their mean μ in the batch; None where no step uses it.
        kernels: as in ``Step``.
        shift, slope: (C,), what the steps send back through mean and variance so far.
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
        """Note what a step sends back through mean and variance; ``scale`` is its γ·r."""
        scale = scale / values_per_channel(self.maps)  # γ·r / m
        self.shift.addcmul_(scale, grad_beta)
        self.slope.addcmul_(scale * r, grad_gamma)

    def finished(self, tile):
        """Return the gradient of some images, when all readers are done."""
        if self.mean is None:
            return self.total[tile].contiguous(**LAST)
        return self.kernels.finish(self.total[tile], self.maps[tile], self.mean, self.slope, self.shift)

    def whole(self):
        """Return the gradient of all images."""
        if self.kernels is not Operators:
            return self.finished(slice(None))
        whole = empty_maps(self.maps, self.maps.shape[1])
        for tile in tiles(whole):
            whole[tile] = self.finished(tile)
        return whole


def run_backward(call, above, below, needs, *, further):
    """Send gradients back through one step, some images at a time, computing its inside again.

    Args:
        call: the ``Call`` of the forward pass.
        above: ``Gradient`` of what the step made.
        below: ``Gradient`` of its source; added to.
        needs: ``Parameters``: whether each needs a gradient.
        further: whether anything before this step does.

    Returns:
        ``Parameters`` of gradients; None where they were not wanted.
    """
    inside = further or needs.gamma or needs.beta  # whether the gradient must pass the convolution
    wanted = [inside, needs.weight, needs.bias]
    if call.step.is_compiled:
        found = call.step.kernels.run_backward(
            *call.for_kernels(), call.step.uses_batch, above.tensors(), below.tensors(), below.is_first, call.keep,
            wanted, call.images_at_once,
        )
    else:
        found = run_backward_by_operators(call, above, below, wanted)
    return Parameters(*(None if g is None else g.to(p.dtype) for g, p in zip(found, call.parameters, strict=True)))


def run_backward_by_operators(call, above, below, wanted):
    """Do it on any device."""
    step, kernels, inside = call.step, call.step.kernels, wanted[0]
    scale, shift = call.scale_and_shift()
    sums = {}
    for tile in call.tiles():
        active = kernels.activate(call.source[tile], scale, shift)  # ReLU(y), once more
        grad = above.finished(tile)
        if call.keep is not None:
            grad = grad * call.keep[tile]
        grad, grad_weight, grad_bias = convolution_backward(call, grad, active, wanted)
        parts = {"weight": grad_weight, "bias": grad_bias}
        if inside:
            parts["beta"], parts["moments"] = kernels.send_back(  # Σ g and Σ g·(x − μ)
                grad, active, call.source[tile], scale, call.mean, below.total[tile], below.is_first
            )
        for name, part in parts.items():
            if part is not None:
                sums[name] = sums[name].add_(part) if name in sums else part.to(call.mean.dtype)
    if inside:
        r = torch.rsqrt(call.var + step.norm.eps)
        sums["gamma"] = sums["moments"] * r
        if step.uses_batch:
            below.add_statistics(scale, r, sums["gamma"], sums["beta"])
    return Parameters(*(sums.get(name) for name in Parameters._fields))


def convolution_backward(call, grad, active, wanted):
    """Return the gradients of ``active`` before the pooling, of the weight and of the bias, those that are wanted."""
    step, (weight, bias) = call.step, weight_and_bias(call.parameters, active.dtype)
    grad, *grads = aten.convolution_backward(
        grad, pooled(step, active), weight, None if bias is None else bias.shape,
        (1, 1), step.conv.padding, (1, 1), False, (0, 0), 1, wanted,
    )
    if wanted[0] and step.pool > 1:
        square = (step.pool, step.pool)
        grad = aten.avg_pool2d_backward(grad, active, square, square, (0, 0), False, True, None)
    return grad, *grads
