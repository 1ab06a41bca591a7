# %% [markdown]
# # Exercise 8 · DenseNet-121
#
# *Hard · 40 minutes · after [lesson 08](../08_densenet121.ipynb) · 10 points*
#
# **Task.** Write `densenet121(num_classes=1000)`, for RGB images, from the parts of `torch.nn`. With torchvision's
# weights it gives torchvision's logits, in eval and in train mode. The check copies parameters and buffers in order of
# registration, so make the parts in the order in which the forward uses them. Each call makes new parts with fresh start
# values. Networks and layers of torchvision or of this course are refused.

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
# | part | channels, for 64×64 pixels | parameters |
# |---|---|---|
# | 7×7 convolution, stride 2, padding 3; BN; ReLU; 3×3 max pooling, stride 2, padding 1 | 64 × 16 × 16 | 9,536 |
# | 6 bottleneck layers, k = 32 | 256 × 16 × 16 | 335,040 |
# | transition, θ = ½ | 128 × 8 × 8 | 33,280 |
# | 12 layers | 512 × 8 × 8 | 919,680 |
# | transition | 256 × 4 × 4 | 132,096 |
# | 24 layers | 1024 × 4 × 4 | 2,837,760 |
# | transition | 512 × 2 × 2 | 526,336 |
# | 16 layers | 1024 × 2 × 2 | 2,158,080 |
# | BN → ReLU → global average → linear layer | 1000 | 1,027,048 |
# | together | | 7,978,856 |

# %% [markdown]
# ## Your answer
#
# First the helpers, if you want some: functions or classes of your own.

# %% nbgrader={"grade": false, "grade_id": "densenet121-answer-helpers", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
def norm_relu_conv(in_channels, out_channels, **options):
    return nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, out_channels, bias=False, **options)


class JoinedLayer(nn.Module):
    """A bottleneck layer that joins its new maps to what it read."""

    def __init__(self, channels):
        super().__init__()
        waist = norm_relu_conv(channels, 128, kernel_size=1)
        self.layer = nn.Sequential(*waist, *norm_relu_conv(128, 32, kernel_size=3, padding=1))

    def forward(self, maps):
        return torch.cat([maps, self.layer(maps)], dim=1)  # (N, C + 32, H, W)
### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "densenet121-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def densenet121(num_classes: int = 1000) -> nn.Module:
    """The network takes (N, 3, H, W) and returns logits (N, num_classes)."""
    ### BEGIN SOLUTION
    channels = 64
    parts = [
        nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False),  # (N, 64, H/2, W/2)
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),  # (N, 64, H/4, W/4)
    ]
    for i, num_layers in enumerate((6, 12, 24, 16)):
        if i > 0:  # between two blocks
            parts += [*norm_relu_conv(channels, channels // 2, kernel_size=1), nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(num_layers):
            parts.append(JoinedLayer(channels))
            channels += 32
    parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]  # (N, 1024)
    return nn.Sequential(*parts, nn.Linear(channels, num_classes))
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"grade": false, "grade_id": "densenet121-check", "locked": true, "schema_version": 3, "solution": false, "task": false}
check("densenet121", densenet121)

# %% [markdown]
# <details><summary>A nudge</summary>
#
# Three small helpers make a short program: one layer, one block, one transition. Which of them needs to know its number
# of input channels, and who tells it?
# </details>
# <details><summary>A hint</summary>
#
# Count the parameters of each part and hold them against the table above: a slip shows in one line. Within a layer make
# BN, 1×1, BN, 3×3 in this order. If the count is right and the logits are not, look at what has no weights: pooling,
# padding, ReLU, and the order in `torch.cat`.
# </details>
# <details><summary>Where to look</summary>
#
# [Lesson 08](../08_densenet121.ipynb), section "The network", the cell that defines `DenseNet`; and "Break it: what
# counting cannot see". [Lesson 05](../05_bottleneck.ipynb), section "Two convolutions instead of one".
# </details>

# %% [markdown]
# ## To think about
#
# The keys of torchvision's `state_dict` begin with `features.denseblock1.denselayer1.norm1`; yours may begin with
# anything. How would you load a file of pretrained weights into your network all the same? What could go wrong unseen?

# %% [markdown]
# ## Score

# %% tags=["nbval-check-output"] nbgrader={"grade": true, "grade_id": "densenet121-score", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
finish("densenet121", densenet121)
