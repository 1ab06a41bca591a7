# %% [markdown]
# # Exercise 1 · Count links and channels
#
# *Easy · 10 minutes · after [lesson 01](../01_why_dense_connections.ipynb) · 10 points*
#
# **Task.** In a dense block every layer reads the block's input and the maps of all earlier layers.
# `count_connections(num_layers)` counts these links; where the output goes is not counted. Each layer adds
# `growth_rate` maps: `channels_after(in_channels, num_layers, growth_rate)` counts the channels that leave the block.
# Both return an `int`. Write them yourself: the package's counts are refused. A block of `densenet_course.layers` may be
# asked.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from densenet_course.checks import check, finish

# %% [markdown]
# ## Example
#
# A block of three layers. An arrow `0 → 2` means that layer 2 reads the maps of 0; 0 is the block's input.
#
# | layer | incoming links | how many |
# |---|---|---|
# | 1 | 0 → 1 | 1 |
# | 2 | 0 → 2, 1 → 2 | 2 |
# | 3 | 0 → 3, 1 → 3, 2 → 3 | 3 |
#
# So `count_connections(3)` is 6. With 3 channels in and two layers of growth rate 10, `channels_after(3, 2, 10)` is 23.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "connections-answer-count_connections", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_connections(num_layers: int) -> int:
    """Count the links of a dense block of num_layers layers, 1 or more."""
    ### BEGIN SOLUTION
    return num_layers * (num_layers + 1) // 2
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "connections-answer-channels_after", "locked": false, "schema_version": 3, "solution": true, "task": false}
def channels_after(in_channels: int, num_layers: int, growth_rate: int) -> int:
    """Count the channels of what leaves the block: (N, in_channels, H, W) → (N, this number, H, W)"""
    ### BEGIN SOLUTION
    return in_channels + num_layers * growth_rate
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "connections-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("connections", count_connections, channels_after)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Go layer by layer. What does layer 1 read, and what does one more layer add to both counts?
# </details>
# <details><summary>A hint</summary>
#
# The incoming links of the layers are 1, 2, 3, … Their sum has a closed formula, but adding them up is right too. The
# new maps are joined to the old ones, so the channels grow by the same number with every layer.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 01](../01_why_dense_connections.ipynb), section "Count the links", the cell that counts the pairs; and
# section "Three stacks to measure", the sentence before the cell that defines `run_stack`.
# </details>

# %% [markdown]
# ## To think about
#
# Twice as many layers: by what factor do the links grow, and by what factor the new channels? Which of the two makes
# deep blocks expensive?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "connections-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("connections", count_connections, channels_after)
