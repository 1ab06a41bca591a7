# %% [markdown]
# # Exercise 4 · The transition
#
# *Easy · 10 minutes · after [lesson 04](../04_transition.ipynb) · 10 points*
#
# **Task.** Write `transition(in_channels, compression=0.5)`. It returns an `nn.Module`: batch normalisation, ReLU, a 1×1
# convolution without bias to ⌊θ·C⌋ channels, and 2×2 average pooling with stride 2. θ is `compression`, C is
# `in_channels`, and ⌊ ⌋ rounds down. An odd height or width loses its last row or column. Each call builds new layers,
# with PyTorch's own start values. The lesson's cell, word for word, does not count here: write it from memory and in
# another form, for instance as a `Sequential` without names.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from torch import nn

from densenet_course.checks import check, compare, finish

# %% [markdown]
# ## Example
#
# | call | input | output |
# |---|---|---|
# | `transition(23)` | (2, 23, 8, 8) | (2, 11, 4, 4), because 23·½ = 11.5 |
# | `transition(12, 0.75)` | (1, 12, 7, 7) | (1, 9, 3, 3) |
# | `transition(9, 1)` | (2, 9, 6, 4) | (2, 9, 3, 2) |
#
# `transition(23)` has 299 parameters: 2·23 in BatchNorm and 23·11 in the convolution.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "transition-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def transition(in_channels: int, compression: float = 0.5) -> nn.Module:
    """(N, in_channels, H, W) → (N, ⌊compression·in_channels⌋, ⌊H/2⌋, ⌊W/2⌋)"""
    ### BEGIN SOLUTION
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, int(compression * in_channels), kernel_size=1, bias=False),
        nn.AvgPool2d(kernel_size=2, stride=2),
    )
    ### END SOLUTION


# %% [markdown]
# The picture shows three calls. A bar is longer with more channels, and taller with a taller map.

# %% nbgrader={"grade": false, "grade_id": "transition-picture", "locked": true, "schema_version": 3, "solution": false, "task": false}
compare("transition", transition)

# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "transition-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("transition", transition)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Four parts, one after the other. Which one changes the channels, and which one height and width?
# </details>
# <details><summary>A hint</summary>
#
# BatchNorm stands first, so it sees all channels of the input. A convolution needs whole numbers of channels: θ·C is
# cut off, not rounded. The usual pooling layer of PyTorch rounds down by itself.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 04](../04_transition.ipynb), section "The step between two blocks", the cell that defines `transition`; and
# "What the pooling does" for 7 → 3.
# </details>

# %% [markdown]
# ## To think about
#
# Pooling may stand before the 1×1 convolution, and the output is the same. May it stand before the ReLU? Try two pixels,
# 1 and −1, by hand.

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "transition-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("transition", transition)
