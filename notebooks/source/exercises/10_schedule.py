# %% [markdown]
# # Exercise 10 · One-cycle learning rate
#
# *Easy · 10 minutes · after [lesson 07](../07_train_fashion_mnist.ipynb) · 10 points*
#
# **Task.** Write `learning_rate(step, total_steps, peak, warmup=0.25)`. It rises on a straight line from 0 at step 0 to
# `peak` at `warmup · total_steps`, and falls on a straight line to 0 at `total_steps`. The peak may lie between two
# steps: do not round it. `step` is a whole number from 0 to `total_steps`, and 0 < `warmup` < 1. Write it yourself: the
# package's `one_cycle` is refused.

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
# Ten steps, peak 0.6, a quarter of warm-up. The peak is at 2.5, between steps 2 and 3.
#
# | step | 0 | 1 | 2 | 3 | 4 | 7 | 10 |
# |---|---|---|---|---|---|---|---|
# | `learning_rate(step, 10, 0.6)` | 0 | 0.24 | 0.48 | 0.56 | 0.48 | 0.24 | 0 |
#
# With `warmup=0.4` the peak is a step: `learning_rate(4, 10, 0.6, 0.4)` is 0.6.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "schedule-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learning_rate(step: int, total_steps: int, peak: float, warmup: float = 0.25) -> float:
    """Return the rate at a step; warmup is a share of total_steps."""
    ### BEGIN SOLUTION
    peak_step = warmup * total_steps
    if step < peak_step:
        return peak * step / peak_step
    return peak * (total_steps - step) / (total_steps - peak_step)
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "schedule-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("schedule", learning_rate)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Two straight lines meet at the peak. At a given step, which of the two holds, and what share of it is behind you?
# </details>
# <details><summary>A hint</summary>
#
# Call the peak's place p. The rise takes p steps, the fall takes the rest, and both are shares of `peak`. Count the
# fall from its end: how many steps are left, out of how many?
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 07](../07_train_fashion_mnist.ipynb), section "Learning rate", the picture of the schedules and the cell that
# prints their values at three steps.
# </details>

# %% [markdown]
# ## To think about
#
# A training of 10 updates uses the rates of steps 0 to 9. Which update changes no weight, and what is the highest rate
# that is ever used? How much does either matter with 1,000 updates?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "schedule-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("schedule", learning_rate)
