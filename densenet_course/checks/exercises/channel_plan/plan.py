"""The dialogue of exercise channel_plan: ask for a plan, and tell which of its numbers stands for what."""

import itertools
import math
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
def plan_twice(objects, name, blocks, rest, kind="list"):
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
        reply = answer.ask(plan_twice, name=NAME, blocks=list(blocks), rest=list(rest), kind=kind)
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


def off(items, blocks, rest, first):
    """Tell by how much each block (``first`` = 1) or transition (2) of a plan is off, by the numbers before it.

    A list that is too long or too short is returned as it is.
    """
    theta = rest[2] if len(rest) > 2 else 0.5
    if len(items) != 2 * len(blocks):
        return items
    right = [items[i - 1] + blocks[i // 2] * rest[0] if i % 2 else math.floor(theta * items[i - 1] + 1e-9)
             for i in range(1, len(items))]
    return [float(got - wanted) for got, wanted in zip(items[1:], right, strict=True)][first - 1::2]


def told(items, blocks, rest):
    """Return a ``Wrong`` that says where a plan is wrong: the first number that is, from the one before it."""
    call, right = written(blocks, rest), truth(blocks, rest)
    if len(items) != len(right):
        cause = f"expected {len(right)} numbers, {listed(right)}, got {len(items)}, {listed(items)}."
        if len(set(blocks)) < len(blocks):
            cause += " Two blocks have equally many layers here. Tell blocks apart by their place, not by their layers."
        elif len(items) >= sum(blocks):
            cause += " Is there a number for every layer? One for the whole block is asked."
        return Wrong(call, cause=cause)
    if sorted(items) == sorted(right):
        both = f"expected {listed(right)}, got {listed(items)}."
        return Wrong(call, cause=f"{both} The numbers are right, but in another order.")
    i = next(i for i, number in enumerate(items) if number != right[i])
    theta = rest[2] if len(rest) > 2 else 0.5
    if i == 0:
        part, reason = "stem", "= init_channels"
    elif i % 2:
        part, reason = f"block {i // 2 + 1}", f"= {right[i - 1]} + {blocks[i // 2]}·{rest[0]}"
    else:
        part, reason = f"transition {i // 2}", f"= {theta}·{right[i - 1]}"
        if theta * right[i - 1] != right[i]:
            reason = f"= ⌊{theta}·{right[i - 1]}⌋"
    return Wrong(f"{call}: {part}", f"{right[i]} {reason}", shown(items[i]))
