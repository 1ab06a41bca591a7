"""Answers to exercise schedule."""

import math

import numpy
import torch

from tests.answers import Answers


def one_cycle(step, total_steps, warmup=0.25):
    at = warmup * total_steps
    return step / at if step < at else (total_steps - step) / (total_steps - at)


def step_decay(step, total_steps):
    return 0.1 ** sum(step >= milestone * total_steps for milestone in (0.5, 0.75))


ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def triangle(step, at, total_steps, peak):
    """Rise to a peak at any step, then fall."""
    return peak * (step / at if step < at else (total_steps - step) / (total_steps - at))


@right
class two_pieces:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        peak_step = warmup * total_steps
        if step < peak_step:
            return peak * step / peak_step
        return peak * (total_steps - step) / (total_steps - peak_step)


@right
class the_smaller_of_two_lines:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        share = step / total_steps
        return peak * min(share / warmup, (1 - share) / (1 - warmup))


@right
class NumPy_interpolation:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return numpy.interp(step, [0, warmup * total_steps, total_steps], [0, peak, 0])


@right
class a_float32_tensor:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        print("step", step)
        corner = torch.tensor(total_steps) * warmup
        fall = peak * (1 - (step - corner) / (total_steps - corner))
        return torch.where(step < corner, step * (peak / corner), fall)


@right
class slope_by_slope_with_a_whole_zero:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        if step in (0, total_steps):
            return 0
        up, down = peak / (warmup * total_steps), peak / (total_steps * (1 - warmup))
        return step * up if step <= warmup * total_steps else peak - (step - warmup * total_steps) * down


@wrong("The peak's step is rounded")
class the_peaks_step_cut_off:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return triangle(step, int(warmup * total_steps), total_steps, peak)


@wrong("The peak's step is rounded")
class the_peaks_step_rounded:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return triangle(step, max(1, round(warmup * total_steps)), total_steps, peak)


@wrong("The peak's step is rounded")
class the_peaks_step_rounded_up:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return triangle(step, math.ceil(warmup * total_steps), total_steps, peak)


@wrong("The fall is a cosine")
class a_cosine_down:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        if step < at:
            return peak * step / at
        return peak * (1 + math.cos(math.pi * (step - at) / (total_steps - at))) / 2


@wrong("These are cosines")
class cosines_both_ways:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * (1 - math.cos(math.pi * one_cycle(step, total_steps, warmup))) / 2


@wrong("The fall is a square")
class a_parabola_down:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        share = one_cycle(step, total_steps, warmup)
        return peak * (share if step < warmup * total_steps else share**2)


@wrong("stays at its peak after the warm-up")
class constant_after_the_warm_up:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * min(1.0, step / (warmup * total_steps))


@wrong("goes on rising after the peak")
class rising_without_end:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * step / (warmup * total_steps)


@wrong("The fall goes in steps")
class steps_after_the_warm_up:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * (step_decay(step, total_steps) if step >= warmup * total_steps else step / warmup / total_steps)


@wrong("This is the step schedule")
class the_step_schedule:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * step_decay(step, total_steps)


@wrong("// cuts off")
class whole_division:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (step // at) if step < at else peak * ((total_steps - step) // (total_steps - at))


@wrong("// cuts off")
class whole_division_in_the_fall:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * step / at if step < at else peak * ((total_steps - step) // (total_steps - at))


@wrong("Does // cut everything off?")
class whole_division_of_the_peak:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * step // at if step < at else peak * (total_steps - step) // (total_steps - at)


@wrong("This is one step ahead")
class one_step_ahead:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * one_cycle(step + 1, total_steps, warmup)


@wrong("This is one step ahead")
class one_step_ahead_in_the_warm_up:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (step + 1) / at if step < at else triangle(step, at, total_steps, peak)


@wrong("This is one step behind")
class one_step_behind:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * max(0, one_cycle(step - 1, total_steps, warmup))


@wrong("one step early")
class zero_at_the_last_step_but_one:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * one_cycle(step, total_steps - 1, warmup)


@wrong("The fall ends at total_steps − 1")
class a_fall_that_ends_early:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (step / at if step < at else (total_steps - 1 - step) / (total_steps - 1 - at))


@wrong("at the start, got")
class a_smallest_rate:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * max(1e-6, one_cycle(step, total_steps, warmup))


@wrong("as PyTorch's OneCycleLR does")
class PyTorchs_start:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (0.04 + 0.96 * step / at) if step < at else triangle(step, at, total_steps, peak)


@wrong("The warm-up is missing")
class a_fall_only:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * (1 - step / total_steps)


@wrong("This divides the fall by total_steps")
class a_fall_over_all_steps:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (step / at if step < at else (total_steps - step) / total_steps)


@wrong("This divides the rise by total_steps")
class a_rise_over_all_steps:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * step / total_steps if step < at else triangle(step, at, total_steps, peak)


@wrong("count its steps from there")
class a_fall_counted_from_the_start:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (step / at if step < at else 1 - step / (total_steps - at))


@wrong("it is the rise that should")
class the_warm_up_at_the_end:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * one_cycle(step, total_steps, 1 - warmup)


@wrong("The peak is half-way")
class a_peak_half_way:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * one_cycle(step, total_steps, 0.5)


@wrong("Use warmup.")
class always_a_quarter:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * one_cycle(step, total_steps)


@wrong("warmup is a share of the steps")
class warmup_taken_as_a_step:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return triangle(step, warmup, total_steps, peak)


@wrong("Multiply by peak")
class a_share_of_the_peak:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return one_cycle(step, total_steps, warmup)


@wrong("multiplied by peak twice")
class the_peak_twice:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * peak * one_cycle(step, total_steps, warmup)


@wrong("ZeroDivisionError")
class the_shortest_training_divides_by_zero:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return peak * one_cycle(step, total_steps, warmup) * (total_steps - 1) / (total_steps - 1)


@wrong("a tensor that requires gradients")
class a_tensor_that_records_gradients:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return torch.tensor(peak, requires_grad=True) * one_cycle(step, total_steps, warmup)


@wrong("got a tensor of shape (1,)")
class a_tensor_of_one_number:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return torch.tensor([peak * one_cycle(step, total_steps, warmup)])


@wrong("got a list")
class the_whole_schedule:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return [peak * one_cycle(i, total_steps, warmup) for i in range(total_steps + 1)]


@wrong("expected one number, got '")
class a_text:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return f"{peak * one_cycle(step, total_steps, warmup):.6f}"


@wrong("Is something kept between calls?")
class steps_counted_between_calls:
    def learning_rate(step, total_steps, peak, warmup=0.25, calls=[]):  # noqa: B006
        calls.append(step)
        return peak * one_cycle(len(calls) % total_steps, total_steps, warmup)


@wrong("All inputs that were tried gave the same")
class hard_coded_for_the_example:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return 0.1


@wrong("Is there a return?")
class a_return_forgotten_in_one_branch:
    def learning_rate(step, total_steps, peak, warmup=0.25):  # noqa: RET503
        if step < warmup * total_steps:
            return peak * step / (warmup * total_steps)


@wrong("got nan")
class not_a_number:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        return float("nan")


@wrong("takes 3 positional arguments but 4 were given")
class warmup_cannot_be_chosen:
    def learning_rate(step, total_steps, peak):
        return peak * one_cycle(step, total_steps)


@wrong("is there a loop that never ends?")
class an_endless_loop:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        rate = 0.0
        while rate != peak:
            rate += 0.3
        return rate


@wrong("ends at a tenth of the peak")
class the_fall_ends_at_a_tenth:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (step / at if step < at else 1 - 0.9 * (step - at) / (total_steps - at))


@right
class the_scheduler_of_PyTorch_with_a_function:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
        rates = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda i: i / at if i < at else (total_steps - i) / (total_steps - at))
        for _ in range(step):
            optimizer.step()
            rates.step()
        return rates.get_last_lr()[0]


@wrong("This is PyTorch's OneCycleLR")
class the_one_cycle_of_PyTorch:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at, low, end = warmup * total_steps, peak / 25, peak / 25 / 1e4
        if step < at:
            return low + (peak - low) * step / at
        return end + (peak - end) * (total_steps - step) / (total_steps - at)


@wrong("This divides the fall by total_steps")
class a_fall_over_all_steps_after_the_peak:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * step / at if step <= at else peak * (1 - step / total_steps)


@wrong("The rise is a square")
class a_parabola_up:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * (step / at) ** 2 if step < at else peak * (total_steps - step) / (total_steps - at)


@wrong("The fall is a curve")
class an_exponential_down:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return peak * step / at if step < at else peak * math.exp(-5 * (step - at) / (total_steps - at))


@wrong("The result is rounded")
class rounded_to_two_places:
    def learning_rate(step, total_steps, peak, warmup=0.25):
        at = warmup * total_steps
        return round(peak * (step / at if step < at else (total_steps - step) / (total_steps - at)), 2)
