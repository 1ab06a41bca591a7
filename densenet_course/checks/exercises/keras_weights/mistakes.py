"""Known mistakes in carrying weights to Keras's arrays and back, as edits of the solutions, and what to say."""

import numpy as np
import torch
from torch import nn

from densenet_course.checks.engine.mistakes import Mistake, Solution

SHAPES, NUMBERS, KEPT = "to_keras: shapes", "to_keras: numbers", "to_keras: the model"
BACK, LEFT = "from_keras: numbers", "from_keras: model and arrays"
TO = """
def to_keras(model):
    arrays = []
    for module in model.modules():
        parts = []
        if isinstance(module, nn.Conv2d):
            kernel = module.weight.permute(2, 3, 1, 0)
            parts = [kernel, module.bias]
        elif isinstance(module, nn.BatchNorm2d):
            parts = [module.weight, module.bias, module.running_mean, module.running_var]
        elif isinstance(module, nn.Linear):
            matrix = module.weight.t()
            parts = [matrix, module.bias]
        arrays += [part.detach().numpy().copy() for part in parts if part is not None]
    return arrays
"""
FROM = """
def from_keras(model, arrays):
    given = iter(arrays)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                kernel = torch.tensor(next(given))
                module.weight.copy_(kernel.permute(3, 2, 0, 1))
            elif isinstance(module, nn.BatchNorm2d):
                for part in (module.weight, module.bias, module.running_mean, module.running_var):
                    part.copy_(torch.tensor(next(given)))
            elif isinstance(module, nn.Linear):
                matrix = torch.tensor(next(given))
                module.weight.copy_(matrix.t())
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.copy_(torch.tensor(next(given)))
    return model
"""
PERMUTE, TURN, NORM, RETURN = (
    "module.weight.permute(2, 3, 1, 0)", "module.weight.t()",
    "[module.weight, module.bias, module.running_mean, module.running_var]", "return arrays",
)
OPEN = "    arrays = []\n"
RESHAPED = "They have the right shape and the wrong numbers. Is that reshape()? Axes change places by permute()."
TO_KERAS = Solution(TO, [
    Mistake(SHAPES, "these are the arrays of state_dict, in PyTorch's shapes.", OPEN,
            "    return [v.numpy() for k, v in model.state_dict().items() if 'tracked' not in k]\n"),
    Mistake(SHAPES, "the kernels are in PyTorch's order (out, in, height, width); Keras's is (height, width, in, out).",
            PERMUTE, "module.weight"),
    Mistake(SHAPES, "the kernels are (height, width, out, in). In Keras the channels that leave come last.", PERMUTE,
            "module.weight.permute(2, 3, 0, 1)"),
    Mistake(SHAPES, "the kernels are (width, height, in, out). Height comes first.", PERMUTE,
            "module.weight.permute(3, 2, 1, 0)"),
    Mistake(SHAPES, "a Linear's weights are (out, in) in PyTorch and (in, out) in Keras: transpose them.", TURN,
            "module.weight"),
    Mistake(SHAPES, "BatchNorm's running mean and variance are missing. In Keras they are weights too.", NORM,
            "[module.weight, module.bias]"),
    Mistake(SHAPES, "BatchNorm is missing: γ, β, running mean and running variance.", NORM, "[]"),
    Mistake(SHAPES, "the convolution's bias is missing, where there is one.", "[kernel, module.bias]", "[kernel]"),
    Mistake(SHAPES, "the Linear's bias is missing, where there is one.", "[matrix, module.bias]", "[matrix]"),
    Mistake(SHAPES, "biases are missing.", "[kernel, module.bias]", "[kernel]", "[matrix, module.bias]", "[matrix]"),
    Mistake(SHAPES, "all trained arrays come first, then all statistics. Go layer by layer: γ, β, mean, variance.",
            OPEN, "    arrays, late = [], []\n", NORM,
            "[module.weight, module.bias]\n"
            "            late += [module.running_mean.numpy(), module.running_var.numpy()]",
            RETURN, "return arrays + late"),
    Mistake(SHAPES, "the list runs from the last layer to the first.", RETURN, "return arrays[::-1]"),
    Mistake(SHAPES, "only the parts at the top are there. modules() goes into parts of parts, children() does not.",
            "model.modules()", "model.children()"),
    Mistake(NUMBERS, f"the kernels. {RESHAPED}", PERMUTE,
            "module.weight.reshape(*module.weight.shape[2:], *module.weight.shape[1::-1])"),
    Mistake(NUMBERS, f"the Linear's weights. {RESHAPED}", TURN, "module.weight.reshape(*module.weight.shape[::-1])"),
    Mistake(NUMBERS, "the kernels are mirrored. Both frameworks lay a kernel on the maps as it is.", PERMUTE,
            "module.weight.permute(2, 3, 1, 0).flip(0, 1)"),
    Mistake(NUMBERS, "β comes before γ. Keras's order is γ, β, mean, variance.", NORM,
            "[module.bias, module.weight, module.running_mean, module.running_var]"),
    Mistake(NUMBERS, "the variance comes before the mean. Keras's order is γ, β, mean, variance.", NORM,
            "[module.weight, module.bias, module.running_var, module.running_mean]"),
    Mistake(NUMBERS, "the statistics come before γ and β. Keras's order is γ, β, mean, variance.", NORM,
            "[module.running_mean, module.running_var, module.weight, module.bias]"),
    Mistake(NUMBERS, "the last array of BatchNorm is the standard deviation; Keras keeps the variance.", NORM,
            "[module.weight, module.bias, module.running_mean, module.running_var.sqrt()]"),
    Mistake(KEPT, "it is in eval mode after the call. Reading weights needs no mode.", OPEN,
            "    arrays = []\n    model.eval()\n"),
    Mistake(KEPT, "its parameters no longer train. Use detach() on what you read, not requires_grad_(False).", OPEN,
            "    arrays = []\n    model.requires_grad_(False)\n"),
], nn=nn, torch=torch, np=np)
COPY, INTO = "module.weight.copy_(kernel.permute(3, 2, 0, 1))", "module.weight.copy_(matrix.t())"
FROM_KERAS = Solution(FROM, [
    Mistake(BACK, f"the kernels. {RESHAPED}", COPY, "module.weight.copy_(kernel.reshape(module.weight.shape))"),
    Mistake(BACK, "the kernels are permuted as on the way to Keras. Back from (height, width, in, out) it is "
                  "permute(3, 2, 0, 1).", COPY, "module.weight.copy_(kernel.permute(2, 3, 1, 0))"),
    Mistake(BACK, "the kernels are not permuted. From (height, width, in, out) back it is permute(3, 2, 0, 1).", COPY,
            "module.weight.copy_(kernel)"),
    Mistake(BACK, f"the Linear's weights. {RESHAPED}", INTO,
            "module.weight.copy_(matrix.reshape(module.weight.shape))"),
    Mistake(BACK, "the Linear's weights are not transposed.", INTO, "module.weight.copy_(matrix)"),
    Mistake(BACK, "the kernels are mirrored. Both frameworks lay a kernel on the maps as it is.", COPY,
            "module.weight.copy_(kernel.permute(3, 2, 0, 1).flip(2, 3))"),
    Mistake(BACK, "γ and β are swapped.", "(module.weight, module.bias, module.running_mean, module.running_var)",
            "(module.bias, module.weight, module.running_mean, module.running_var)"),
    Mistake(BACK, "running mean and variance are swapped.",
            "(module.weight, module.bias, module.running_mean, module.running_var)",
            "(module.weight, module.bias, module.running_var, module.running_mean)"),
    Mistake(BACK, "the running statistics stay as they were. They are buffers: parameters() leaves them out.",
            "part.copy_(torch.tensor(next(given)))",
            "value = torch.tensor(next(given))\n                    if part.requires_grad:\n"
            "                        part.copy_(value)"),
    Mistake(BACK, "nothing has changed. Does copying reach the model, or only a copy of it?",
            "    given = iter(arrays)\n", "    return model\n    given = iter(arrays)\n"),
    Mistake(LEFT, "the parameters no longer train. torch.no_grad() is enough while copying.", "return model",
            "return model.requires_grad_(False)"),
    Mistake(LEFT, "the model is in eval mode after the call.", "return model", "return model.eval()"),
    Mistake(LEFT, "the caller's list is used up. Walk along it, or take from a copy.", "return model",
            "arrays.clear()\n    return model"),
    Mistake(LEFT, "model and arrays share memory: what happens to the arrays later happens to the model. "
                  "torch.from_numpy does not copy.", COPY,
            "module.weight.data = torch.from_numpy(arrays[[a.shape for a in arrays].index(tuple(kernel.shape))])"
            ".permute(3, 2, 0, 1)"),
], nn=nn, torch=torch, np=np)
