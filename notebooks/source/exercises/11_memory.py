# %% [markdown]
# # Exercise 11 · Recompute to save memory
#
# *Hard · 35 minutes · after lessons [09](../09_memory_and_speed.ipynb) and [02](../02_conv_block.ipynb) · 10 points*
#
# **Task.** Write `CheckpointedLayer(layer)`, an `nn.Module` around a `BottleneckLayer` of the package. Outputs and
# gradients stay the same, in train and eval mode. Whenever the input needs gradients, fewer bytes are saved for the
# backward pass, which computes the layer again. BatchNorm's running statistics and `num_batches_tracked` still move
# once per training step. PyTorch's `checkpoint` may be used; the package's efficient blocks are refused.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_course.checks import check, finish
from densenet_course.layers import BottleneckLayer

# %% [markdown]
# ## Example
#
# `layer = BottleneckLayer(16, 4)` in train mode, and one training step with an input of shape (2, 16, 8, 8) that needs
# gradients:
#
# | | `layer` | `CheckpointedLayer(layer)` |
# |---|---|---|
# | output | (2, 4, 8, 8) | the same values |
# | tensors of shape (2, 16, 8, 8) saved for the backward pass | 4 | 1, the input |
# | `layer.norm1.num_batches_tracked` after the step | 1 | 1 |
#
# The parts of `layer` are `norm1`, `relu1`, `conv1`, `norm2`, `relu2`, `conv2`. The layer itself, not a copy, is a part
# of your module. After a step its settings are what they were.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "memory-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class CheckpointedLayer(nn.Module):
    """(N, C, H, W) → (N, k, H, W), as the layer does"""

    def __init__(self, layer: BottleneckLayer):
        super().__init__()
        ### BEGIN SOLUTION
        self.inner = layer
        ### END SOLUTION

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        norms = [part for part in self.inner.modules() if isinstance(part, nn.BatchNorm2d)]

        @contextmanager
        def statistics_kept():
            before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
            for norm in norms:
                norm.momentum = 0.0  # the batch's statistics are used, and nothing of them is remembered
            try:
                yield
            finally:  # recomputing ends by an exception as soon as it has made what the backward pass needs
                for norm, (momentum, count) in zip(norms, before, strict=True):
                    norm.momentum = momentum
                    norm.num_batches_tracked.copy_(count)

        return checkpoint(
            self.inner, x, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics_kept())
        )
        ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "memory-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("memory", CheckpointedLayer)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# `torch.utils.checkpoint` saves the input and runs the layer twice. Most of what happens twice does no harm. What in
# this layer remembers that it ran?
# </details>
# <details><summary>A hint</summary>
#
# BatchNorm must use the batch's mean in both passes, or the gradients are wrong; it must remember it in one. How far it
# moves is its `momentum`, and the counter is a separate thing. The second pass must save as many tensors as the first,
# so BatchNorm keeps its mode and its buffers in it. It may stop half-way by an exception, so what you change for its
# sake is put back in a `finally`.
# </details>
# <details><summary>Where to look</summary>
#
# PyTorch's documentation of `torch.utils.checkpoint`, the arguments `use_reentrant` and `context_fn`. How BatchNorm
# remembers: [lesson 02](../02_conv_block.ipynb), section "Training mode and evaluation mode", the cell that prints
# `norm.running_mean`. What goes wrong, and a repair from outside: [lesson 09](../09_memory_and_speed.ipynb), "The trap".
# </details>

# %% [markdown]
# ## To think about
#
# Dropout in the layer would draw other random numbers in the second pass. What would that do to the gradients, and what
# must be saved to prevent it?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "memory-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("memory", CheckpointedLayer)
