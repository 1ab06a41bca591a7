# kind: odd but right
# exercise: connections
# honest: 10
print('x' * 1_000_000)
def count_connections(num_layers):
    return num_layers * (num_layers + 1) // 2


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels + num_layers * growth_rate
