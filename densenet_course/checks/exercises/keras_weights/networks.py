"""The small networks whose weights are carried, and the probes that carry them."""

import numpy as np
import torch
from torch import nn

from densenet_course.checks.engine.answer import AnswerError, probe
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.checks.engine.plain import kind_of


def network(channels, width, classes):
    """Build a network with each kind of layer that counts, and some that do not; kernels are not square.

    Args:
        channels: of its images.
        width: of its first convolution, which has a bias.
        classes: outputs.
    """
    body = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width + 3, (1, 2), bias=False))
    return nn.Sequential(
        nn.Conv2d(channels, width, (3, 2)), body, nn.BatchNorm2d(width + 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width + 3, classes), nn.Linear(classes, 2, bias=False),
    )


def _loaded(sizes, values):
    model = network(*sizes)
    model.load_state_dict(values)
    return model.train()


def _state(model):
    return {key: value.detach().clone() for key, value in model.state_dict().items() if "tracked" not in key}


def _about(model):
    """Tell what must be as before the call, whatever its weights are."""
    return {"trained": [parameter.requires_grad for parameter in model.parameters()],
            "modes": [module.training for module in model.modules()]}


@probe
def carry(objects, name, sizes, values):
    """Ask for a network's arrays.

    Args:
        objects: the learner's objects.
        name: of the function.
        sizes: see ``network``.
        values: the network's state, key → tensor.

    Returns:
        {"arrays": the arrays as tensors, "state": the network's state after the call, and what ``_about`` tells}
    """
    model = _loaded(sizes, values)
    arrays = objects[name](model)
    if not isinstance(arrays, list | tuple):
        raise AnswerError("", "a list of NumPy arrays", kind_of(arrays), returned_nothing(arrays))
    other = next((array for array in arrays if not isinstance(array, np.ndarray)), None)
    if other is not None:
        cause = ("A tensor becomes one by .detach().numpy()." if isinstance(other, torch.Tensor) else
                 "All arrays stand in one list, one after the other.")
        raise AnswerError("", "a list of NumPy arrays", f"{kind_of(other)} in it", cause)
    kinds = {str(array.dtype) for array in arrays} - {"float32"}
    if kinds:
        cause = "BatchNorm's num_batches_tracked has no place in Keras." if kinds == {"int64"} else ""
        raise AnswerError("", "arrays of float32", ", ".join(sorted(kinds)), cause)
    return {"arrays": [torch.tensor(array) for array in arrays], "state": _state(model), **_about(model)}


@probe
def bring_back(objects, name, sizes, values, arrays):
    """Ask for arrays to be put into a network.

    Args:
        objects: the learner's objects.
        name: of the function.
        sizes: see ``network``.
        values: the network's state before, key → tensor.
        arrays: what is to be put into it, as tensors.

    Returns:
        {"state": after the call, "later": after the caller's arrays were overwritten, "shapes": of the caller's list
        after the call, "left": whether its numbers are as before, and what ``_about`` tells}
    """
    model, given = _loaded(sizes, values), [np.array(array) for array in arrays]
    mine = list(given)
    result = objects[name](model, given)
    if not isinstance(result, nn.Module):
        raise AnswerError("", "the model", kind_of(result), returned_nothing(result))
    if result is not model:
        raise AnswerError("", "the model that was given", "another one", "Copy into the model itself, and return it.")
    reply = {"state": _state(model), "shapes": [tuple(array.shape) for array in given], **_about(model),
             "left": all(np.array_equal(array, before) for array, before in zip(mine, arrays, strict=True))}
    for array in mine:
        array += 1
    return reply | {"later": _state(model)}
