# kind: odd but right
# exercise: connections
# honest: 10
import threading, warnings
warnings.simplefilter('error')
thread = threading.Thread(target=print, args=('beside',))
thread.start(); thread.join()
import torch
from torch.utils.data import DataLoader
print(len(list(DataLoader(list(range(8)), num_workers=1))))
def count_connections(num_layers):
    return num_layers * (num_layers + 1) // 2


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels + num_layers * growth_rate
