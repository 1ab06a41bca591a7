"""What is asked of an answer to densenet121: build it, load weights in order, run it."""

from collections import deque

import torch
from torch import nn

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import probe


@probe
def play(objects, name, arguments, script, weights=None):
    """Build the network, load weights in order, and play a script.

    Args:
        objects: the learner's objects.
        name: which of them.
        arguments: positional arguments to build it.
        script: see ``probes.perform_script``; its first "images" serve lazy layers too.
        weights: {"parameters": tensors, "buffers": tensors}, each in order of registration; None leaves what is there.

    Returns:
        {"parameters": [(name, shape, requires_grad)],
        "misfits": how many tensors found no partner, "replies": one for each step}
    """
    module = probes.build(objects, name, arguments)
    images = next((step["images"] for step in script if "images" in step), torch.zeros(2, 3, 64, 64))
    _, parameters = probes.perform_script(module, [{"do": "warm up", "images": images}, {"do": "parameters"}])
    misfits = 0
    if weights is not None:
        mend_biases(module)
        misfits = load_in_order(module.parameters(), weights["parameters"])
        misfits += load_in_order((b for b in module.buffers() if b.is_floating_point()), weights["buffers"])
    replies = [] if misfits else probes.perform_script(module, script)
    return {"parameters": parameters, "misfits": misfits, "replies": replies}


@torch.no_grad()
def load_in_order(tensors, values):
    """Write values into tensors, each into the next one of its shape.

    Returns:
        The number of tensors and values without a partner.
    """
    waiting, alone = {}, 0
    for value in values:
        waiting.setdefault(tuple(value.shape), deque()).append(value)
    for tensor in tensors:
        if waiting.get(tuple(tensor.shape)):
            tensor.copy_(waiting[tuple(tensor.shape)].popleft())
        else:
            alone += 1
    return alone + sum(map(len, waiting.values()))


def mend_biases(module):
    """Take the convolutions' biases away and give every linear layer one, so that they cost parameters, not values."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.bias = None
        elif isinstance(part, nn.Linear) and part.bias is None:
            part.bias = nn.Parameter(torch.zeros(part.out_features))
