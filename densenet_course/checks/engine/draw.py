"""Fresh random numbers for a check, and what its findings share."""

import random
import secrets

import torch

from densenet_course.checks.engine.answer import Unjudged
from densenet_course.checks.engine.wrong import Complaint


class Draw:
    """Fresh random numbers for one check.

    Args:
        seed: for a report that can be repeated; by default another one each time.

    Attributes:
        findings: the names of the check's findings, in order.
        finding: the one that is looked for at present.
        inquiries: what is known of the answer's mistakes so far, by ``mistakes.Solution``.
    """

    def __init__(self, seed=None):
        self.seed = secrets.randbits(31) if seed is None else seed
        self.random = random.Random(self.seed)
        self.generator = torch.Generator().manual_seed(self.seed)
        self.findings, self.finding, self.inquiries = [], "", {}

    def integer(self, low, high):
        """Return a whole number, low ≤ n ≤ high."""
        return self.random.randint(low, high)

    def sample(self, low, high, count):
        """Return ``count`` different whole numbers, low ≤ n ≤ high."""
        return self.random.sample(range(low, high + 1), count)

    def normal(self, *shape, scale=1.0, shift=0.0):
        """Return a float32 tensor of normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float32) * scale + shift

    def maps(self, *shape, contrast=1.0, spread=1.0, each_image=False):
        """Draw maps (N, C, H, W) whose channels differ in mean and contrast, as after a convolution.

        Args:
            shape: N, C, H, W.
            contrast: a typical standard deviation within a channel; small ones show a wrong epsilon.
            spread: how much contrasts differ.
            each_image: True to let the images differ in the same way.
        """
        each = (shape[0] if each_image else 1), shape[1], 1, 1
        return self.normal(*shape) * contrast * self.normal(*each, scale=spread).exp() + self.normal(*each)


class Trial(Draw):
    """One judging of an answer, handed to every finding: fresh numbers, and what the findings share.

    Args:
        seed: see ``Draw``.

    Attributes:
        shared: what one finding leaves to the next, by a key of its own.
        measured: what the report is to carry, by name, plain values.
    """

    def __init__(self, seed=None):
        super().__init__(seed)
        self.shared, self.measured = {}, {}

    def once(self, function, answer):
        """Call a function (answer, trial) the first time; later give what came then, or raise it again."""
        if function not in self.shared:
            try:
                self.shared[function] = function(answer, self), None
            except (Complaint, Unjudged) as error:
                self.shared[function] = None, error
        value, error = self.shared[function]
        if error is not None:
            raise error
        return value
