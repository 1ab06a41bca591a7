# %% [markdown]
# # Exercise 16 · A block that joins once
#
# *Medium · 25 minutes · after [lesson 12](../12_relatives.ipynb) · 10 points*
#
# **Task.** Write `OneShotBlock(num_layers, in_channels, growth_rate)`, an `nn.Module`: the idea of VoVNet (2019). It
# runs `num_layers` conv blocks (BN → ReLU → 3×3 convolution, padding 1, no bias) in a chain. The first reads the input,
# each later one only the maps of the one before; each makes `growth_rate` maps. The output is joined once, at the end:
# the input first, then the maps of all layers in order. Each block has its own new layers, with PyTorch's default
# initial weights. Do not import the package's block; write your own.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
import torch
from torch import nn

from densenet_course.checks import check, finish
from densenet_course.layers import conv_block

# %% [markdown]
# ## Example
#
# | call | input | output |
# |---|---|---|
# | `OneShotBlock(2, 3, 10)` | (2, 3, 8, 8) | (2, 23, 8, 8), because 23 = 3 + 2·10 |
# | `OneShotBlock(4, 16, 12)` | (1, 16, 5, 9) | (1, 64, 5, 9) |
#
# These are a dense block's shapes. But in `OneShotBlock(2, 3, 10)` layer 2 reads 10 channels, not 13: the block has
# 276 + 920 = 1,196 parameters. `conv_block` is imported above; your own will do as well.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "one_shot-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class OneShotBlock(nn.Module):
    """(N, in_channels, H, W) → (N, in_channels + num_layers·growth_rate, H, W)"""

    def __init__(self, num_layers: int, in_channels: int, growth_rate: int):
        super().__init__()
        ### BEGIN SOLUTION
        widths = [in_channels, *[growth_rate] * (num_layers - 1)]
        self.chain = nn.ModuleList(conv_block(width, growth_rate) for width in widths)
        ### END SOLUTION

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        made = [features]
        for layer in self.chain:
            made.append(layer(made[-1]))  # (N, k, H, W)
        return torch.cat(made, dim=1)
        ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "one_shot-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("one_shot", OneShotBlock)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Draw three layers and their arrows, once for a dense block and once for this one. Where does each arrow start?
# </details>
# <details><summary>A hint</summary>
#
# Only the first layer sees `in_channels` channels; what do the others see? In `forward`, two things are needed at each
# step: the newest maps, to read from, and all maps so far, to be joined after the loop.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 12](../12_relatives.ipynb), section "One shot". [Lesson 03](../03_dense_block.ipynb), section "The class", for
# the block that joins in each step.
# </details>

# %% [markdown]
# ## To think about
#
# For 4 layers, 64 channels and k = 16, what does each layer read here, and what in a dense block? How does the number
# of weights grow with the number of layers, here and there? And what can layer 4 no longer see directly?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "one_shot-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("one_shot", OneShotBlock)
