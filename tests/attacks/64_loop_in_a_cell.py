# kind: ends and hangs
# exercise: connections
# honest: 1
def count_connections(num_layers):
    return num_layers * num_layers


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels


while True:
    pass
