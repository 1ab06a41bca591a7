"""Exercise channel_plan: the channels after the stem, every block and every transition."""

import math
from typing import NamedTuple

from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.channel_plan.plan import NAME, ask, listed, read, truth, written
from densenet_course.checks.kinds.functions import shown

EXERCISE = Exercise(NAME, names=[NAME], title="Follow the channels", lesson="06_small_densenet")


class Row(NamedTuple):
    """One number of a plan, judged from the numbers before it in the answer's own list."""

    what: str
    expected: int
    reason: str
    got: float
    facts: tuple


def expect_rows(rows, suspects):
    """Compare the numbers with those expected; a known mistake must explain all of them to be named."""
    for row in rows:
        if row.got != row.expected:
            known = (message for function, message in suspects if all(r.got == function(*r.facts) for r in rows))
            raise Wrong(f"{row.what}: expected {shown(row.expected)} {row.reason}, got {shown(row.got)}. "
                        f"{next(known, '')}".rstrip())


BLOCKS = (  # of: channels that come in, layers, growth rate, channels after the block before, of the stem, first layers
    (lambda c, n, k, *_: n * k, "Only the new maps are counted. The maps that come in leave the block too."),
    (lambda c, n, k, *_: c + k, "This is one layer's gain. Each layer of the block adds growth_rate."),
    (lambda c, n, k, *_: c + (n - 1) * k, "This is what the last layer reads. It adds its own maps too."),
    (lambda c, n, k, *_: c + n, "Each layer adds growth_rate maps, not one."),
    (lambda c, n, k, *_: c + 4 * n * k, "4·growth_rate is the width inside a bottleneck; growth_rate maps leave it."),
    (lambda c, n, k, old, *_: (c if old is None else old) + n * k,
     "The block starts from the channels before the transition. Go on from those after it."),
    (lambda c, n, k, old, stem, _: stem + n * k, "Every block starts from the stem again. Go on from the transition."),
    (lambda c, n, k, old, stem, first: c + first * k, "Every block has its own number of layers."),
    (lambda c, n, k, old, stem, _: c + n * stem, "Are growth_rate and init_channels swapped?"),
    (lambda c, *_: c, "A block adds the maps that its layers make."),
)

TRANSITIONS = (  # of: compression, channels that come in, channels before the block
    (lambda theta, c, _: c, "The channels are not compressed."),
    (lambda theta, c, _: c // 2, "This is always half. Multiply by compression."),
    (lambda theta, c, _: int(theta * int(theta * c)), "The compression is applied twice."),
    (lambda theta, c, _: c - math.floor(theta * c + 1e-9), "This is what goes; the argument is the share that stays."),
    (lambda theta, c, _: math.ceil(theta * c), "This is rounded up; ⌊θ·C⌋ is rounded down."),
    (lambda theta, c, _: round(theta * c), "round() goes to the nearest; ⌊θ·C⌋ is rounded down, as int() does."),
    (lambda theta, c, _: math.floor(theta * c + 0.5), "This is rounded to the nearest; ⌊θ·C⌋ is rounded down."),
    (lambda theta, c, _: theta * c, "This is not rounded. ⌊θ·C⌋ is rounded down, as int() does."),
    (lambda theta, c, _: int(c / theta), "This divides by compression; expected a product."),
    (lambda theta, c, before: int(theta * before), "This compresses what the block reads; expected what leaves it."),
    (lambda theta, c, before: int(theta * (c - before)), "This compresses the new maps only; all maps go through."),
)


def rows_of_blocks(items, blocks, rest):
    """Judge every block that the list holds."""
    found, _ = read(items, blocks, rest)
    growth_rate, stem = rest[:2]
    rows = []
    for number, layers in enumerate(blocks, start=1):
        old = found.get(("block", number - 1))
        start = found.get(("stem", 0), stem) if number == 1 else found.get(("transition", number - 1))
        if start is None or ("block", number) not in found:
            continue
        rows.append(Row(
            f"{written(blocks, rest)}: block {number}", start + layers * growth_rate,
            f"= {shown(start)} + {layers}·{growth_rate}", found["block", number],
            (start, layers, growth_rate, old, stem, blocks[0]),
        ))
    if not rows:
        raise Wrong(f"{written(blocks, rest)}", cause=f"the list {listed(items)} holds no channels after a block.")
    return rows


def rows_of_transitions(items, blocks, rest):
    """Judge every transition that stands after a block in the list."""
    found, _ = read(items, blocks, rest)
    theta = rest[2] if len(rest) > 2 else 0.5
    rows = []
    for number in range(1, len(blocks)):
        leaves, got = found.get(("block", number)), found.get(("transition", number))
        if leaves is None or got is None:
            continue
        before = rest[1] if number == 1 else found["transition", number - 1]
        exactly = theta * leaves
        down = math.floor(exactly + 1e-9)
        reason = f"= {theta}·{shown(leaves)}" if down == exactly else f"= ⌊{theta}·{shown(leaves)}⌋"
        rows.append(Row(f"{written(blocks, rest)}: transition {number}", down, reason, got, (theta, leaves, before)))
    if not rows:
        raise Wrong(f"{written(blocks, rest)}", cause=f"the list {listed(items)} holds no channels after a transition.")
    return rows


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


@EXERCISE.finding("stem and order", points=2)
def order(answer, draw):
    """The stem first, then block, transition, block, …, with a block at the end, also where blocks are alike."""
    for count in (3, 1, 4):
        blocks, rest = sizes(draw, count, is_even)
        items, right = ask(answer, blocks, rest)["items"], truth(blocks, rest)
        found, message = read(items, blocks, rest)
        if message:
            raise Wrong(f"{written(blocks, rest)}", cause=f"expected {listed(right)}, got {listed(items)}. {message}")
        growth_rate, stem = rest
        if found["stem", 0] != stem:
            cause = {2 * growth_rate: "2·growth_rate is a common choice, but here init_channels says it.",
                     growth_rate: "Are growth_rate and init_channels swapped?"}.get(found["stem", 0], "")
            raise Wrong(f"{written(blocks, rest)}: stem: expected {stem} = init_channels, "
                        f"got {shown(found['stem', 0])}. {cause}".rstrip())


    expect_alike_blocks_told_apart(answer, draw)


def expect_alike_blocks_told_apart(answer, draw):
    """Blocks with equally many layers each have their place: the last one alone has no transition behind it."""
    few, many = sorted(draw.sample(2, 9, 2))
    growth_rate, half_stem = draw.integer(5, 12), draw.integer(8, 32)
    for pattern in ((few, many, many), (many, few, many), (many, many, many)):
        blocks, rest = [*pattern], (2 * growth_rate, 2 * half_stem)
        items, right = ask(answer, blocks, rest)["items"], truth(blocks, rest)
        if len(items) != len(right):
            raise Wrong(f"{written(blocks, rest)}", cause=f"expected {listed(right)}, got {listed(items)}. Two blocks "
                        "have equally many layers here. Tell blocks apart by their place, not by their layers.")


@EXERCISE.finding("blocks", points=2)
def channels_after_blocks(answer, draw):
    """Every block adds L·k to what comes in."""
    rows = []
    for _ in range(2):
        blocks, rest = sizes(draw, 3, is_even)
        rows += rows_of_blocks(ask(answer, blocks, rest)["items"], blocks, rest)
    expect_rows(rows, BLOCKS)


@EXERCISE.finding("transitions", points=2)
def channels_after_transitions(answer, draw):
    """By default every transition halves, here even numbers."""
    rows = []
    for _ in range(2):
        blocks, rest = sizes(draw, 3, is_even)
        rows += rows_of_transitions(ask(answer, blocks, rest)["items"], blocks, rest)
    expect_rows(rows, TRANSITIONS)


@EXERCISE.finding("other compression", points=1)
def other_compression(answer, draw):
    """Another share, of numbers that it divides without rest."""
    rows = []
    for theta in (0.25, 0.75, 1.0):
        blocks, rest = sizes(draw, 2, lambda channels: channels % 4 == 0, theta) if theta < 1 else sizes_at_one(draw)
        rows += rows_of_transitions(ask(answer, blocks, rest)["items"], blocks, rest)
    expect_rows(rows, TRANSITIONS)


def sizes_at_one(draw):
    """Draw (blocks, rest) for compression 1, where a transition changes nothing."""
    return draw.sample(2, 12, 2), (*draw.sample(13, 64, 2), 1.0)


@EXERCISE.finding("rounding down", points=1)
def rounding_down(answer, draw):
    """Odd numbers, half of them such that round() goes up; then a share whose product is far from a whole number."""
    cases = (
        sizes(draw, 2, lambda channels: channels % 4 == 3), sizes(draw, 2, lambda channels: channels % 4 == 1),
        sizes(draw, 2, lambda channels: 0.6 < 0.7 * channels % 1 < 0.9, 0.7),
        sizes(draw, 2, lambda channels: 0.1 < 0.7 * channels % 1 < 0.4, 0.7),
    )
    rows = [row for blocks, rest in cases
            for row in rows_of_transitions(ask(answer, blocks, rest)["items"], blocks, rest)]
    expect_rows(rows, TRANSITIONS)


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
