# %% [markdown]
# # Exercise 12 · The output of any layer
#
# *Medium · 25 minutes · after [lesson 10](../10_what_the_layers_learn.ipynb) · 10 points*
#
# **Task.** Write `extract_features(model, images, layers)`. `layers` lists names of modules in torchvision's DenseNet.
# Return a dict: each name with that module's own output in eval mode, before a later in-place operation changes it.
# Afterwards every module has its mode back, and nothing of yours stays on the network, even after an error: no hook, no
# replaced `forward`, no other `requires_grad`. An unknown name raises `KeyError`, `ValueError` or PyTorch's own
# `AttributeError`. The package's parts may be used.

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
# `torchvision.models.densenet121()` and images of shape (2, 3, 64, 64):
#
# | name | shape of its output | negative values |
# |---|---|---|
# | `"features.conv0"` | (2, 64, 32, 32) | yes |
# | `"features.norm0"` | (2, 64, 32, 32) | yes: the ReLU after it is another module |
# | `"features.denseblock1.denselayer2.conv1"` | (2, 128, 16, 16) | yes |
# | `"features"` | (2, 1024, 2, 2) | yes: the ReLU comes after it |
# | `"classifier"` | (2, 1000) | yes |
#
# - Some modules were in train mode, some in eval mode: each is in its own mode again.
# - A hook that the caller had put on a module still works.
# - A name that comes twice gives one entry.
# - `"denseblock1"` is unknown; its name is `"features.denseblock1"`.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "features-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def extract_features(model: nn.Module, images: torch.Tensor, layers: list[str]) -> dict[str, torch.Tensor]:
    """images (N, 3, H, W) → {name: that module's output, in the module's own shape}"""
    ### BEGIN SOLUTION
    modules = dict(model.named_modules())
    chosen = {name: modules[name] for name in layers}  # a name that comes twice needs one hook
    modes = [(module, module.training) for module in modules.values()]
    features, handles = {}, []

    def hook_for(name):
        def hook(module, inputs, output):
            features[name] = output.clone()  # DenseNet's next ReLU may write over it

        return hook

    try:
        for name, module in chosen.items():
            handles.append(module.register_forward_hook(hook_for(name)))
        model.eval()
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    return features
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "features-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("features", extract_features)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# A module calls each of its *forward hooks* with (module, inputs, output). What do you have to remember to undo all
# you did? And what shares the memory of `output`?
# </details>
# <details><summary>A hint</summary>
#
# A ReLU with `inplace=True` writes into the tensor that BatchNorm returned, so keep a copy. `model.train(mode)` sets
# *every* module inside. What must happen even after an error belongs into `finally`.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 10](../10_what_the_layers_learn.ipynb), section "Break it": the in-place ReLU that writes over what a hook
# kept. [Lesson 08](../08_densenet121.ipynb), section "torchvision's own layout": the cell that prints the children, for
# the names. [Lesson 02](../02_conv_block.ipynb), section "Training mode and evaluation mode". PyTorch's page of
# `torch.nn.Module`: `named_modules` and `register_forward_hook`, which returns a handle with `remove()`.
# </details>

# %% [markdown]
# ## To think about
#
# A layer of a DenseNet reads all maps before it. Is the output of `features.denseblock1.denselayer2` all that the next
# layer sees? Which module's output would you take to ask what the network knows after two layers?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "features-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("features", extract_features)
