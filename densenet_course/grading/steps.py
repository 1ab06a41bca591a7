"""A training step as one list of operations: the forward pass, then the backward pass, and what the first keeps for it.

The student's cell writes the list on numbers of its own (``write``). The judge's player plays it with the judge's
numbers (``play``) and counts the bytes of all that the second half reads of the first, wherever the student's process
keeps it: in autograd, on an object, in a hook. The second half is given nothing else, so nobody can leave any out.
"""

import math

import torch
import torch.utils.checkpoint
from torch.utils._pytree import tree_leaves

from densenet_course.grading import playing
from densenet_course.grading.operations import Refused
from densenet_course.grading.recording import Recorder
from densenet_course.grading.watching import decoys

UPSTREAM = 1  # its place among the inputs: images, the output's gradient, parameters, buffers


def write(objects, name, layer, shape, train):
    """Write a step of a wrapped bottleneck layer, whose input needs gradients.

    Args:
        objects: the learner's objects.
        name: which of them.
        layer: arguments and momentum of the layer.
        shape: of the input.
        train: the mode.

    Returns:
        {"operations", "result": output and gradients, "inputs", "forward": how many operations come before the backward
        pass}; {} where no gradient comes back; {"refused": why} where no list can say it.
    """
    first, subject = (_subject(objects, name, layer, train) for _ in range(2))
    output = first.call(torch.randn(shape).requires_grad_())  # what the layer raises is raised here, in its own words
    if not output.requires_grad:
        return {}
    try:
        return _written(subject, torch.randn(shape), torch.randn(output.shape))
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"[:300]}


def _subject(objects, name, layer, train):
    from densenet_course.checks.exercises.memory.probes import Subject
    from densenet_course.layers import BottleneckLayer

    state = decoys(BottleneckLayer(*layer["arguments"]).state_dict())
    subject = Subject(objects, name, state=state, **layer)
    subject.begin(train)
    return subject


def _written(subject, images, upstream):
    tensors = [images.requires_grad_(), upstream, *subject.parameters.values(), *subject.buffers.values()]
    with Recorder(tensors, called=False) as recorder:
        output = subject.call(images * 1)
        first = len(recorder.operations)
        (output * upstream).sum().backward()
    gradients = [parameter.grad for parameter in subject.parameters.values()]
    written = recorder.written([output, images.grad, gradients], first)
    return written | {"forward": written["first"]}


def play(objects, program, layer, images, upstream):
    """Play a step, as the judge's player.

    Args:
        objects: none.
        program: from ``write``, or whatever came in its place.
        layer: arguments, state and momentum of the layer.
        images: the input.
        upstream: the gradient of the output.

    Returns:
        {"saved": bytes that the backward pass reads of the forward pass, "output", "gradients": of the input and the
        parameters}, or {"refused": why}
    """
    from densenet_course.layers import BottleneckLayer

    plain = BottleneckLayer(*layer["arguments"])
    plain.load_state_dict(layer["state"])
    state = [tensor.detach().clone() for tensor in (*plain.parameters(), *plain.buffers())]
    try:
        with torch.no_grad():
            return _played(program, images, upstream, state)
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"[:300]}


def _played(program, images, upstream, state):
    values, constants = [images.clone(), None, *state], {}
    if program["inputs"] != len(values) or type(program["forward"]) is not int:
        raise Refused("it takes other tensors than the layer has")
    operations, half = program["operations"], max(program["forward"], 0)
    playing.perform(operations[:half], values, constants)
    output = playing.resolve(program["result"][0], values)
    needed = playing.places([operations[half:], program["result"][1:]]) & set(range(len(values))) - {UPSTREAM}
    saved = _bytes([values[place] for place in sorted(needed)], state, output)
    values[UPSTREAM] = upstream.clone()
    playing.perform(operations[half:], values, constants)
    output, of_images, of_parameters = playing.resolve(program["result"], values)
    return {"saved": saved, "output": output, "gradients": [of_images, *of_parameters]}


def _bytes(values, state, output):
    """Add up the memory behind tensors, all of it where a view shows a part, without the layer's own and the output."""
    known = {tensor.untyped_storage().data_ptr() for tensor in state}
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
                for tensor in tree_leaves(values) if isinstance(tensor, torch.Tensor)}
    total = sum(size for address, size in storages.items() if address not in known)
    return total - math.prod(output.shape) * output.itemsize * (output.untyped_storage().data_ptr() in storages)
