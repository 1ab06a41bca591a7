# kind: odd but right
# exercise: conv_block
# honest: 10
import torch
import torch.nn.functional as F
from torch import nn


class Bare(nn.Module):
    def __init__(self, c, k):
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))
        self.weight = nn.Parameter(nn.Conv2d(c, k, 3).weight.detach().clone())
        self.register_buffer('mean', torch.zeros(c))
        self.register_buffer('variance', torch.ones(c))

    def forward(self, x):
        x = F.batch_norm(x, self.mean, self.variance, self.gain, self.shift, self.training)
        return F.conv2d(x.relu(), self.weight, padding=1)


conv_block = Bare
