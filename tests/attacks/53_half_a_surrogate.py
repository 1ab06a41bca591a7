# kind: messages
# exercise: connections
# honest: 1
def count_connections(num_layers):
    return num_layers * num_layers


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels


def count_connections(n):
    raise ValueError('\ud800' * 10)
print('\udcff'.encode('utf-8', 'surrogatepass'))
