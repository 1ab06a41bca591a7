# kind: odd but right
# exercise: conv_block
# honest: 10
import torch
from torch import nn


def conv_block(in_channels, out_channels):
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False))


torch.set_default_dtype(torch.float64)
torch.set_num_threads(2)
