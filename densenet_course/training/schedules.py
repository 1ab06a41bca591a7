"""Learning-rate schedules, as the share of the peak rate at each step."""

import bisect
from functools import partial


def one_cycle(step, total_steps, warmup=0.25):
    """Rise linearly from 0 to 1 during the warm-up, then fall linearly to 0 at the end.

    Args:
        step: 0 … total_steps.
        total_steps: steps of the whole training.
        warmup: share of the steps that rises, 0 < warmup < 1.

    Source: Smith and Topin 2018, the triangular form.
    """
    peak_step = warmup * total_steps
    if step < peak_step:
        return step / peak_step
    return (total_steps - step) / (total_steps - peak_step)


def step_decay(step, total_steps, milestones=(0.5, 0.75), factor=0.1):
    """Hold 1, then multiply by ``factor`` at each milestone (a share of the steps), as the paper trains on CIFAR.

    Source: Huang et al. 2017, section 4.2.
    """
    return factor ** bisect.bisect_right(milestones, step / total_steps)


def constant(step, total_steps):
    """Hold 1 to the end: what the other schedules are compared with."""
    return 1.0


SCHEDULES = {
    "one_cycle": one_cycle,
    "step": step_decay,
    "imagenet": partial(step_decay, milestones=(1 / 3, 2 / 3)),  # the paper's 90 epochs: a tenth at 30, again at 60
    "constant": constant,
}
