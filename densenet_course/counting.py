"""Count on a live network what it costs: parameters, multiply-adds, where its weights work, how far a pixel reaches."""

from collections import Counter

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(model, *shape):
    """Count a network's parameters and the multiply-adds of its convolutions and matrix products for one input.

    Args:
        model: an ``nn.Module``; it is left in eval mode.
        shape: of one input without its batch, for instance 1, 28, 28.

    Returns:
        (parameters, multiply_adds)
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2  # a multiply-add is two of them


@torch.no_grad()
def weights_by_map(model, *shape):
    """Count convolution weights by the height of the map that they make: height in pixels → weights.

    Args:
        model: an ``nn.Module``; it is left in eval mode.
        shape: of one input without its batch.
    """
    found = Counter()
    hooks = [module.register_forward_hook(lambda conv, _, maps: found.update({maps.shape[-2]: conv.weight.numel()}))
             for module in model.modules() if isinstance(module, nn.Conv2d)]
    try:
        model.eval()(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    return dict(found)


@torch.no_grad()
def reach(layer, in_channels, size=15):
    """Count the pixels of a layer's output that move when the middle pixel of its input is changed.

    Args:
        layer: an ``nn.Module`` from (N, in_channels, H, W) to (N, k, H, W); it is left in eval mode.
        in_channels: channels C.
        size: height and width of the maps, in pixels.
    """
    maps = torch.randn(1, in_channels, size, size)
    changed = maps.clone()
    changed[:, :, size // 2, size // 2] += 100
    difference = (layer.eval()(maps) - layer(changed)).abs() > 1e-4  # (1, k, H, W)
    return difference.any(1).sum().item()
