"""Read what ``benchmarks/relatives.py`` and ``descendants.py`` measured: families of equal size, layers by turns."""

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
    lines = [f"{'':11} {'parameters':>10} {'multiply-adds':>13} {'saved':>7}  {'a step':17}  accuracy"]
    for family, network in largest(measured).items():
        values = points(network)
        lines.append(
            f"{family:11} {network['parameters']:10,} {network['multiply_adds']:13,} "
            f"{network['saved_bytes'] / 1e3:4.0f} kB  {_ratio(step_ratios(measured, family))}  "
            f"{statistics.mean(values):.2f}, {min(values):.2f} to {max(values):.2f} %")
    return "\n".join(lines)


def step_ratios(measured, name, *, against=None):
    """Divide step times round by round: the named network's by another's, by default the first one's.

    A busy machine slows all networks of a round, so only times of one round compare.
    """
    seconds = measured["step_seconds"]
    base = seconds[against or next(iter(seconds))]["values"]
    return [a / b for a, b in zip(seconds[name]["values"], base, strict=True)]


def _ratio(ratios):
    return f"× {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


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
    """Write as text how many times as large the other family must be for the accuracy that ours reaches.

    In brackets the same for the worst and the best seed of ours; "more than" and "less than" where the other family's
    measured sizes end.
    """
    families, lines = curves(measured), []
    for network in families[ours]:
        told = [_factors(families[other], network, measure) for measure in ("parameters", "multiply_adds")]
        accuracy = statistics.mean(points(network))
        lines.append(f"{network['parameters']:18,}  {accuracy:8.2f} %   {told[0]:22}   {told[1]}".rstrip())
    head = f"{ours + ' of':>18}    reaches   parameters               multiply-adds"
    return "\n".join([f"{'':33}{other} needs so many times the", head, *lines])


def _factors(others, network, measure):
    values = points(network)
    middle, low, high = (_factor(others, accuracy, measure, network[measure])
                         for accuracy in (statistics.mean(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _factor(others, accuracy, measure, ours):
    size, sizes = size_needed(others, accuracy, measure), [other[measure] for other in others]
    outside = {0.0: f"less than {min(sizes) / ours:.2f}", math.inf: f"more than {max(sizes) / ours:.2f}"}
    return outside.get(size, f"{size / ours:.2f}")


def accuracy_at(networks, parameters):
    """Estimate the mean accuracy of a family at a size, in percent, on straight lines over log size.

    Args:
        networks: measured networks of one family.
        parameters: the size.

    Returns:
        The accuracy; None outside the sizes that were measured.
    """
    line = sorted((network["parameters"], statistics.mean(points(network))) for network in networks)
    for (small, low), (big, high) in pairwise(line):
        if small <= parameters <= big:
            return low + (high - low) * math.log(parameters / small) / math.log(big / small)
    return None


def layer_table(measured):
    """Write as text what each layer costs and reaches in the class network, and beside a plain one of equal size.

    Args:
        measured: what ``benchmarks/descendants.py`` writes.
    """
    plain, count = [*measured["plain"], measured["networks"][0]], len(measured["seeds"])
    head = "accuracy, %, one seed" if count == 1 else f"accuracy, %, {count} seeds"
    lines = [f"{'':15} {'parameters':>10} {'mult.-adds':>10}  {'a step':17}  {head:22}  beyond its size"]
    for network in measured["networks"]:
        values, equal = points(network), accuracy_at(plain, network["parameters"])
        gap = "" if equal is None else f"{statistics.mean(values) - equal:+.1f}"
        span = "" if count == 1 else f" ({min(values):.1f} to {max(values):.1f})"
        lines.append(f"{network['name']:15} {network['parameters']:10,} {network['multiply_adds']:10,}  "
                     f"{_ratio(step_ratios(measured, network['name'])):17}  "
                     f"{f'{statistics.mean(values):4.1f}{span}':22}  {gap}".rstrip())
    return "\n".join(lines)
