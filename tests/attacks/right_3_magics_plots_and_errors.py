# kind: odd but right
# exercise: connections
# honest: 10
get_ipython().run_line_magic('matplotlib', 'inline')
import matplotlib.pyplot as plt
_ = plt.plot([1, 2])
plt.show()
def count_connections(num_layers):
    return num_layers * (num_layers + 1) // 2


def channels_after(in_channels, num_layers, growth_rate):
    return in_channels + num_layers * growth_rate


try:
    input('name? ')
except Exception as error:
    print(type(error).__name__)
from densenet_course.checks import check, finish
check('connections', count_connections, channels_after)
finish('connections', count_connections, channels_after)
raise ValueError('a cell that fails at its end')
