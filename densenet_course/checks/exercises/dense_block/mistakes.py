"""Known mistakes in a dense block: what comes out of them, and what to say."""

from functools import partial

import torch
from torch import nn

from densenet_course import layers
from densenet_course.checks.exercises import conv_block

SLIPS = (  # (channels that come out, the mistake)
    (lambda n, c, k: n * k, "Did you return only the new maps? The input belongs to the output, in front of them."),
    (lambda n, c, k: k, "Did you return only the maps of the last layer? Everything read belongs to the output."),
    (lambda n, c, k: c + (n - 1) * k, "That is one layer too few."),
    (lambda n, c, k: c + (n + 1) * k, "That is one layer too many."),
    (lambda n, c, k: c + k, "That is the input and one layer. Join the maps of every layer to those before it."),
    (lambda n, c, k: c, "Are the new maps added instead of joined? Use torch.cat."),
    (lambda n, c, k: c * 2**n, "Is something joined twice? Each layer's maps are appended once."),
    (lambda n, c, k: 2 * c + n * k, "Is the input joined twice?"),
    (lambda n, c, k: c + n * 10, "Is the growth rate fixed at 10?"),
)


def slips(n, c, k):
    """Pair numbers of channels with the mistakes that give them, the likeliest first."""
    others = [(c + m * k, f"That is the input and the maps of {m} layers.") for m in range(2, 10)]
    return [(formula(n, c, k), message) for formula, message in SLIPS] + others


def built_from(layer):
    """Return a builder (num_layers, in_channels, growth_rate) of dense blocks with other layers."""
    return lambda n, c, k: layers.DenseBlock(n, c, k, layer=layer)


class _Rewired(layers.DenseBlock):
    """A block with another forward loop.

    Args:
        step: (features, new maps) → what the next layer finds.
        read: (features, number of the layer, in_channels) → what the layer gets.
        leave: (features, in_channels, growth_rate) → the output.
    """

    def __init__(self, n, c, k, step=lambda old, new: torch.cat([old, new], dim=1),
                 read=lambda features, i, c: features, leave=lambda features, c, k: features):
        super().__init__(n, c, k)
        self.sizes, self.step, self.read, self.leave = (c, k), step, read, leave

    def forward(self, features):
        for i, layer in enumerate(self.children()):
            features = self.step(features, layer(self.read(features, i, self.sizes[0])))
        return self.leave(features, *self.sizes)


def _rewired(**changes):
    return partial(_Rewired, **changes)


class _HandsOnActivated(layers.DenseBlock):
    def forward(self, features):
        for layer in self.children():
            features = layer.relu1(layer.norm1(features))
            features = torch.cat([features, layer.conv1(features)], dim=1)
        return features


class _NormalisedOnce(nn.Module):
    def __init__(self, n, c, k):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(k if i else c) for i in range(n))
        self.convs = nn.ModuleList(_conv(c + i * k, k) for i in range(n))

    def forward(self, features):
        made, read = [features], []
        for norm, conv in zip(self.norms, self.convs, strict=True):
            read.append(norm(made[-1]).relu())
            made.append(conv(torch.cat(read, dim=1)))
        return torch.cat(made, dim=1)


class FrozenNorm(nn.BatchNorm2d):
    """A BatchNorm that uses its running statistics in train mode too."""

    def forward(self, maps):
        return nn.functional.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def _conv(c, k):
    return nn.Conv2d(c, k, kernel_size=3, padding=1, bias=False)


def _read_newest_first(features, i, c):
    new = features[:, c:].split((features.shape[1] - c) // i, dim=1) if i else ()
    return torch.cat([features[:, :c], *reversed(new)], dim=1)


def _leave_newest_first(features, c, k):
    return torch.cat([*reversed(features[:, c:].split(k, dim=1)), features[:, :c]], dim=1)


SUSPECTS = (
    (_rewired(step=lambda old, new: torch.cat([new, old], dim=1)),
     "the new maps are joined in front. Append them: torch.cat([features, new_maps], dim=1)."),
    (_rewired(leave=_leave_newest_first),
     "the output holds the newest maps first; expected the input first, then the maps in the order of the layers."),
    (_rewired(read=_read_newest_first),
     "the layers read the newest maps first; expected the order in which they were made."),
    (_rewired(leave=lambda f, c, k: torch.cat([f[:, c:], f[:, :c]], dim=1)),
     "the input stands at the end of the output; expected it in front."),
    (_rewired(leave=lambda f, c, k: f.relu()), "the output went through a ReLU; expected the maps as they were made."),
    (_rewired(step=lambda old, new: torch.cat([old, new.relu()], dim=1)),
     "the new maps go through a ReLU before they are joined; expected them as the convolution makes them."),
    (_HandsOnActivated, "BatchNorm and ReLU changed the maps that are handed on. A layer works on a copy; what is "
     "joined stays as it was made."),
    (_NormalisedOnce, "each map is normalised once, for all its readers; expected a BatchNorm in each layer, over "
     "everything that it reads."),
    (_rewired(read=lambda f, i, c: torch.cat([f[:, :c] * (i == 0), f[:, c:]], dim=1)),
     "the later layers get zeros in place of the input."),
    (_rewired(step=lambda old, new: torch.cat([old.detach(), new], dim=1)),
     "nothing flows back through the maps that were there before. Is there a detach() or .data?"),
    (_rewired(read=lambda f, i, c: f.detach() if i else f),
     "nothing flows back into what the later layers read. Is there a detach() or .data?"),
    (_rewired(read=lambda f, i, c: f.detach()),
     "nothing flows back into what the layers read. Is there a detach() or .data?"),
    (built_from(lambda c, k: nn.Sequential(FrozenNorm(c), nn.ReLU(), _conv(c, k))),
     "BatchNorm uses the running statistics in train mode too; expected the batch's."),
    (built_from(lambda c, k: nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm2d(c), _conv(c, k))),
     "in each layer: this is ReLU → BN → convolution, and the ReLU overwrites the maps that are handed on."),
    *((built_from(conv_block.SOLUTION.builder("conv_block", mistake)), f"in each layer: {mistake.message}")
      for mistake in conv_block.SOLUTION.mistakes if mistake.finding in (conv_block.VALUES, conv_block.TRAINING)),
)


def notes(num_layers, in_channels, growth_rate):
    """Name the cause of parameters of a wrong shape."""
    n, c, k = num_layers, in_channels, growth_rate
    last, following = c + (n - 1) * k, c + n * k
    grows = "Layer i, counted from 0, reads in_channels + i·growth_rate channels."
    return {
        (c, k, 3, 3): "in_channels and growth_rate are swapped.",
        (4 * k, c, 1, 1): "Each layer is one conv block with one 3×3 convolution, not a bottleneck layer.",
        (k, c, 1, 1): "The kernel is 1×1; expected 3×3.",
        (k, k, 3, 3): f"A layer reads more than the maps of the layer before it. {grows}",
        (k, following, 3, 3): "That is one layer too many.",
        (following,): "Is there a BatchNorm after the last layer?",
        (k,): "Is it a bias (set bias=False)? Or a BatchNorm over k maps? It stands before the convolution, over all "
              "that the layer reads.",
        (k, c, 3, 3): grows,
        (k, last, 3, 3): f"{grows[:-1]}, for i < num_layers.",
        (c,): "BatchNorm has a γ and a β of its own in each layer, for each channel the layer reads.",
    }


def misfit(got, built, arguments):
    """Say why a layer built for some channels got others."""
    _, c, k = arguments
    cause = "layer i, counted from 0, reads in_channels + i·growth_rate channels."
    if (got, built) == (c, k):
        cause = "are in_channels and growth_rate swapped?"
    elif got == k:
        cause = ("it got only the maps of the layer before. Join them to all that was there: "
                 "torch.cat([features, new_maps], dim=1).")
    return f"A layer built for {built} channels got {got}: {cause}"


MISFIT = (
    (r"should contain (\d+) elements not (\d+)", lambda found, call: misfit(int(found[1]), int(found[2]), call)),
    (r"to have (\d+) channels, but got (\d+)", lambda found, call: misfit(int(found[2]), int(found[1]), call)),
)
