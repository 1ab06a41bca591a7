# %% [markdown]
# # Exercise 15 · Capstone: a DenseNet under a budget
#
# *Hard · 60 minutes · after [lesson 14](../14_capstone.ipynb) · 10 points*
#
# **Task.** Design a DenseNet for FashionMNIST. `build_model()` returns it fresh: images (N, 1, 28, 28) to logits
# (N, 10), with at most 100,000 parameters. Some layer must read the maps of several earlier layers, concatenated along
# the channels; a ResNet's sums do not count. The judge trains the network for as long as 600 steps of lesson 07's class
# network take, then counts its hits among 5,000 held-back test images. Accuracies of 86 %, 87 % and 88 % earn two
# points each. You may use this course's package.

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
from densenet_course.checks.leaderboard import enter
from densenet_course.config import DenseNetConfig
from densenet_course.models import DenseNet

# %% [markdown]
# ## Example
#
# `class_densenet()` of lesson 07 is over the budget. It and some relatives, for one 28×28 image:
#
# | `block_layers` | `growth_rate` | `init_channels` | `stem` | parameters | multiply-adds |
# |---|---|---|---|---|---|
# | (2, 4, 4) | 16 | 32 | "class" | 141,130 | 8,307,424 |
# | (6, 6, 6) | 8 | 16 | "class" | 79,562 | 6,046,256 |
# | (1, 2, 3) | 12 | 24 | "class" | 42,826 | 2,258,652 |
# | (1, 2, 3) | 12 | 24 | "cifar" | 42,826 | 9,296,850 |
#
# All have `in_channels=1, num_classes=10`, which `DenseNetConfig` must be told.
#
# The rules of the judge:
#
# - Training is lesson 07's: SGD with Nesterov momentum, one cycle up to rate 0.2, 128 images a step, random flips. It
#   runs on the CPU in one thread. What `build_model()` does itself counts as training time.
# - The class network trains beside yours, a step now and then, and is timed. Your time is counted in its steps, the
#   *reference steps*, so a slow or busy machine matters little. After 180,000 images the training ends even if time is
#   left.
# - All numbers that the network holds count as parameters, frozen ones and buffers too. Only BatchNorm's statistics are
#   free.
# - Each call of `build_model()` makes new layers with fresh start values: no trained or stored weights, and no seed set
#   inside.
# - Without the full data set the judge uses the sample in the package, and asks for 60 %, 75 % and 80 % of its 1,000
#   test images.
#
# **If your class grades this,** the network is trained outside your notebook. The grader records the PyTorch operations
# that `forward` calls, and plays them again. What cannot be recorded passes here, but earns a point at most there:
#
# - a random draw that an `if` in Python tests. Write `torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)`, not
#   `if torch.rand(1) < 0.5: x = x.flip(3)`. Layers that draw themselves, like `nn.Dropout`, are fine. So are loops over
#   layers, `if self.training` and tests of shapes;
# - a number read from a tensor (`.item()`, `float(…)`, `bool(…)`) in an `if`, an index or a size. In an `assert` it
#   is fine;
# - what `forward` stores in an attribute and uses in the next call. Use a registered buffer;
# - a constant of more than 4,096 numbers, that is, a tensor that is neither a parameter nor a buffer and is not computed
#   from the images;
# - TorchScript, `vmap`, recurrent layers, `fractional_max_pool2d` and complex numbers.
#
# The backward pass is PyTorch's own there, even where an autograd function of yours brings another. The package's
# `efficient=True` is fine: its gradients are the same. Random start values are drawn anew there, normally distributed,
# with each tensor's mean and spread. All other numbers and the record together may take 2,000 bytes when compressed;
# above that the network earns a point at most, too. Constants and formulas fit in, large tables do not.

# %% [markdown]
# ## Your answer
#
# Write the network from the package's parts, or all by yourself. The check takes a minute or two.

# %% nbgrader={"grade": false, "grade_id": "capstone-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def build_model() -> nn.Module:
    """A fresh network: images (N, 1, 28, 28) → logits (N, 10)"""
    ### BEGIN SOLUTION
    return DenseNet(DenseNetConfig(
        block_layers=(2, 4, 4),
        growth_rate=12,
        init_channels=24,
        num_classes=10,
        in_channels=1,
        stem="class",  # halves height and width at once, so that a step costs a quarter
    ))
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "capstone-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("capstone", build_model)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Two budgets bind at once. Which of your choices cost parameters, and which cost only time? A step that takes half as
# long lets the network see twice as many images, up to the 180,000.
# </details>
# <details><summary>A hint</summary>
#
# Count before you train: `sum(p.numel() for p in model.parameters())`, and your own buffers. Of a configuration
# `densenet_course.accounting.multiply_adds(config, 28)` tells the work for one image. Parameters grow with the
# square of the widths, whatever the size of the maps. Time goes where the maps are still large.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 14](../14_capstone.ipynb). What a knob costs: section "The designer's question". What it buys: "One knob at a
# time". Where the time goes: "What do seconds follow?". The judge: "The budget".
# </details>

# %% [markdown]
# ## The leaderboard
#
# Write your name instead of `...` to enter what the judge has just measured; left as it is, the cell enters nothing. The file `leaderboard.json` keeps the best
# result of each name. Your class merges its files with `densenet-course leaderboard FILE …`, and gets a table and a
# picture of accuracy against parameters.

# %%
enter(...)  # for instance enter("Ada")

# %% [markdown]
# ## To think about
#
# The judge draws another 5,000 of the 10,000 test images each time. What is the standard error of an accuracy of 88 %
# then? Two networks on the board differ by 0.4 points: which is the better one? And each name keeps the best of its
# attempts: is the board too high, or too low?

# %% [markdown]
# ## Score
#
# This cell judges anew, which takes as long again: another training, other start values, other held-back images.

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "capstone-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("capstone", build_model)
