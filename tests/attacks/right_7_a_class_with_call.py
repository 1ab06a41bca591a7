# kind: odd but right
# exercise: connections
# honest: 10
class Count:
    def __call__(self, num_layers):
        return sum(range(num_layers + 1))


count_connections = Count()
channels_after = lambda in_channels, num_layers, growth_rate: in_channels + num_layers * growth_rate
