# kind: the reference
# exercise: dense_block
# honest: 0
import torch
from torch import nn
from densenet_course.layers import conv_block


class DenseBlock(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate, layer=conv_block):
        super().__init__()
        for i in range(num_layers):
            self.add_module(f"denselayer{i + 1}", layer(in_channels + i * growth_rate, growth_rate))

    def forward(self, features):
        for layer in self.children():
            new_maps = layer(features)
            features = torch.cat([features, new_maps], dim=1)
        return features
