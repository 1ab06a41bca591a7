"""Let torch import what optimizers and checkpoints need before an answer's time is measured."""

import torch

from densenet_course.checks.answer import probe


@probe
def warm_up(objects):
    """Build an optimizer: the first one in a process makes torch import its compiler, which takes seconds."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).zero_grad()


def prepare(answer):
    """Warm the answer's side up. None of the learner's code runs, so the time limit may be long."""
    answer.ask(warm_up, cpu_seconds=60.0)
