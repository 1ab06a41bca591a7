# %% [markdown]
# # Exercise 9 · Train and evaluate
#
# *Medium · 20 minutes · after [lesson 07](../07_train_fashion_mnist.ipynb) · 10 points*
#
# **Task.** Write `train_one_epoch(model, batches, optimizer)`: in train mode, one update per batch by the
# cross-entropy of the logits, whatever `.grad` held before. Return the mean over images of the losses before each
# update. Write `evaluate(model, batches)`: the accuracy as a fraction, in eval mode, without recording gradients. It
# leaves the model as it was: every module's mode, `requires_grad` and `.grad` too. Write both yourself: the package's
# loops are refused.

# %% tags=["remove-cell"]
import sys

if "google.colab" in sys.modules:  # everywhere else the course is installed already
    import subprocess

    course = "git+https://github.com/densenet-course/densenet-course@v0.1.0"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*command, "d2l==1.0.3", course], check=True)

# %%
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.checks import check, finish

# %% [markdown]
# ## Example
#
# `batches` is any iterable of (images, labels), perhaps a generator: it can be gone through once, and has no length.
# The last batch may be smaller.
#
# | batch | images | loss before its update | hits |
# |---|---|---|---|
# | 1 | 4 | 1.0 | 3 |
# | 2 | 4 | 2.0 | 1 |
# | 3 | 2 | 4.0 | 2 |
#
# With these losses `train_one_epoch` returns (4·1 + 4·2 + 2·4) / 10 = 2.0. With these hits `evaluate` returns
# 6 / 10 = 0.6. A model in train mode is in train mode again afterwards; one in eval mode stays in eval mode; and a
# part whose mode differs, such as a BatchNorm that is held in eval mode, gets its own mode back.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "train_epoch-answer-train_one_epoch", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_one_epoch(model: nn.Module, batches: Iterable, optimizer: torch.optim.Optimizer) -> float:
    """Batches are pairs of images (N, C, H, W) and labels (N,); the model gives logits (N, classes)."""
    ### BEGIN SOLUTION
    model.train()
    loss_sum, count = 0.0, 0
    for images, labels in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        count += len(labels)
    return loss_sum / count
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "train_epoch-answer-evaluate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def evaluate(model: nn.Module, batches: Iterable) -> float:
    """The share of images whose largest logit stands at the label, 0 … 1."""
    ### BEGIN SOLUTION
    modes = {part: part.training for part in model.modules()}
    model.eval()
    hits, count = 0, 0
    with torch.no_grad():
        for images, labels in batches:
            hits += (model(images).argmax(1) == labels).sum().item()
            count += len(labels)
    for part, mode in modes.items():
        part.training = mode
    return hits / count
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "train_epoch-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("train_epoch", train_one_epoch, evaluate)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# A training step has five lines. Which of them forgets, which measures, which moves? And which switch of the model
# tells BatchNorm whose mean to use?
# </details>
# <details><summary>A hint</summary>
#
# A batch's loss is a mean over its images already, so a batch of 2 must not weigh as much as a batch of 4: count images
# as they come. Before you change the modes, remember what they were, for every part: `model.modules()`.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 07](../07_train_fashion_mnist.ipynb), section "One training step in the open", the cell with the five lines;
# and section "Break it", where `eval()` is forgotten.
# </details>

# %% [markdown]
# ## To think about
#
# After an epoch you have the loss that `train_one_epoch` returned, and can measure the loss on the same images again.
# Which is larger, as a rule, and what are the two reasons?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "train_epoch-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("train_epoch", train_one_epoch, evaluate)
