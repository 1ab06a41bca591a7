# %% [markdown]
# # Exercise 13 · A new classifier on frozen features
#
# *Medium · 25 minutes · after [lesson 11](../11_transfer_learning.ipynb) · 10 points*
#
# **Task.** Write `prepare_for_transfer(model, num_classes)` for a DenseNet of torchvision or of this course. It returns
# the network with one new `Linear` classifier, with bias; new even for the same number of classes. All else is frozen.
# BatchNorm neither updates nor uses the batch's statistics, even in train mode. `model.training` still follows
# `train()` and `eval()`. The package's parts may be used.

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
# `model = prepare_for_transfer(torchvision.models.densenet121(), 10)`, and images of shape (2, 3, 64, 64):
#
# | | before | after |
# |---|---|---|
# | parameters | 7,978,856 | 6,964,106 |
# | trained | 7,978,856 | 10,250 = 1024·10 + 10 |
# | shape of the logits | (2, 1000) | (2, 10) |
# | same logits in train and eval mode | no | yes |
# | `model.train().training`, `model.eval().training` | `True`, `False` | `True`, `False` |
#
# You may change the given network or return another one that holds its weights.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "transfer-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prepare_for_transfer(model: nn.Module, num_classes: int) -> nn.Module:
    """A network from images (N, 3, H, W) to logits (N, num_classes); only its classifier is trained."""
    ### BEGIN SOLUTION
    model.requires_grad_(False)
    model.classifier = nn.Linear(model.classifier.in_features, num_classes)  # fresh, so not frozen
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, norm=module: norm  # a later model.train() changes nothing here
    return model
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "transfer-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("transfer", prepare_for_transfer)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# BatchNorm holds two kinds of numbers: some move by gradients, some move whenever a batch passes. Which of them does
# `requires_grad` stop?
# </details>
# <details><summary>A hint</summary>
#
# Every training loop calls `model.train()`, and that call reaches every module inside. So `eval()` once does not last.
# Something has to answer each later `train()`. The order matters too: what you make after freezing is not frozen.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 11](../11_transfer_learning.ipynb), section "The other half of freezing". [Lesson
# 02](../02_conv_block.ipynb), section "Training mode and evaluation mode", the cells with `block.train()` and
# `block.eval()`. [Lesson 08](../08_densenet121.ipynb), section "torchvision's own layout", for what `features` leaves
# out. PyTorch's page of `torch.nn.Module`: what `train` does and returns.
# </details>

# %% [markdown]
# ## To think about
#
# The new task has only 100 images, in other colours than ImageNet's. The running means now fit the new images badly.
# What would you gain if BatchNorm updated them, and what would you risk?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "transfer-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("transfer", prepare_for_transfer)
