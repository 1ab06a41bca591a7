"""Read what ``benchmarks/relatives.py`` measured: the families at equal size, seed by seed, and at four sizes."""

import math
import statistics
from itertools import pairwise

from densenet_course.studies.relatives import FAMILIES


def largest(measured):
    """Return each family's largest network, family → network.

    Args:
        measured: what ``benchmarks/relatives.py`` writes.

    Raises:
        ValueError: there is no network.
    """
    if not measured.get("networks"):
        raise ValueError("measured: expected networks as benchmarks/relatives.py writes them, got none")
    return {family: networks[-1] for family, networks in curves(measured).items() if networks}


def curves(measured):
    """Group the networks by family, smallest first."""
    by_size = sorted(measured["networks"], key=lambda network: network["parameters"])
    return {family: [n for n in by_size if n["family"] == family] for family in FAMILIES}


def points(network):
    """List a network's test accuracies in percent, one for each seed."""
    return [100 * value for value in network["accuracy"].values()]


def table(measured):
    """Write as text what each family costs and reaches at equal parameters; bytes and work are those of one image."""
    lines = [f"{'':11} {'parameters':>10} {'multiply-adds':>14} {'saved':>7} {'a step':>7}  accuracy, mean and range"]
    for family, network in largest(measured).items():
        values, seconds = points(network), measured["step_seconds"][family]["median"]
        lines.append(
            f"{family:11} {network['parameters']:10,} {network['multiply_adds']:14,} "
            f"{network['saved_bytes'] / 1e3:4.0f} kB {1e3 * seconds:4.0f} ms  "
            f"{statistics.mean(values):.2f} %, {min(values):.2f} to {max(values):.2f}")
    return "\n".join(lines)


def gaps(measured, family, *, against="DenseNet-BC"):
    """Subtract accuracies seed by seed, at equal parameters: the family's less the other's, in points."""
    networks = largest(measured)
    return [a - b for a, b in zip(points(networks[family]), points(networks[against]), strict=True)]


def size_needed(networks, accuracy, measure="parameters"):
    """Estimate how large a family's network must be to reach an accuracy, on straight lines over log size.

    Args:
        networks: one family's measured networks.
        accuracy: mean accuracy to reach, in percent.
        measure: "parameters" or "multiply_adds".

    Returns:
        The size; infinity where no measured network is as accurate, 0 where all of them are more accurate.
    """
    line = sorted((statistics.mean(points(network)), math.log(network[measure])) for network in networks)
    for (low, small), (high, big) in pairwise(line):
        if low <= accuracy <= high:
            share = (accuracy - low) / (high - low) if high > low else 0.0
            return math.exp(small + share * (big - small))
    return math.inf if accuracy > line[-1][0] else 0.0


def needed(measured, *, other="ResNet", ours="DenseNet-BC"):
    """Write as text how many times as large the other family must be for the accuracy that ours reaches."""
    families, lines = curves(measured), []
    for network in families[ours]:
        accuracy, told = statistics.mean(points(network)), []
        for measure in ("parameters", "multiply_adds"):
            size = size_needed(families[other], accuracy, measure)
            outside = {0.0: "below our smallest", math.inf: "beyond our largest"}
            told.append(outside.get(size, f"× {size / network[measure]:.2f}"))
        lines.append(f"{network['parameters']:18,}  {accuracy:8.2f} %   {told[0]:18}   {told[1]}".rstrip())
    head = f"{ours + ' of':>18}    reaches   parameters           multiply-adds"
    return "\n".join([f"{'':33}{other} needs", head, *lines])
