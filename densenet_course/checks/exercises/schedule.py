"""Exercise schedule: a learning rate that rises linearly to a peak and falls linearly to zero."""

import math

import torch

from densenet_course.checks.engine.answer import probe
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds.functions import expect_values, real, shown

NAME = "learning_rate"
EXERCISE = Exercise("schedule", names=[NAME], title="One-cycle learning rate", lesson="07_train_fashion_mnist")

TOLERANCE = 5e-7  # of the peak; float32 is some 1e-7 off


def triangle(step, total, peak, warmup=0.25, *, at=None):
    """Return the right rate; ``at`` puts the peak at another step."""
    at = warmup * total if at is None else at
    return peak * (step / at if step < at else (total - step) / (total - at))


def same(expected, got, step, total, peak, warmup=0.25):
    """Compare two rates by the measure of the peak."""
    return abs(expected - got) <= TOLERANCE * peak


def because(step, total, peak, warmup=0.25):
    """Say where on the triangle a step stands."""
    at = warmup * total
    if step in (0, total):
        return "at the start" if step == 0 else "at the end"
    if step == at:
        return "at the peak"
    return f"({step}/{at:g} of the peak)" if step < at else f"({total - step:g}/{total - at:g} of the peak)"


def pieces(rise, fall, *, peak_is_of="fall"):
    """Make a rate of two pieces, each a function (step, total steps, step of the peak, peak); the peak is of one."""

    def rate(step, total, peak, warmup=0.25):
        at = warmup * total
        rises = step <= at if peak_is_of == "rise" else step < at
        return rise(step, total, at, peak) if rises else fall(step, total, at, peak)

    return rate


def up(step, total, at, peak):
    """Rise as it should."""
    return peak * step / at


def down(step, total, at, peak):
    """Fall as it should."""
    return peak * (total - step) / (total - at)


def cosine(share):
    """Rise from 0 to 1 along a cosine."""
    return (1 - math.cos(math.pi * share)) / 2


def floored(step, total, peak, warmup=0.25):
    """Divide with // in both pieces."""
    at = warmup * total
    return peak * (step // at if step < at else (total - step) // (total - at))


def floored_with_peak(step, total, peak, warmup=0.25):
    """Divide with //, the peak multiplied before."""
    at = warmup * total
    return peak * step // at if step < at else peak * (total - step) // (total - at)


ROUNDED = "The peak's step is rounded; warmup · total_steps may lie between two steps."
AHEAD = "This is one step ahead. Step 0 has rate 0: is there a step + 1?"
SLOW_FALL = "This divides the fall by total_steps; expected the number of steps after the peak."
CURVED_FALL = "The fall is a curve (exponential); expected a straight line."
SUSPECTS = (
    (lambda s, n, h, w=0.25: triangle(s, n, h, w, at=int(w * n)), ROUNDED),
    (lambda s, n, h, w=0.25: triangle(s, n, h, w, at=round(w * n)), ROUNDED),
    (lambda s, n, h, w=0.25: triangle(s, n, h, w, at=math.ceil(w * n)), ROUNDED),
    (lambda s, n, h, w=0.25: triangle(s, n, h, w, at=max(1, int(w * n))), ROUNDED),
    (lambda s, n, h, w=0.25: triangle(s, n, h, w, at=max(1, round(w * n))), ROUNDED),
    (lambda s, n, h, w=0.25: triangle(s + 1, n, h, w), AHEAD),
    (lambda s, n, h, w=0.25: max(0.0, triangle(s + 1, n, h, w)), AHEAD),
    (pieces(lambda s, n, p, h: h * (s + 1) / p, down), AHEAD),
    (lambda s, n, h, w=0.25: triangle(s - 1, n, h, w), "This is one step behind. Steps count from 0."),
    (lambda s, n, h, w=0.25: max(0.0, triangle(s - 1, n, h, w)), "This is one step behind. Steps count from 0."),
    (lambda s, n, h, w=0.25: triangle(s, n - 1, h, w), "This ends at total_steps − 1, one step early."),
    (lambda s, n, h, w=0.25: max(0.0, triangle(s, n - 1, h, w)), "This ends at total_steps − 1, one step early."),
    (pieces(up, lambda s, n, p, h: h * (n - 1 - s) / (n - 1 - p)), "The fall ends at total_steps − 1, one step early."),
    (pieces(up, lambda s, n, p, h: h * (n + 1 - s) / (n + 1 - p)), "The fall ends at total_steps + 1, one step late."),
    (pieces(up, lambda s, n, p, h: h * cosine((n - s) / (n - p))), "The fall is a cosine; expected a straight line."),
    (pieces(lambda s, n, p, h: h * cosine(s / p), lambda s, n, p, h: h * cosine((n - s) / (n - p))),
     "These are cosines; expected straight lines."),
    (pieces(lambda s, n, p, h: h * cosine(s / p), down), "The rise is a cosine; expected a straight line."),
    (pieces(up, lambda s, n, p, h: h), "The rate stays at its peak after the warm-up; it falls to 0 at total_steps."),
    (pieces(up, up), "The rate goes on rising after the peak; it falls to 0."),
    (pieces(lambda s, n, p, h: h, down), "The warm-up is missing; the rate begins at 0 and rises."),
    (lambda s, n, h, w=0.25: h * (1 - s / n), "The warm-up is missing; the rate begins at 0 and rises."),
    (lambda s, n, h, w=0.25: h * s / n, "The rate rises to the end; the peak is at warmup · total_steps."),
    (pieces(up, lambda s, n, p, h: h * (1 - 0.9 * (s - p) / (n - p))),
     "The fall ends at a tenth of the peak; expected 0 at total_steps."),
    *((pieces(up, fall, peak_is_of=whose), message) for whose in ("fall", "rise") for fall, message in (
        (lambda s, n, p, h: h * (n - s) / n, SLOW_FALL),
        (lambda s, n, p, h: h * (1 - s / (n - p)), "The fall begins at the peak: count its steps from there."),
        (lambda s, n, p, h: h * (s - p) / (n - p), "After the peak the rate jumps to 0 and rises."))),
    (pieces(up, lambda s, n, p, h: h * (1 - (s - p) / n)), SLOW_FALL),
    (pieces(lambda s, n, p, h: h * s / n, down), "This divides the rise by total_steps; expected the peak's step."),
    (pieces(lambda s, n, p, h: h * (1 - s / p), down), "The warm-up falls from the peak; it should rise from 0."),
    (lambda s, n, h, w=0.25: triangle(s, n, h, 1 - w), "The fall takes the share warmup; it is the rise that should."),
    (lambda s, n, h, w=0.25: triangle(s, n, h, 0.5), "The peak is half-way; expected it at warmup · total_steps."),
    (lambda s, n, h, w=0.25: triangle(s, n, h), "The peak is at a quarter always. Use warmup."),
    (lambda s, n, h, w=0.25: triangle(s, n, h, at=w), "The argument warmup is a share of the steps, not a step."),
    (lambda s, n, h, w=0.25: triangle(s, n, 1.0, w), "This rises to 1. Multiply by peak."),
    (lambda s, n, h, w=0.25: triangle(s, n, h * h, w), "This is multiplied by peak twice."),
    (lambda s, n, h, w=0.25: triangle(s, n, h, w) / 2, "This is half of the rate."),
    (pieces(up, lambda s, n, p, h: h * step_decay(s, n)), "The fall goes in steps; expected a straight line."),
    (pieces(up, lambda s, n, p, h: h * ((n - s) / (n - p)) ** 2), "The fall is a square; expected a straight line."),
    (pieces(lambda s, n, p, h: h * (s / p) ** 2, down), "The rise is a square; expected a straight line."),
    *((pieces(up, lambda s, n, p, h, rate=rate: h * math.exp(-rate * (s - p) / (n - p))), CURVED_FALL)
      for rate in (1, 2, 3, 4, 5, 10)),
    *((lambda s, n, h, w=0.25, places=places: round(triangle(s, n, h, w), places),
       "The result is rounded. Return it as it is.") for places in (2, 3, 4)),
    (pieces(lambda s, n, p, h: h / 25 + (h - h / 25) * s / p, down),
     "The rise starts at peak/25, as PyTorch's OneCycleLR does; expected 0."),
    (pieces(lambda s, n, p, h: h / 25 + (h - h / 25) * s / p,
            lambda s, n, p, h: h / 25e4 + (h - h / 25e4) * (n - s) / (n - p)),
     "This is PyTorch's OneCycleLR: it starts at peak/25 and ends above 0; expected 0 at both ends."),
    (lambda s, n, h, w=0.25: h * step_decay(s, n), "This is the step schedule; expected a line up and one down."),
    (lambda s, n, h, w=0.25: h, "This is constant; expected a line up and a line down."),
    (pieces(up, lambda s, n, p, h: h * ((n - s) // (n - p))), "// cuts off. Use / where you divide."),
    (floored, "// cuts off. Use / where you divide."),
    (floored_with_peak, "Does // cut everything off? Use / where you divide."),
)


def step_decay(step, total):
    """Divide by ten at half and at three quarters."""
    return 0.1 ** ((step >= total / 2) + (step >= 3 * total / 4))


def training(draw):
    """Draw (total steps, peak): the quarter of the steps is a whole number."""
    return 4 * draw.integer(6, 20), draw.integer(20, 900) / 1000


def portrait(total, peak, *warmup):
    """List cases over the whole training, to tell one mistake from another."""
    return [(step, total, peak, *warmup) for step in sorted({total * i // 8 for i in range(9)} | {1, total - 1})]


def look(answer, cases, context=()):
    """Compare the learner's rates with the right ones."""
    expect_values(answer, NAME, cases, triangle, ask=real, same=same, because=because, suspects=SUSPECTS,
                  context=context)


@EXERCISE.finding("warm-up", points=2)
def warm_up(answer, draw):
    """Between start and peak."""
    total, peak = training(draw)
    cases = [(step, total, peak) for step in sorted(draw.sample(1, total // 4 - 1, 3))]
    look(answer, cases, portrait(total, peak))


@EXERCISE.finding("fall", points=2)
def fall(answer, draw):
    """Between peak and end."""
    total, peak = training(draw)
    cases = [(step, total, peak) for step in sorted(draw.sample(total // 4 + 1, total - 1, 4))]
    look(answer, cases, portrait(total, peak))


@EXERCISE.finding("start, peak and end", points=2)
def corners(answer, draw):
    """The three corners of the triangle."""
    total, peak = training(draw)
    look(answer, [(0, total, peak), (total // 4, total, peak), (total, total, peak)], portrait(total, peak))


@EXERCISE.finding("a peak between two steps", points=2)
def between_steps(answer, draw):
    """Trainings whose quarter is no whole number; at last the shortest ones."""
    for rest in (1, 2, 3):
        total, peak = 4 * draw.integer(2, 6) + rest, draw.integer(20, 900) / 1000
        steps = (total // 4, total // 4 + 1, total // 4 + 3)
        look(answer, [(step, total, peak) for step in steps], portrait(total, peak))
    for total in (3, 2, 1):
        look(answer, [(step, total, peak) for step in range(total + 1)])


@EXERCISE.finding("another warm-up", points=1)
def another_warm_up(answer, draw):
    """Other shares, in a short and in a long training; the quarter is told from what is given."""
    _, peak = training(draw)
    for total, warmup in ((40, 0.15), (40, 0.6), (1000 * draw.integer(20, 60), 0.4)):  # at 0.1 two mistakes look alike
        at = round(total * warmup)
        steps = (at // 2, at, at + 1, (at + total) // 2)
        look(answer, [(step, total, peak, warmup) for step in steps], portrait(total, peak, warmup))


@probe
def needs_gradient(objects, name, arguments):
    """Tell whether what the function returns is a tensor that records gradients."""
    value = objects[name](*arguments)
    return isinstance(value, torch.Tensor) and value.requires_grad


@EXERCISE.finding("one number", points=1)
def one_number(answer, draw):
    """The type, and that the same call gives the same."""
    total, peak = training(draw)
    for step in (0, 1, total // 4, total - 1, total):
        call = f"{NAME}({step}, {total}, {peak})"
        first, second = (real(answer, NAME, (step, total, peak)) for _ in range(2))
        if not math.isfinite(first):
            raise Wrong(call, cause=f"expected a finite number, got {shown(first)}.")
        if first != second:
            raise Wrong(call, cause=f"called twice, it gave {shown(first)} and then {shown(second)}. "
                        "Is something kept between calls?")
        if answer.ask(needs_gradient, name=NAME, arguments=[step, total, peak]):
            raise Wrong(call, cause="expected a float, got a tensor that requires gradients. A rate needs none.")
