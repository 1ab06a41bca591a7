# kind: bytes that lie
# exercise: memory
# honest: 3.5
import itertools
import torch
from torch import nn


names = map("{}.pt".format, itertools.count())


class CheckpointedLayer(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        def pack(tensor):
            torch.save(tensor.detach(), name := next(names))
            return name

        with torch.autograd.graph.saved_tensors_hooks(pack, torch.load):
            return self.layer(x)
