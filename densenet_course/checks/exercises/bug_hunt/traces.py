"""Bug hunt: what a call leaves behind, looked for on the answer's side."""

from collections import deque

import torch
from torch import nn

_OWN = frozenset(vars(nn.Module()))  # parameters, buffers, hooks: not what a forward pass leaves


def held_tensors(module):
    """Count the tensors that a module and its parts hold outside of parameters and buffers, by attribute."""
    counts = {}
    for part in module.modules():
        for key, value in vars(part).items():
            if key not in _OWN:
                counts[key] = counts.get(key, 0) + _count(value)
    return counts


def _count(value):
    if isinstance(value, torch.Tensor):
        return 1
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_count, value)) if isinstance(value, list | tuple | set | deque) else 0
