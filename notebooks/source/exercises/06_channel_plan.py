# %% [markdown]
# # Exercise 6 · Follow the channels
#
# *Easy · 10 minutes · after [lesson 06](../06_small_densenet.ipynb) · 10 points*
#
# **Task.** Write `channel_plan(block_layers, growth_rate, init_channels, compression=0.5)`: a list of the channels
# after the stem, then after every block and every transition, in order. A transition leaves ⌊θ·C⌋ of C channels, θ is
# `compression`; the last block has none. `block_layers` is any sequence, and stays as it was. Write it yourself: the
# package's `channel_plan` is refused.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from collections.abc import Sequence

from densenet_course.checks import check, finish

# %% [markdown]
# ## Example
#
# Three blocks of 2, 3 and 1 layers, growth rate 10, and 5 channels after the stem:
# `channel_plan((2, 3, 1), 10, 5)` is `[5, 25, 12, 42, 21, 31]`.
#
# | after | channels |
# |---|---|
# | stem | 5 |
# | block 1 | 5 + 2·10 = 25 |
# | transition 1 | ⌊½·25⌋ = 12 |
# | block 2 | 12 + 3·10 = 42 |
# | transition 2 | ⌊½·42⌋ = 21 |
# | block 3 | 21 + 1·10 = 31 |

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "channel_plan-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def channel_plan(
    block_layers: Sequence[int], growth_rate: int, init_channels: int, compression: float = 0.5
) -> list[int]:
    """List the channels after stem, block 1, transition 1, block 2, …, last block: 2 · len(block_layers) numbers."""
    ### BEGIN SOLUTION
    plan = [init_channels]
    for number, num_layers in enumerate(block_layers):
        if number > 0:
            plan.append(int(compression * plan[-1]))
        plan.append(plan[-1] + num_layers * growth_rate)
    return plan
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "channel_plan-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("channel_plan", channel_plan)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Each number follows from the one before it. Which of the two rules comes next, and where does the list end?
# </details>
# <details><summary>A hint</summary>
#
# The last number of the list so far is all you need to remember; a block after a transition starts from the compressed
# number. With B blocks there are B − 1 transitions. `round` is not ⌊ ⌋: it takes 25.5 up.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 06](../06_small_densenet.ipynb), section "The arithmetic, in the open", the cell that prints `plan`; and
# [lesson 04](../04_transition.ipynb), section "Channels along the whole network".
# </details>

# %% [markdown]
# ## To think about
#
# Repeat a block of L layers with growth rate k and a transition with θ = ½ without end. Towards which number do the
# channels after the transition go? Does the stem matter in the end?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "channel_plan-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("channel_plan", channel_plan)
