"""Exercise channel_plan: the channels after the stem, every block and every transition."""

from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.channel_plan.mistakes import (
    BLOCKS,
    ORDER,
    OTHER,
    ROUNDING,
    SOLUTION,
    TRANSITIONS,
)
from densenet_course.checks.exercises.channel_plan.plan import NAME, ask, listed, off, plan_twice, told, truth, written

EXERCISE = Exercise(NAME, names=[NAME], title="Follow the channels", lesson="06_small_densenet")


def sizes(draw, count, fits, *compression):
    """Draw (blocks, rest) whose transitions take channels that fit, all numbers different from each other."""
    while True:
        blocks, (growth_rate, stem) = draw.sample(2, 12, count), draw.sample(13, 64, 2)
        right = truth(blocks, (growth_rate, stem, *compression))
        if len(set(right)) == len(right) and stem != 2 * growth_rate and all(map(fits, right[1:-1:2])):
            return blocks, (growth_rate, stem, *compression)


def is_even(channels):
    """Tell whether half of the channels is a whole number."""
    return channels % 2 == 0


def hold(answer, draw, cases, look):
    """Hold plans against the solution.

    Args:
        answer: an ``Answer``.
        draw: the check's ``Draw``.
        cases: pairs (blocks, rest).
        look: (items, blocks, rest) → plain values, what is compared.
    """
    for blocks, rest in cases:
        items = ask(answer, blocks, rest)["items"]
        SOLUTION.hold(
            answer, draw, plan_twice, {"name": NAME, "blocks": blocks, "rest": rest},
            view=lambda reply, blocks=blocks, rest=rest: look(reply["items"], blocks, rest),
            told=lambda expected, got, items=items, blocks=blocks, rest=rest: told(items, blocks, rest),
        )


def blocks_alone(items, blocks, rest):
    """Look at the blocks, each by the number before it."""
    return off(items, blocks, rest, 1)


def transitions_alone(items, blocks, rest):
    """Look at the transitions, each by the number before it."""
    return off(items, blocks, rest, 2)


def alike(draw):
    """Draw plans in which several blocks have equally many layers, the last one too."""
    few, many = sorted(draw.sample(2, 9, 2))
    rest = 2 * draw.integer(5, 12), 2 * draw.integer(8, 32)
    return [([*pattern], rest) for pattern in ((few, many, many), (many, few, many), (many, many, many))]


@EXERCISE.finding(ORDER, points=2)
def order(answer, draw):
    """The stem first, then block, transition, block, …, with a block at the end, also where blocks are alike."""
    def look(items, blocks, rest):
        right = truth(blocks, rest)
        return [len(items), *map(float, items[:1]), items != right and sorted(items) == sorted(right)]

    hold(answer, draw, [sizes(draw, count, is_even) for count in (3, 1, 4)] + alike(draw), look)


@EXERCISE.finding(BLOCKS, points=2)
def channels_after_blocks(answer, draw):
    """Every block adds L·k to what comes in."""
    hold(answer, draw, [sizes(draw, 3, is_even) for _ in range(2)], blocks_alone)


@EXERCISE.finding(TRANSITIONS, points=2)
def channels_after_transitions(answer, draw):
    """By default every transition halves, here even numbers."""
    hold(answer, draw, [sizes(draw, 3, is_even) for _ in range(2)], transitions_alone)


@EXERCISE.finding(OTHER, points=1)
def other_compression(answer, draw):
    """Another share, of numbers that it divides without rest; a transition with compression 1 changes nothing."""
    cases = [sizes(draw, 2, lambda channels: channels % 4 == 0, theta) for theta in (0.25, 0.75)]
    whole = draw.sample(2, 12, 2), (*draw.sample(13, 64, 2), 1.0)
    hold(answer, draw, [*cases, whole], transitions_alone)


@EXERCISE.finding(ROUNDING, points=1)
def rounding_down(answer, draw):
    """Odd numbers, half of them such that round() goes up; then a share whose product is far from a whole number."""
    hold(answer, draw, [
        sizes(draw, 2, lambda channels: channels % 4 == 3), sizes(draw, 2, lambda channels: channels % 4 == 1),
        sizes(draw, 2, lambda channels: 0.6 < 0.7 * channels % 1 < 0.9, 0.7),
        sizes(draw, 2, lambda channels: 0.1 < 0.7 * channels % 1 < 0.4, 0.7),
    ], transitions_alone)


@EXERCISE.finding("any sequence, unchanged", points=1)
def any_sequence(answer, draw):
    """List, tuple and range give the same, and the list stays as it was."""
    start, step = draw.integer(2, 5), draw.integer(2, 4)
    blocks, rest = [start, start + step, start + 2 * step], draw.sample(13, 64, 2)
    reply = ask(answer, blocks, rest)
    if reply["after"] != blocks:
        raise Wrong(f"{written(blocks, rest)}",
                    cause=f"the caller's list became {reply['after']}. Read it, or change a copy.")
    for kind in ("tuple", "range"):
        try:
            items = ask(answer, blocks, rest, kind)["items"]
        except Wrong as error:
            raise Wrong(f"{error} A {kind} must do as well.") from None
        if items != reply["items"]:
            raise Wrong(f"{written(blocks, rest, kind)}",
                        cause=f"expected the same as for a list, {listed(reply['items'])}, "
                              f"got {listed(items)}.")


@EXERCISE.finding("a list of whole numbers", points=1)
def a_list_of_whole_numbers(answer, draw):
    """The types only."""
    blocks, rest = sizes(draw, 3, is_even)
    reply, call = ask(answer, blocks, rest), written(blocks, rest)
    if not reply["is_list"]:
        raise Wrong(call, cause=f"expected a list, got {reply['kind']}. Wrap it in list(...).")
    for place, item in enumerate(reply["items"]):
        if not isinstance(item, int):
            raise Wrong(call,
                        cause=f"entry {place} is the float {item}; expected a whole number. int(...) cuts it off.")
