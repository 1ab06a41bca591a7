# kind: values that lie
# exercise: connections
# honest: 1
def count_connections(num_layers):
    return num_layers * num_layers


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels


seen = {}
_old = count_connections
def count_connections(num_layers):
    seen[num_layers] = seen.get(num_layers, 0) + 1
    return _old(num_layers) + seen[num_layers]
