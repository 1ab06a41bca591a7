# %% [markdown]
# # Exercise 7 · A whole DenseNet
#
# *Hard · 40 minutes · after [lesson 06](../06_small_densenet.ipynb) · 10 points*
#
# **Task.** Write `DenseNet`, a DenseNet-BC for small square images. The stem is a bare 3×3 convolution to
# `init_channels`: stride 1, padding 1, no bias. Then blocks of bottleneck layers (factor 4), with transitions between
# them that keep ⌊`compression`·C⌋ channels. Then BN → ReLU → global average → linear layer with bias. It returns
# logits. Each network has new parts with fresh start values, and sets no seed. The package's parts may be used, its
# whole networks are refused.

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
from densenet_course.layers import BottleneckLayer, DenseBlock, transition  # use them, or parts of your own

# %% [markdown]
# ## Example
#
# | call | channels | input | output |
# |---|---|---|---|
# | `DenseNet((2, 3), 4, 8, 10)` | 8 → 16 → 8 → 20 | (2, 1, 6, 6) | (2, 10) |
# | `DenseNet((3,), 4, 8, 5, in_channels=3)` | 8 → 20 | (2, 3, 7, 7) | (2, 5) |
# | `DenseNet((1, 1, 1), 6, 10, 7, compression=0.75)` | 10 → 16 → 12 → 18 → 13 → 19 | (4, 1, 8, 8) | (4, 7) |
#
# The numbers are block_layers, growth_rate, init_channels and num_classes. `DenseNet((16, 16, 16), 12, 24, 10, 3)` is
# the paper's network for CIFAR-10 with L = 100 and k = 12. It has 769,162 parameters.

# %% [markdown]
# ## Your answer

# %% nbgrader={"grade": false, "grade_id": "densenet-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class DenseNet(nn.Module):
    """(N, in_channels, H, W) → (N, num_classes), for any H = W that the transitions can halve"""

    def __init__(
        self, block_layers: tuple[int, ...], growth_rate: int, init_channels: int, num_classes: int,
        in_channels: int = 1, compression: float = 0.5,
    ):
        super().__init__()
        ### BEGIN SOLUTION
        parts = [nn.Conv2d(in_channels, init_channels, kernel_size=3, padding=1, bias=False)]  # (N, k0, H, W)
        channels = init_channels
        for i, num_layers in enumerate(block_layers):
            if i > 0:  # between two blocks
                parts.append(transition(channels, compression))  # (N, ⌊θ·C⌋, H/2, W/2)
                channels = int(compression * channels)
            parts.append(DenseBlock(num_layers, channels, growth_rate, layer=BottleneckLayer))  # (N, C + L·k, H, W)
            channels += num_layers * growth_rate
        self.features = nn.Sequential(*parts, nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, num_classes)
        ### END SOLUTION

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        ### BEGIN SOLUTION
        maps = self.features(images)  # (N, C, H', W')
        return self.classifier(maps.mean(dim=(2, 3)))  # (N, num_classes)
        ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "densenet-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("densenet", DenseNet)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Keep one number, `channels`, and walk through the network. Two kinds of parts change it. What does each do to it?
# </details>
# <details><summary>A hint</summary>
#
# Start with `channels = init_channels`. A block adds its layers times k. A transition leaves `int(compression *
# channels)`, and stands before every block but the first. Whatever is left goes to the last BatchNorm and to the
# classifier. Averaging over height and width lets any image size pass.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 06](../06_small_densenet.ipynb), section "The network", the cell that defines `LazyDenseNet`; its section "The
# arithmetic, in the open" follows the channels. [Lesson 05](../05_bottleneck.ipynb), section "Four names", for -BC.
# </details>

# %% [markdown]
# ## To think about
#
# The network has 99 convolutions and one linear layer. Where are the 99, if each block has 16 layers? What would L be
# without bottlenecks?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "densenet-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("densenet", DenseNet)
