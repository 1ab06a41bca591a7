# %% [markdown]
# # Exercise 2 · The composite function
#
# *Easy · 10 minutes · after [lesson 02](../02_conv_block.ipynb) · 10 points*
#
# **Task.** Write `conv_block(in_channels, out_channels)`. It returns an `nn.Module`: batch normalisation, then ReLU,
# then a 3×3 convolution with zero padding 1 and no bias. Height and width stay as they are. BatchNorm is as PyTorch
# makes it by default. Each call builds new layers, with PyTorch's own start values. The lesson's cell, word for word,
# does not count here: write it from memory and in another form, for instance as a `Sequential` without names.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from torch import nn

from densenet_course.checks import check, finish

# %% [markdown]
# ## Example
#
# | call | input | output |
# |---|---|---|
# | `conv_block(3, 10)` | (2, 3, 8, 8) | (2, 10, 8, 8) |
# | `conv_block(16, 4)` | (1, 16, 5, 9) | (1, 4, 5, 9) |
#
# `conv_block(3, 10)` has 276 parameters: 2·3 in BatchNorm and 9·3·10 in the convolution.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "conv_block-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conv_block(in_channels: int, out_channels: int) -> nn.Module:
    """(N, in_channels, H, W) → (N, out_channels, H, W)"""
    ### BEGIN SOLUTION
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
    )
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "conv_block-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("conv_block", conv_block)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Three parts, one after the other. Which order did lesson 02 find, and which of the three knows both numbers of
# channels?
# </details>
# <details><summary>A hint</summary>
#
# BatchNorm stands first, so it sees the *input's* channels. A 3×3 kernel loses one pixel on each side unless
# something is put there. A bias in front of the next BatchNorm would be subtracted again.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 02](../02_conv_block.ipynb), section "Three steps", the cell that defines `conv_block`.
# </details>

# %% [markdown]
# ## To think about
#
# Put the same three parts in the order convolution, BN, ReLU. Which of the two forms lets the maps of *earlier* layers
# reach a later layer without passing a ReLU first? Why does that matter when the maps are joined?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "conv_block-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("conv_block", conv_block)
