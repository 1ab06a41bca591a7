"""The judge's side of memory: layers wrapped rightly and with known mistakes, and what is done with them."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_course.checks.engine.answer import plain
from densenet_course.checks.exercises.memory.probes import use
from densenet_course.layers import BottleneckLayer

NAME = "CheckpointedLayer"


class Plain(nn.Module):
    """Call the layer: what comes out is right, and nothing is saved.

    Args:
        layer: a bottleneck layer.
    """

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, images):
        """Return the layer's output."""
        return self.layer(images)


class Twice(Plain):
    """Recompute without a thought for BatchNorm."""

    def forward(self, images):
        """Return the layer's output."""
        return checkpoint(self.layer, images, use_reentrant=False)


class OtherMode(Plain):
    """Compute in the other mode."""

    def forward(self, images):
        """Return the layer's output in the other mode."""
        training = self.layer.training
        try:
            return self.layer.train(not training)(images)
        finally:
            self.layer.train(training)


class Joined(Plain):
    """Return the input too."""

    def forward(self, images):
        """Return the input and the new maps."""
        return torch.cat([images, self.layer(images)], dim=1)


class RecomputedInEval(Plain):
    """Recompute in eval mode."""

    def forward(self, images):
        """Return the layer's output, with gradients as eval mode gives them."""
        return _EvalGradient.apply(self, images, *self.layer.parameters())


class _EvalGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, wrapper, images, *parameters):
        ctx.wrapper = wrapper
        ctx.save_for_backward(images)
        return wrapper.layer(images)

    @staticmethod
    def backward(ctx, gradient):
        layer, (images,) = ctx.wrapper.layer, ctx.saved_tensors
        training = layer.training
        layer.eval()
        with torch.enable_grad():
            again = images.detach().requires_grad_()
            gradients = torch.autograd.grad(layer(again), [again, *layer.parameters()], gradient)
        layer.train(training)
        return None, *gradients


def draw_layer(draw, *, channels=None):
    """Draw a bottleneck layer: arguments, state, momentum."""
    arguments = channels or draw.integer(12, 16), draw.integer(3, 4), draw.integer(3, 5)
    state = dict(BottleneckLayer(*arguments).state_dict())
    for key, value in state.items():
        if value.ndim > 1:
            state[key] = draw.normal(*value.shape, scale=(2 / value[0].numel()) ** 0.5)
        elif value.ndim == 1:
            positive = "var" in key or "weight" in key
            noise = draw.normal(*value.shape)
            state[key] = 0.5 + noise.abs() if positive else 0.3 * noise
        else:
            state[key] = torch.tensor(draw.integer(3, 9))
    return {"arguments": arguments, "state": state, "momentum": draw.integer(15, 40) / 100}


def draw_images(draw, layer, count=1):
    """Draw ``count`` inputs of one size, whose channels differ in mean and spread."""
    channels = layer["arguments"][0]
    size = draw.integer(2, 4), channels, draw.integer(5, 7), draw.integer(8, 10)
    each = 1, channels, 1, 1
    return [draw.normal(*size) * (0.3 * draw.normal(*each)).exp() + draw.normal(*each) for _ in range(count)]


def draw_upstream(draw, layer, images):
    """Draw a gradient for the output."""
    return draw.normal(len(images), layer["arguments"][1], *images.shape[2:])


def step(draw, layer, *, train=True, needs=True, calls=1, backward=True, **options):
    """Make one step for ``use``."""
    images = draw_images(draw, layer, calls)
    made = {"train": train, "images": images, "needs": needs} | options
    return made | {"upstream": [draw_upstream(draw, layer, image) for image in images]} if backward else made


def rehearse(wrapper, layer, steps):
    """Do with one of the judge's own wrappers what the answer is asked to do."""
    return plain(use({NAME: wrapper}, NAME, layer, steps))
