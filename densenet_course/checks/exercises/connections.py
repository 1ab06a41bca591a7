"""Exercise connections: the links inside a dense block, and the channels that leave it."""

from densenet_course import accounting
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.kinds.functions import expect_values

EXERCISE = Exercise(
    "connections", names=["count_connections", "channels_after"], title="Count links and channels",
    lesson="01_why_dense_connections", given=["densenet_course.layers"],
)

LINKS = (
    (lambda n: n * (n - 1) // 2, "Are the links from the block's input missing? Every layer reads it too."),
    (lambda n: (n + 1) * (n + 2) // 2, "This is one reader too many. Where the block's output goes is not counted."),
    (lambda n: n * (n + 1), "This is twice the number of links. Is every link counted from both ends?"),
    (lambda n: n, "This is one link per layer, as in a plain chain. Layer 2 has two incoming links, layer 3 three."),
    (lambda n: n + 1, "This is a plain chain with its input and output. Layer 2 has two incoming links."),
    (lambda n: n * n, "This is L·L. A layer reads only what comes before it; in a formula, put L + 1 in brackets."),
    (lambda n: n * n + 0.5, "This is L·L + 1/2. Put L + 1 in brackets."),
    (lambda n: n * n + 1, "This is L·L + 1. Put L + 1 in brackets, and halve."),
    (lambda n: (n * n + 1) / 2, "This is (L·L + 1)/2. Put L + 1 in brackets."),
    (lambda n: (n * n + 1) // 2, "This is (L·L + 1)/2. Put L + 1 in brackets."),
    (lambda n: n + (n + 1) / 2, "This is L + (L + 1)/2; expected a product."),
    (lambda n: n * ((n + 1) // 2), "The half is cut off too early, so even L are wrong. Multiply first, then divide."),
    (lambda n: n // 2 * (n + 1), "The half is cut off too early, so odd L are wrong. Multiply first, then divide."),
    (lambda n: 2**n - 1, "This doubles with each layer. One more layer adds only its own incoming links."),
)

CHANNELS = (
    (lambda c, n, k: n * k, "Did you return only the new maps? The input's maps leave the block too."),
    (lambda c, n, k: c + k, "This is one layer's gain. Each of the layers adds growth_rate maps."),
    (lambda c, n, k: c + (n - 1) * k, "This is what the last layer reads. It adds its own maps too."),
    (lambda c, n, k: c + (n + 1) * k, "This counts one layer too many."),
    (lambda c, n, k: (c + k) * n, "Is there a bracket too many? Only growth_rate is multiplied by num_layers."),
    (lambda c, n, k: c + n, "Each layer adds growth_rate maps, not one."),
    (lambda c, n, k: c + n + k, "num_layers and growth_rate are added; expected their product."),
    (lambda c, n, k: k, "This is what one layer makes. In a dense block the maps are joined, not replaced."),
    (lambda c, n, k: c, "These are the input's channels. A sum keeps their number (ResNet); joining adds to it."),
    (lambda c, n, k: max(c, k), "In a dense block the maps are joined; their numbers add up."),
    (lambda c, n, k: c + 4 * n * k, "4·growth_rate is the width inside a bottleneck; growth_rate maps leave it."),
    (lambda c, n, k: c + k * n * (n + 1) // 2, "A layer makes growth_rate maps once, not once for every link."),
    (lambda c, n, k: c * n * k, "The maps are joined: the numbers of channels add up."),
    (lambda c, n, k: c * 2**n, "Each layer adds growth_rate maps; it does not double them."),
    (lambda c, n, k: n + c * k, "Are the arguments mixed up? The first is in_channels, the second num_layers."),
    (lambda c, n, k: k + c * n, "Are the arguments mixed up? The first is in_channels, the last growth_rate."),
)


def channels(in_channels, num_layers, growth_rate):
    """Take the oracle's count with positional arguments."""
    return accounting.channels_after(in_channels, num_layers=num_layers, growth_rate=growth_rate)


def as_sum(num_layers):
    """Write the links layer by layer."""
    terms = [str(reads) for reads in range(1, num_layers + 1)]
    return f"= {' + '.join(terms if num_layers <= 6 else ['1', '…', terms[-1]])}"


def bookkeeping(in_channels, num_layers, growth_rate):
    """Write the channels as the lessons do."""
    return f"= {in_channels} + {num_layers}·{growth_rate}"


@EXERCISE.finding("links", points=3, of="count_connections")
def links(answer, draw):
    """Small blocks, even and odd."""
    cases = [(n,) for n in (5, 4, 1, 2, 3, *sorted(draw.sample(6, 12, 2)))]
    expect_values(answer, "count_connections", cases, accounting.connections, because=as_sum, suspects=LINKS)


@EXERCISE.finding("links of deep blocks", points=2, of="count_connections")
def links_of_deep_blocks(answer, draw):
    """Fresh sizes, even and odd."""
    halves = draw.sample(10, 60, 4)
    cases = [(2 * half + i % 2,) for i, half in enumerate(halves)]
    expect_values(answer, "count_connections", cases, accounting.connections, because=as_sum, suspects=LINKS)


def sizes(draw):
    """Draw in_channels, num_layers ≥ 2 and growth_rate, different from each other."""
    in_channels, growth_rate = draw.sample(13, 64, 2)
    return in_channels, draw.integer(3, 12), growth_rate


@EXERCISE.finding("channels", points=3, of="channels_after")
def channels_of_blocks(answer, draw):
    """Several layers."""
    cases = [sizes(draw) for _ in range(4)]
    expect_values(answer, "channels_after", cases, channels, because=bookkeeping, suspects=CHANNELS)


@EXERCISE.finding("channels of one layer", points=1, of="channels_after")
def channels_of_one_layer(answer, draw):
    """One layer only."""
    cases = [(in_channels, 1, growth_rate) for in_channels, _, growth_rate in (sizes(draw), sizes(draw))]
    expect_values(answer, "channels_after", cases, channels, because=bookkeeping, suspects=CHANNELS,
                  context=[sizes(draw) for _ in range(3)])


@EXERCISE.finding("whole numbers", points=1)
def whole_numbers(answer, draw):
    """The type only."""
    for name, arguments in (("count_connections", [draw.integer(3, 30)]), ("channels_after", list(sizes(draw)))):
        answer.ask(probes.call, name=name, arguments=arguments, result="int")
