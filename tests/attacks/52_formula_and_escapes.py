# kind: messages
# exercise: connections
# honest: 1
def count_connections(num_layers):
    return num_layers * num_layers


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels


def count_connections(n):
    raise ValueError('=cmd|calc!A1 \x1b[31m \u202e \x00 @SUM(1)')
