"""Read what ``benchmarks/design_space.py`` measured: the trained networks, their noise, and one knob at a time."""

import math
import statistics
from dataclasses import dataclass
from itertools import combinations

KNOBS = ("growth_rate", "block_layers", "compression")


@dataclass(frozen=True)
class Trained:
    """One network of the sweep: its three knobs, what it costs, and its accuracies in percent, one for each seed."""

    growth_rate: int
    block_layers: tuple[int, ...]
    compression: float
    parameters: int
    multiply_adds: int  # for one image
    seconds: float  # CPU seconds of the training, mean over the seeds
    accuracies: tuple[float, ...]

    @property
    def accuracy(self):
        """Mean over the seeds, in percent."""
        return statistics.mean(self.accuracies)

    def __str__(self):
        return f"k = {self.growth_rate}, {self.block_layers}, θ = {self.compression:g}"


def networks(measured):
    """List the networks of a sweep, in the order of the file.

    Args:
        measured: what ``benchmarks/design_space.py`` writes.

    Raises:
        ValueError: there is no network.
    """
    if not measured.get("networks"):
        raise ValueError("measured: expected networks as benchmarks/design_space.py writes them, got none")
    return [
        Trained(
            growth_rate=found["growth_rate"], block_layers=tuple(found["block_layers"]),
            compression=found["compression"], parameters=found["parameters"], multiply_adds=found["multiply_adds"],
            seconds=statistics.mean(found["cpu_seconds"].values()),
            accuracies=tuple(100 * value for value in found["accuracy"].values()),
        )
        for found in measured["networks"]
    ]


def noise(trained):
    """Estimate the standard deviation of one run's accuracy, in points, from how the seeds of each network differ.

    Raises:
        ValueError: only one seed was measured.
    """
    if len(trained[0].accuracies) < 2:
        raise ValueError("trained: expected at least two seeds, got one, which says nothing about the noise")
    return math.sqrt(statistics.mean(statistics.variance(network.accuracies) for network in trained))


def distinguishable_pairs(trained):
    """Count the pairs whose mean accuracies differ by more than two standard errors of that difference.

    Returns:
        (pairs told apart, all pairs)
    """
    limit = told_apart(trained)
    pairs = list(combinations(trained, 2))
    return sum(abs(a.accuracy - b.accuracy) > limit for a, b in pairs), len(pairs)


def unbeaten(points):
    """Return the places of the points (parameters, accuracy) that no other beats: fewer parameters, or more accurate.

    A point is beaten by one that is at least as good in both and better in one.
    """
    def beats(a, b):
        return a != b and a[0] <= b[0] and a[1] >= b[1]

    return {i for i, point in enumerate(points) if not any(beats(other, point) for other in points)}


def front(trained):
    """List the networks that no other beats by parameters and accuracy, the smallest first."""
    places = unbeaten([(network.parameters, network.accuracy) for network in trained])
    return sorted((trained[i] for i in places), key=lambda network: network.parameters)


def find(trained, growth_rate, block_layers, compression=0.5):
    """Return the trained network with these knobs.

    Raises:
        ValueError: there is none.
    """
    wanted = growth_rate, block_layers, compression
    for network in trained:
        if tuple(getattr(network, knob) for knob in KNOBS) == wanted:
            return network
    raise ValueError(f"trained: expected one network of {', '.join(map(str, trained))}; got {wanted}")


def turns(trained, start):
    """List the networks that differ from one network in one knob only, turned up.

    Args:
        trained: the networks.
        start: one of them.

    Returns:
        Pairs (knob, network), the cheapest turn of each knob first.
    """
    found = []
    for knob in KNOBS:
        for network in trained:
            same = all(getattr(network, other) == getattr(start, other) for other in KNOBS if other != knob)
            if same and _amount(network, knob) > _amount(start, knob):
                found.append((knob, network))
    return sorted(found, key=lambda turn: (KNOBS.index(turn[0]), turn[1].parameters))


def _amount(network, knob):
    value = getattr(network, knob)
    return sum(value) if isinstance(value, tuple) else value


def turn_table(trained, *starts):
    """Write as text what turning one knob up costs and buys, from each of several starts; * is beyond luck.

    Args:
        trained: the networks.
        starts: some of them.
    """
    limit = told_apart(trained)
    lines = [f"{'':27}{'parameters':>10}  seconds  points"]
    for start in starts:
        lines.append(f"from {start}, {start.accuracy:.2f} %")
        for knob, network in turns(trained, start):
            points = network.accuracy - start.accuracy
            lines.append(f"  {knob:12} → {getattr(network, knob)!s:9} × {network.parameters / start.parameters:6.2f}"
                         f"   × {network.seconds / start.seconds:.2f}   {points:+.2f}{' *' * (abs(points) > limit)}")
    return "\n".join(lines)


def told_apart(trained):
    """Return how many points two means over the seeds must differ by to be told apart: two standard errors."""
    return 2 * noise(trained) * math.sqrt(2 / len(trained[0].accuracies))


def rank(trained, network, seed):
    """Return a network's place among all by one seed; 1 is the most accurate."""
    return 1 + sum(other.accuracies[seed] > network.accuracies[seed] for other in trained)
