"""Judge layers and networks of several parts: what bottleneck, densenet and densenet121 share."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import probe
from densenet_course.checks.engine.explain import NETWORK, Explaining
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds.modules import ModuleCase

MISFIT = "the check's weights do not fit into your parameters. Mend “parameters” first."
DROPOUT = "the same images gave two different outputs. Is a Dropout left in?"
RUNNING = "BatchNorm uses its running statistics in train mode too; expected the batch's."
BATCH = "BatchNorm uses the batch's statistics in eval mode too; expected the running ones."


@dataclass(frozen=True)
class NetworkCase(ModuleCase):
    """How a layer or network is tried: as ``ModuleCase``, but biases cost no values, and errors are explained."""

    def play(self, answer, draw, *steps, load=True):
        """Play a script as ``ModuleCase.play`` does, on both sides without the convolutions' biases."""
        return super().play(Mended(answer), draw, *steps, load=load)

    def repeatable(self, answer, draw):
        """In train mode too the output depends on the images alone: no dropout, nothing else left to chance."""
        images = self.images(draw, arguments := self.arguments(draw))
        run = {"do": "run", "images": images, "train": True}
        case = replace(self, arguments=lambda draw: arguments, suspects=())
        _, (first, second), _ = case.play(answer, draw, run, run)
        first, second = first["output"], second["output"]
        if first.shape == second.shape and torch.isfinite(first).all() and not torch.equal(first, second):
            raise Wrong("output in train mode", cause=DROPOUT)

    def finding(self, *methods):
        """Make a finding of some methods: known mistakes are tried only where something is wrong, to save time."""

        def look(answer, draw):
            for method in methods:
                try:
                    getattr(replace(self, suspects=()), method)(answer, draw)
                except Wrong as error:
                    self._name(error, method, answer, draw)

        return look

    def _name(self, error, method, answer, draw):
        try:
            getattr(self, method)(answer, draw)
        except Wrong as named:
            error = named
        else:
            if method == "gradients":  # rounding has switched a ReLU, which changes a gradient a lot
                return
        if error.where and not error.cause and self._misfit(answer, draw):
            raise Wrong(error.what, cause=MISFIT)
        raise error

    def _misfit(self, answer, draw):
        try:
            self.parameters(Mended(answer), draw)
        except Wrong:
            return True
        return False


def always(build, *, training):
    """Build networks that do not follow train() and eval(): suspects."""

    class Always(nn.Module):
        def __init__(self, *arguments):
            super().__init__()
            self.inner = build(*arguments)

        def forward(self, images):
            return self.inner.train(training)(images)

    return Always


class Mended(Explaining):
    """An answer whose modules are played with ``play_mended``, and whose errors are explained.

    Args:
        answer: an ``Answer``.
    """

    def __init__(self, answer):
        super().__init__(answer, NETWORK)

    def ask(self, probe, **request):
        """See ``Answer.ask``."""
        return super().ask(play_mended if probe is probes.play else probe, **request)


@probe
def play_mended(objects, name, arguments, script, keywords=None, seed=0):
    """Play a script as ``probes.play`` does, but right after its first step ("warm up") mend the biases."""
    torch.manual_seed(seed)
    module = probes.build(objects, name, arguments, keywords)
    replies = probes.perform_script(module, script[:1])
    mend_biases(module)
    return replies + probes.perform_script(module, script[1:])


def mend_biases(module):
    """Take the convolutions' biases away and give every linear layer one, so that they cost parameters, not values."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.bias = None
        elif isinstance(part, nn.Linear) and part.bias is None:
            part.bias = nn.Parameter(torch.zeros(part.out_features))
