# %% [markdown]
# # Exercise 3 · The dense block
#
# *Medium · 15 minutes · after [lesson 03](../03_dense_block.ipynb) · 10 points*
#
# **Task.** Write `DenseBlock(num_layers, in_channels, growth_rate)`, an `nn.Module`. It runs `num_layers` conv blocks
# (BN → ReLU → 3×3 convolution). Each reads the input and all maps made before it, and makes `growth_rate` new maps. The
# output holds the input first, then the new maps in the order in which they were made. Each call builds new layers, with
# PyTorch's own start values. The lesson's cell, word for word, does not count here: write it from memory and in another
# form, for instance with a list of maps that is joined anew for each layer.

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

from densenet_course.checks import check, compare, finish
from densenet_course.layers import conv_block

# %% [markdown]
# ## Example
#
# | call | input | output |
# |---|---|---|
# | `DenseBlock(2, 3, 10)` | (2, 3, 8, 8) | (2, 23, 8, 8), because 23 = 3 + 2·10 |
# | `DenseBlock(4, 16, 12)` | (1, 16, 5, 9) | (1, 64, 5, 9) |
#
# In `DenseBlock(2, 3, 10)` layer 1 reads 3 channels and layer 2 reads 13. It has 276 + 1,196 = 1,472 parameters.
# The first 3 channels that leave are the input itself. `conv_block` is imported above; your own will do as well.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "dense_block-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class DenseBlock(nn.Module):
    """(N, in_channels, H, W) → (N, in_channels + num_layers·growth_rate, H, W)"""

    def __init__(self, num_layers: int, in_channels: int, growth_rate: int):
        super().__init__()
        ### BEGIN SOLUTION
        self.layers = nn.ModuleList(
            conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers)
        )
        ### END SOLUTION

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)  # (N, C + k, H, W), then (N, C + 2k, H, W), …
        return features
        ### END SOLUTION


# %% [markdown]
# The picture shows who reads whose maps in `DenseBlock(4, 3, 10)`. It is measured: one source is changed, all others
# are held.

# %% nbgrader={"grade": false, "grade_id": "dense_block-picture", "locked": true, "schema_version": 3, "solution": false, "task": false}
compare("dense_block", DenseBlock)

# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "dense_block-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("dense_block", DenseBlock)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Write the first two layers down by hand: what does each read, and what is there afterwards? The third line looks like
# the second.
# </details>
# <details><summary>A hint</summary>
#
# In `__init__`, layer number i, counted from 0, finds `in_channels + i * growth_rate` channels. Keep the layers where
# PyTorch can find their parameters. In `forward`, nothing may outlive the call, and maps are joined along the channels.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 03](../03_dense_block.ipynb), section "The class", the cell that defines `DenseBlock`; and "Break it" for three
# slips and their symptoms.
# </details>

# %% [markdown]
# ## To think about
#
# The loop joins everything anew for each layer. How often is the input copied in a block of 6 layers? How could a block
# store each map only once, and what would each layer need to know then?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "dense_block-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("dense_block", DenseBlock)
