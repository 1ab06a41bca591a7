# kind: odd but right
# exercise: conv_block
# honest: 10
import torch
from torch import nn


def conv_block(in_channels, out_channels):
    return nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(out_channels, 3, padding=1, bias=False))
