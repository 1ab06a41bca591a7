"""The dialogue of exercise channel_plan: ask for a plan, and tell which of its numbers stands for what."""

import itertools
import operator

import torch

from densenet_course import accounting
from densenet_course.checks.engine.answer import AnswerError, kind_of, probe
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds.functions import shown

NAME = "channel_plan"
SEQUENCES = {"list": list, "tuple": tuple, "range": lambda b: range(b[0], b[-1] + 1, b[1] - b[0])}
LONGEST = 1000  # entries that are read; a generator may have no end
LARGEST = 1e12


@probe
def plan(objects, name, blocks, rest, kind="list"):
    """Call the learner's function twice, each time with a fresh sequence.

    Args:
        objects: the learner's objects.
        name: which of them.
        blocks: layers per block; evenly spaced for kind "range".
        rest: the further positional arguments.
        kind: what the layers per block come in: "list", "tuple" or "range".

    Returns:
        {"kind": what came, in words, "is_list", "items": its numbers, "again": those of the second call, "after": the
        layers per block after the call}
    """
    sequence = SEQUENCES[kind](blocks)
    value = objects[name](sequence, *rest)
    return {
        "kind": kind_of(value), "is_list": isinstance(value, list | tuple), "items": numbers(value),
        "again": numbers(objects[name](SEQUENCES[kind](blocks), *rest)), "after": list(sequence),
    }


def numbers(value):
    """Read the numbers of anything that has an order; integral ones become ``int``, others ``float``.

    Raises:
        AnswerError: it holds something else, NaN, or what no network has channels of.
    """
    value = value.tolist() if isinstance(value, torch.Tensor) else value
    if isinstance(value, str | bytes | dict | set | frozenset) or not hasattr(value, "__iter__"):
        raise AnswerError("", "a list of whole numbers", kind_of(value), returned_nothing(value))
    return [_number(item, place) for place, item in enumerate(itertools.islice(value, LONGEST))]


def _number(item, place):
    try:
        number = operator.index(item)
    except TypeError:
        number = None
    try:
        number = float(None if isinstance(item, str | bytes) else item) if number is None else number
    except Exception:
        raise AnswerError(f"expected a list of whole numbers, but entry {place} is {kind_of(item)}.") from None
    if not abs(number) < LARGEST:
        what = number if isinstance(number, float) else "far too large"
        raise AnswerError(f"expected a list of numbers of channels, but entry {place} is {what}.")
    return number


def ask(answer, blocks, rest, kind="list"):
    """Ask for a plan, and see that a second call gives the same."""
    try:
        reply = answer.ask(plan, name=NAME, blocks=list(blocks), rest=list(rest), kind=kind)
    except AnswerError as error:
        raise Wrong(**error.fields | {"what": written(blocks, rest, kind)}) from None
    if list(map(repr, reply["items"])) != list(map(repr, reply["again"])):
        raise Wrong(f"{written(blocks, rest, kind)}", cause=f"called twice, it gave {listed(reply['items'])} and then "
                    f"{listed(reply['again'])}. Is a list kept between calls, as a default argument is?")
    return reply


def written(blocks, rest, kind="list"):
    """Write a call as the learner would."""
    return f"{NAME}({', '.join(map(repr, (SEQUENCES[kind](blocks), *rest)))})"


def listed(items):
    """Write a list of numbers, cut off where it is long."""
    return f"[{', '.join(map(shown, items[:7]))}{', …' if len(items) > 7 else ''}]"


def truth(blocks, rest):
    """Return the right plan."""
    growth_rate, init_channels, *compression = rest
    options = {"compression": compression[0]} if compression else {}
    return accounting.channel_plan(blocks, growth_rate=growth_rate, init_channels=init_channels, **options)


def places(count):
    """List the places of a plan with ``count`` blocks: ("stem", 0), ("block", 1), ("transition", 1), …"""
    between = [(part, number) for number in range(1, count + 1) for part in ("block", "transition")]
    return [("stem", 0), *between[:-1]]


def layouts(count):
    """List what a plan with ``count`` blocks may hold: pairs (places, what is wrong with them, or "")."""
    full, last = places(count), ("transition", count)
    return (
        (full, ""),
        (full[1:], "The stem's channels are missing at the beginning."),
        ([*full, last], "The last block has no transition after it."),
        ([*full[1:], last], "The stem is missing at the beginning, and the last block has no transition after it."),
        ([p for p in full if p[0] != "transition"], "The transitions' channels are missing."),
        ([p for p in full if p[0] == "block"], "The channels of stem and transitions are missing."),
        ([p for p in full if p[0] != "block"], "The blocks' channels are missing; these are what each block reads."),
    )


def read(items, blocks, rest):
    """Tell which number stands for which part, in a list that may lack some.

    Returns:
        ({place: number}, what is wrong with the order, or "")

    Raises:
        Wrong: the list has a length that no known mistake explains.
    """
    right, full = truth(blocks, rest), places(len(blocks))
    if len(items) == len(right) and items != right and sorted(items) == sorted(right):
        return dict(zip(full, right, strict=True)), "The numbers are right, but in another order."
    fitting = [(layout, message) for layout, message in layouts(len(blocks)) if len(layout) == len(items)]
    if not fitting:
        every_layer = 0 <= len(items) - sum(blocks) <= len(blocks) + 1
        cause = " Is there a number for every layer? One for the whole block is asked." if every_layer else ""
        raise Wrong(f"{written(blocks, rest)}", cause=f"expected {len(right)} numbers, {listed(right)}, "
                    f"got {len(items)}, {listed(items)}.{cause}")
    known = dict(zip(full, right, strict=True))
    layout, message = max(
        fitting, key=lambda it: sum(known.get(p) == v for p, v in zip(it[0], items, strict=True))
    )
    found = dict(zip(layout, items, strict=True))
    if ("transition", 1) not in found:  # what the next block must have started from
        found |= {("transition", i): found["block", i + 1] - blocks[i] * rest[0] for i in range(1, len(blocks))}
    return found, message
