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
    seeds = len(trained[0].accuracies)
    standard_error = noise(trained) * math.sqrt(2 / seeds)
    pairs = list(combinations(trained, 2))
    return sum(abs(a.accuracy - b.accuracy) > 2 * standard_error for a, b in pairs), len(pairs)


def unbeaten(points):
    """Return the places of the points (parameters, accuracy) that no other beats: fewer parameters, or more accurate.

    A point is beaten by one that is at least as good in both and better in one.
    """
    def beats(a, b):
        return a != b and a[0] <= b[0] and a[1] >= b[1]

    return {i for i, point in enumerate(points) if not any(beats(other, point) for other in points)}


def changes(trained, knob, before, after):
    """Pair the networks that differ in one knob only.

    Args:
        trained: the networks.
        knob: "growth_rate", "block_layers" or "compression".
        before: the knob's value in the first network of each pair.
        after: its value in the second.

    Raises:
        ValueError: there is no such pair.
    """
    others = [name for name in KNOBS if name != knob]
    by_rest = {tuple(getattr(n, name) for name in others): n for n in trained if getattr(n, knob) == after}
    pairs = [(n, by_rest[rest]) for n in trained if getattr(n, knob) == before
             and (rest := tuple(getattr(n, name) for name in others)) in by_rest]
    if not pairs:
        values = ", ".join(map(str, dict.fromkeys(getattr(n, knob) for n in trained)))
        raise ValueError(f"{knob}: expected two of {values}; got {before} and {after}")
    return pairs


@dataclass(frozen=True)
class Effect:
    """What turning one knob costs and buys, over the pairs that differ in it only."""

    parameters: float  # factor, geometric mean over the pairs
    seconds: float  # factor, geometric mean over the pairs
    points: tuple[float, ...]  # of accuracy, one for each pair

    @property
    def mean(self):
        """Mean of the points."""
        return statistics.mean(self.points)

    @property
    def for_twice_the_seconds(self):
        """Points that a doubling of the seconds buys by this knob."""
        return self.mean / math.log2(self.seconds)


def effect(trained, knob, before, after):
    """Measure what one knob costs and buys; arguments as for ``changes``."""
    pairs = changes(trained, knob, before, after)
    return Effect(
        parameters=statistics.geometric_mean(b.parameters / a.parameters for a, b in pairs),
        seconds=statistics.geometric_mean(b.seconds / a.seconds for a, b in pairs),
        points=tuple(b.accuracy - a.accuracy for a, b in pairs),
    )
