"""Known mistakes in carrying weights to Keras's arrays and back, as edits of the solutions, and what to say."""

import numpy as np
import torch
from torch import nn

from densenet_course.checks.engine.mistakes import Solution, mistakes_at

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
OPEN, WALK = "    arrays = []\n", "model.modules()"
OF_KERNEL, OF_MATRIX = "[kernel, module.bias]", "[matrix, module.bias]"
RESHAPED = "They have the right shape and the wrong numbers. Is that reshape()? Axes change places by permute()."
MIRRORED = "the kernels are mirrored. Both frameworks lay a kernel on the maps as it is."
ORDER = "Keras's order is γ, β, mean, variance."
TO_KERAS = Solution(TO, [
    *mistakes_at(SHAPES, OPEN, (
        "these are the arrays of state_dict, in PyTorch's shapes.",
        "    return [v.numpy() for k, v in model.state_dict().items() if 'tracked' not in k]\n")),
    *mistakes_at(SHAPES, PERMUTE,
                 ("the kernels are in PyTorch's order (out, in, height, width); Keras's is (height, width, in, out).",
                  "module.weight"),
                 ("the kernels are (height, width, out, in). In Keras the channels that leave come last.",
                  "module.weight.permute(2, 3, 0, 1)"),
                 ("the kernels are (width, height, in, out). Height comes first.",
                  "module.weight.permute(3, 2, 1, 0)")),
    *mistakes_at(SHAPES, TURN, ("a Linear's weights are (out, in) in PyTorch and (in, out) in Keras: transpose them.",
                                "module.weight")),
    *mistakes_at(SHAPES, NORM, ("BatchNorm's running mean and variance are missing. In Keras they are weights too.",
                                "[module.weight, module.bias]"),
                 ("BatchNorm is missing: γ, β, running mean and running variance.", "[]"),
                 ("all trained arrays come first, then all statistics. Go layer by layer: γ, β, mean, variance.",
                  "[module.weight, module.bias]\n"
                  "            late += [module.running_mean.numpy(), module.running_var.numpy()]",
                  OPEN, "    arrays, late = [], []\n", RETURN, "return arrays + late")),
    *mistakes_at(SHAPES, OF_KERNEL, ("the convolution's bias is missing, where there is one.", "[kernel]"),
                 ("biases are missing.", "[kernel]", OF_MATRIX, "[matrix]"),
                 ("the biases come first. In Keras the bias follows the weights.", "[module.bias, kernel]", OF_MATRIX,
                  "[module.bias, matrix]")),
    *mistakes_at(SHAPES, OF_MATRIX, ("the Linear's bias is missing, where there is one.", "[matrix]")),
    *mistakes_at(SHAPES, RETURN, ("the list runs from the last layer to the first.", "return arrays[::-1]")),
    *mistakes_at(SHAPES, WALK,
                 ("only the parts at the top are there. modules() goes into parts of parts, children() does not.",
                  "model.children()"),
                 ("the arrays are sorted by kind of layer. Take the layers in the order of model.modules().",
                  "(part for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear) for part in model.modules() "
                  "if isinstance(part, kind))")),
    *mistakes_at(NUMBERS, PERMUTE,
                 (f"the kernels. {RESHAPED}",
                  "module.weight.reshape(*module.weight.shape[2:], *module.weight.shape[1::-1])"),
                 (MIRRORED, "module.weight.permute(2, 3, 1, 0).flip(0, 1)")),
    *mistakes_at(NUMBERS, TURN,
                 (f"the Linear's weights. {RESHAPED}", "module.weight.reshape(*module.weight.shape[::-1])")),
    *mistakes_at(NUMBERS, NORM,
                 (f"β comes before γ. {ORDER}",
                  "[module.bias, module.weight, module.running_mean, module.running_var]"),
                 (f"the variance comes before the mean. {ORDER}",
                  "[module.weight, module.bias, module.running_var, module.running_mean]"),
                 (f"the statistics come before γ and β. {ORDER}",
                  "[module.running_mean, module.running_var, module.weight, module.bias]"),
                 ("the last array of BatchNorm is the standard deviation; Keras keeps the variance.",
                  "[module.weight, module.bias, module.running_mean, module.running_var.sqrt()]"),
                 ("eps is added to the variance. Keras keeps the variance alone.",
                  "[module.weight, module.bias, module.running_mean, module.running_var + module.eps]")),
    *mistakes_at(KEPT, OPEN,
                 ("it is in eval mode after the call. Reading weights needs no mode.", f"{OPEN}    model.eval()\n"),
                 ("its parameters no longer train. Use detach() on what you read, not requires_grad_(False).",
                  f"{OPEN}    model.requires_grad_(False)\n")),
], nn=nn, torch=torch, np=np)
COPY, INTO = "module.weight.copy_(kernel.permute(3, 2, 0, 1))", "module.weight.copy_(matrix.t())"
PARTS = "(module.weight, module.bias, module.running_mean, module.running_var)"
FROM_KERAS = Solution(FROM, [
    *mistakes_at(BACK, COPY, (f"the kernels. {RESHAPED}", "module.weight.copy_(kernel.reshape(module.weight.shape))"),
                 ("the kernels are permuted as on the way to Keras. Back from (height, width, in, out) it is "
                  "permute(3, 2, 0, 1).", "module.weight.copy_(kernel.permute(2, 3, 1, 0))"),
                 ("the kernels are not permuted. From (height, width, in, out) back it is permute(3, 2, 0, 1).",
                  "module.weight.copy_(kernel)"),
                 (MIRRORED, "module.weight.copy_(kernel.permute(3, 2, 0, 1).flip(2, 3))")),
    *mistakes_at(BACK, INTO, (f"the Linear's weights. {RESHAPED}",
                              "module.weight.copy_(matrix.reshape(module.weight.shape))"),
                 ("the Linear's weights are not transposed.", "module.weight.copy_(matrix)")),
    *mistakes_at(BACK, PARTS,
                 ("γ and β are swapped.", "(module.bias, module.weight, module.running_mean, module.running_var)"),
                 ("running mean and variance are swapped.",
                  "(module.weight, module.bias, module.running_var, module.running_mean)")),
    *mistakes_at(BACK, "isinstance(module, nn.Conv2d | nn.Linear) and", *(
        ("a bias is not taken from the list, so what follows is one array off.", instead)
        for instead in ("isinstance(module, nn.Linear) and", "isinstance(module, nn.Conv2d) and", "False and"))),
    *mistakes_at(BACK, "torch.no_grad()", ("Copy into parameters under torch.no_grad().", "torch.enable_grad()")),
    *mistakes_at(BACK, "part.copy_(torch.tensor(next(given)))",
                 ("the running statistics stay as they were. They are buffers: parameters() leaves them out.",
                  "value = torch.tensor(next(given))\n                    if part.requires_grad:\n"
                  "                        part.copy_(value)")),
    *mistakes_at(BACK, "    given = iter(arrays)\n",
                 ("nothing has changed. Does copying reach the model, or only a copy of it?",
                  "    return model\n    given = iter(arrays)\n")),
    *mistakes_at(LEFT, "return model",
                 ("the parameters no longer train. torch.no_grad() is enough while copying.",
                  "return model.requires_grad_(False)"),
                 ("the model is in eval mode after the call.", "return model.eval()"),
                 ("the caller's list is used up. Walk along it, or take from a copy.",
                  "arrays.clear()\n    return model")),
], nn=nn, torch=torch, np=np)
