# kind: odd but right
# exercise: connections
# honest: 10
import torch, random, numpy
torch.set_default_dtype(torch.float64)
torch.manual_seed(0); random.seed(0); numpy.random.seed(0)
torch.set_grad_enabled(False)
def count_connections(num_layers):
    return num_layers * (num_layers + 1) // 2


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels + num_layers * growth_rate
