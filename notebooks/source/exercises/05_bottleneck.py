# %% [markdown]
# # Exercise 5 · The bottleneck layer
#
# *Medium · 20 minutes · after [lesson 05](../05_bottleneck.ipynb) · 10 points*
#
# **Task.** Write `BottleneckLayer`: BN → ReLU → 1×1 convolution to `bottleneck_factor`·k channels → BN → ReLU → 3×3
# convolution with padding 1 to k channels. No biases; BatchNorm as PyTorch makes it. It returns the k new maps only, and
# each call builds new layers. Then write `layer_cost`: the multiply-adds of its two convolutions for one image. k is
# `growth_rate`. The lesson's cell, word for word, earns nothing for the layer: write it from memory and in another form,
# for instance as two halves, or as a class whose `forward` calls `torch.nn.functional`.

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

# %% [markdown]
# ## Example
#
# | call | input | output |
# |---|---|---|
# | `BottleneckLayer(3, 10)` | (2, 3, 8, 8) | (2, 10, 8, 8) |
# | `BottleneckLayer(240, 12, bottleneck_factor=2)` | (1, 240, 5, 9) | (1, 12, 5, 9) |
#
# | call | returns |
# |---|---|
# | `layer_cost(3, 10, 8, 8)` | 238,080 |
# | `layer_cost(240, 12, 32, 32)` | 17,104,896 |
#
# `BottleneckLayer(3, 10)` has 3,806 parameters: 2·3 + 3·40 before the waist, 2·40 + 9·40·10 after it.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "bottleneck-answer-BottleneckLayer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class BottleneckLayer(nn.Module):
    """(N, in_channels, H, W) → (N, growth_rate, H, W)"""

    def __init__(self, in_channels: int, growth_rate: int, bottleneck_factor: int = 4):
        super().__init__()
        ### BEGIN SOLUTION
        width = bottleneck_factor * growth_rate
        self.narrow = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, width, kernel_size=1, bias=False),  # (N, 4k, H, W)
        )
        self.new_maps = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, growth_rate, kernel_size=3, padding=1, bias=False),  # (N, k, H, W)
        )
        ### END SOLUTION

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        return self.new_maps(self.narrow(maps))
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "bottleneck-answer-layer_cost", "locked": false, "schema_version": 3, "solution": true, "task": false}
def layer_cost(in_channels: int, growth_rate: int, height: int, width: int, bottleneck_factor: int = 4) -> int:
    """Multiply-adds of both convolutions for one image of height × width."""
    ### BEGIN SOLUTION
    waist = bottleneck_factor * growth_rate
    return height * width * (in_channels * waist + 9 * waist * growth_rate)
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "bottleneck-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("bottleneck", BottleneckLayer, layer_cost)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# The layer is two convolutions, each with BN and ReLU in front. Which number of channels does each BatchNorm see?
# </details>
# <details><summary>A hint</summary>
#
# First write the waist's width, `bottleneck_factor * growth_rate`. It appears three times in the layer. For the cost,
# count the weights of each convolution. Every weight works once for each pixel of the output.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 05](../05_bottleneck.ipynb), section "Two convolutions instead of one", the cell that defines
# `BottleneckLayer`; and "Counting both layers" for the formula.
# </details>

# %% [markdown]
# ## To think about
#
# The waist holds 4k maps, and the block keeps only k of them after the 3×3. Backward needs the waist too. What does
# that mean for memory in training, next to a plain layer?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "bottleneck-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("bottleneck", BottleneckLayer, layer_cost)
