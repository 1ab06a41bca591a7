"""The budget of the capstone's training, counted in steps of a reference network that is timed beside the answer."""

import time

import torch
import torch.nn.functional as F

from densenet_course.models import class_densenet
from densenet_course.training import make_optimizer
from densenet_course.training.schedules import one_cycle

BATCH_SIZE, PEAK_RATE = 128, 0.2
BETWEEN = 12  # reference steps' worth of the answer's time between two of them: a twelfth of the time goes there
WARM_UP = 3  # steps of each network that are not representative: the first ones choose and prepare kernels


class Reference:
    """Train lesson 07's class network on noise, and time its steps.

    A CPU second buys less on a slow machine, and less on a busy one, whose neighbours fill caches and share cores. It
    buys less of both networks then, so the quotient of their times stays.

    Args:
        precision: a ``Precision``, as in the answer's training.
    """

    def __init__(self, precision):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = class_densenet().to(memory_format=precision.memory_format)
            self.images = torch.randn(BATCH_SIZE, 1, 28, 28).contiguous(memory_format=precision.memory_format)
            self.labels = torch.arange(BATCH_SIZE) % 10
        self.optimizer, self.precision = make_optimizer(self.model, peak_rate=PEAK_RATE), precision
        for _ in range(WARM_UP):
            self._train()
        self.seconds = self.steps = 0

    def _train(self):
        with self.precision.autocast(self.images.device):
            loss = F.cross_entropy(self.model(self.images), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def step(self):
        """Train one step and time it."""
        start = time.process_time()
        self._train()
        self.seconds += time.process_time() - start
        self.steps += 1

    @property
    def seconds_a_step(self):
        """CPU seconds of a step, mean over all that were timed; it takes one where none was."""
        if not self.steps:
            self.step()
        return self.seconds / self.steps


class Clock:
    """Set the learning rate by the share of the budget that is used; ``train_one_epoch`` takes it as a scheduler.

    Args:
        optimizer: its learning rate is set, along one cycle.
        reference: a ``Reference``; after every so many steps of the answer it takes one.
        start: ``time.process_time()`` when the answer's time began.
        budget: what the training may cost, in steps of the reference.
        max_images: images, counted anew in every epoch, that it may see.
    """

    def __init__(self, optimizer, reference, start, budget, max_images):
        self.optimizer, self.reference, self.budget, self.max_images = optimizer, reference, budget, max_images
        self.mark, self.seconds, self.images, self.every = start, 0.0, 0, 2 * WARM_UP
        self._count_time()
        self._set_rate()
        self.mark = time.process_time()  # what the reference took is not the answer's

    @property
    def used(self):
        """What the answer has cost so far, in steps of the reference."""
        return self.seconds / self.reference.seconds_a_step

    @property
    def share(self):
        """How much of the budget is used; 1 when it is over."""
        return max(self.used / self.budget, self.images / self.max_images)

    def step(self):
        """Count a batch."""
        self._count_time()
        self.images += BATCH_SIZE
        steps = self.images // BATCH_SIZE
        if steps == 2 * WARM_UP:  # by steps, not by time: slow hours then count in both means by the same weight
            self.every = max(1, round(BETWEEN * self.reference.seconds_a_step * steps / self.seconds))
        if steps % self.every == 0:
            self.reference.step()
        self._set_rate()
        if steps % 20 == 0:  # a loss that is NaN makes the weights so, and the rest is in vain
            for group in self.optimizer.param_groups:
                if not all(torch.isfinite(p).all() for p in group["params"]):
                    raise FloatingPointError
        self.mark = time.process_time()

    def _count_time(self):
        now = time.process_time()
        self.seconds, self.mark = self.seconds + now - self.mark, now

    def _set_rate(self):
        for group in self.optimizer.param_groups:
            group["lr"] = PEAK_RATE * one_cycle(min(self.share, 1.0), 1.0)

    def batches(self, data):
        """Yield batches, epoch after epoch, until the budget is used up."""
        while True:
            for batch in data:
                if self.share >= 1:
                    return
                yield batch
