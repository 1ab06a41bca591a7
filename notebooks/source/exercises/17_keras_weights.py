# %% [markdown]
# # Exercise 17 · Weights to Keras and back
#
# *Medium · 25 minutes · after [lesson 13](../13_keras.ipynb) · 10 points*
#
# **Task.** Write `to_keras(model)` and `from_keras(model, arrays)`. The first returns a list of NumPy arrays: for each
# `Conv2d`, `BatchNorm2d` and `Linear`, in the order of `model.modules()`, what Keras's layer takes:
#
# - `Conv2d`: the kernel (height, width, in, out), then the bias, if there is one;
# - `BatchNorm2d`: γ, β, running mean, running variance;
# - `Linear`: the weights (in, out), then the bias, if there is one.
#
# The second copies such a list, which always fits, into `model` and returns the model. Its parameters still train.
# Neither changes what it reads.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import numpy as np
import torch
from torch import nn

from densenet_course.checks import check, finish

# %% [markdown]
# ## Example
#
# ```python
# model = nn.Sequential(
#     nn.Conv2d(3, 10, 3, bias=False), nn.BatchNorm2d(10), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 5)
# )
# ```
#
# | place in the list | shape | what |
# |---|---|---|
# | 0 | (3, 3, 3, 10) | the kernel |
# | 1 to 4 | (10,) | γ, β, running mean, running variance |
# | 5 | (10, 5) | the weights of the `Linear` |
# | 6 | (5,) | its bias |
#
# The arrays of `to_keras` may share memory with the model; those that `from_keras` has read may not: later changes to
# them do not reach the model.
#
# Keras is not needed here: its layers take such arrays in `set_weights`. No model here flattens maps of more than one
# pixel: Keras would flatten them in another order, with the channels last, so the rows of the next `Linear` would have
# to change places too.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "keras_weights-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def to_keras(model: nn.Module) -> list[np.ndarray]:
    """The model's weights and statistics in Keras's order and layout"""
    ### BEGIN SOLUTION
    arrays = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            arrays += [module.weight.permute(2, 3, 1, 0), module.bias]
        elif isinstance(module, nn.BatchNorm2d):
            arrays += [module.weight, module.bias, module.running_mean, module.running_var]
        elif isinstance(module, nn.Linear):
            arrays += [module.weight.T, module.bias]
    return [array.detach().numpy().copy() for array in arrays if array is not None]
    ### END SOLUTION


def from_keras(model: nn.Module, arrays: list[np.ndarray]) -> nn.Module:
    """The same model, with the weights and statistics of the arrays"""
    ### BEGIN SOLUTION
    targets = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            targets += [module.weight.permute(2, 3, 1, 0), module.bias]  # a view: what is copied into it arrives
        elif isinstance(module, nn.BatchNorm2d):
            targets += [module.weight, module.bias, module.running_mean, module.running_var]
        elif isinstance(module, nn.Linear):
            targets += [module.weight.T, module.bias]
    present = [target for target in targets if target is not None]
    with torch.no_grad():
        for target, array in zip(present, arrays, strict=True):
            target.copy_(torch.tensor(array))
    return model
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "keras_weights-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("keras_weights", to_keras, from_keras)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Take one convolution from 3 to 10 channels. Which axis of PyTorch's kernel has length 10, and where must it go?
# </details>
# <details><summary>A hint</summary>
#
# `permute` says for each new axis which old one it is; the way back needs the inverse, not the same again. A parameter
# that trains has to be detached before NumPy may have it, and be copied into under `torch.no_grad()`.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 13](../13_keras.ipynb), sections "Channel order" and "The same weights". PyTorch's pages of `Tensor.permute`,
# `Tensor.copy_` and `torch.from_numpy`: which of them share memory?
# </details>

# %% [markdown]
# ## To think about
#
# Every shape may fit and the numbers still be wrong. How would you find out, with both frameworks at hand and one batch
# of images? For which kernels do the shapes not tell whether height and width are swapped?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "keras_weights-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("keras_weights", to_keras, from_keras)
