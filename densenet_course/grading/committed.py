"""Commit, then challenge: a module is turned into a list of operations before the judge draws a number.

The cell runs a module's forward pass on decoys for a shape and a mode, and writes down ATen's operations, as plain
values (``tracing``). The judge's *player*, a cell that never runs a student's code, plays that list with the judge's
weights, images and autograd. So outputs, gradients, parameters, changes in place and statistics are measured, and
claimed by nobody.

A list says what happens for one shape and mode, whatever the numbers are. Each is made twice from other decoys: a
module that keeps something between calls shows itself, and one that chooses by its numbers, for each look at them is
told something else once. What no list can say is ``Refused``, and the judge goes back to asking the module itself. A
backward pass of the module's own (autograd functions, saved-tensor hooks) is refused, too, unless lists are all that is
judged.
"""

import torch
from torch import nn

from densenet_course.grading.operations import Refused
from densenet_course.grading.playing import numbers, places, play

NORMS = "batch_norm.", "instance_norm."
PARTS = {"convolution": nn.Conv2d, "linear": nn.Linear, "norm": nn.BatchNorm2d}
FEW = 1_000  # numbers among the arguments of a network's lists: sizes, strides and rates


class Committed(nn.Module):
    """What the player holds in place of a student's module.

    Args:
        described: of the module, see ``_describe``.
        source: asks the student's cell, see ``Source``.
    """

    def __init__(self, described, source):
        super().__init__()
        self.source, self.programs, self.constants = source, {}, {}
        self.training = described["training"] is True
        self.describe(described)

    def describe(self, described):
        """Take parameters and buffers over."""
        self.number, self.lazy, self.parts = described["number"], described["lazy"], described.get("parts", [])
        self._parameters.clear(), self._buffers.clear(), self.programs.clear()
        self.names, self.left_out = {"parameters": [], "buffers": []}, frozenset()
        if self.lazy:
            self._parameters["unsettled"], self.names["parameters"] = nn.UninitializedParameter(), ["unsettled"]
        for i, (name, value, trained, place) in enumerate(described["parameters"]):
            self._parameters[f"p{i}"] = self.source.shared(place, lambda v=value, t=trained: nn.Parameter(
                v.clone(), requires_grad=t is True))
            self.names["parameters"].append(str(name))
        for i, (name, value, _, place) in enumerate(described["buffers"]):
            self._buffers[f"b{i}"] = self.source.shared(place, value.clone)
            self.names["buffers"].append(str(name))
        for names in self.names.values():
            if len(set(names)) < len(names):
                raise self.source.refuse(Refused("two of its tensors have one name"))

    def named_parameters(self, *_, **__):
        """Yield the student's names with the judge's parameters."""
        for name, value in zip(self.names["parameters"], self._parameters.values(), strict=True):
            if name not in self.left_out:
                yield name, value

    def named_buffers(self, *_, **__):
        """Yield the student's names with the judge's buffers."""
        yield from zip(self.names["buffers"], self._buffers.values(), strict=True)

    def named_modules(self, *_, **__):
        """Yield itself, and what shows by its kind that a part is a convolution, a linear layer or a normalisation."""
        yield "", self
        for name, kind in self.parts:
            part = PARTS[kind].__new__(PARTS[kind])
            nn.Module.__init__(part)
            yield name, part

    def mend_biases(self):
        """Do as ``mend_biases`` of exercise densenet121: leave convolutions' biases out, have one in linear layers."""
        biases = {f"{name}.bias".removeprefix("."): kind for name, kind in self.parts}
        if any(kind == "linear" and name not in self.names["parameters"] for name, kind in biases.items()):
            self.describe(self.source.mend(self.number))
        self.left_out = {name for name in self.names["parameters"] if biases.get(name) == "convolution"}
        with torch.no_grad():
            for name, value in zip(self.names["parameters"], self._parameters.values(), strict=True):
                if name in self.left_out:
                    value.zero_()

    @property
    def mode(self):
        """Return what a list is for, beside a shape."""
        return self.training

    def forward(self, images):
        """Play the list for this shape and mode."""
        if self.lazy:
            self.describe(self.source.settle(self.number, tuple(images.shape)))
        key = tuple(images.shape), self.mode
        if key not in self.programs:
            self.programs[key] = self.source.program(self.number, *key)
        try:
            return play(self.programs[key], [images, *self._parameters.values(), *self._buffers.values()],
                        self.constants)
        except Refused as error:  # of ours, and no fault of the module's: the student must be asked
            self.source.refuse(error)
            raise

    def holdings(self):
        """List the numbers that it holds, as ``checks.exercises.capstone.holdings`` does of a module in a notebook."""
        statistics = self._statistics()
        own = [("trained" if value.requires_grad else "frozen", value) for value in self._parameters.values()]
        own += [("statistics" if place in statistics else "buffer", value)
                for place, value in enumerate(self._buffers.values(), 1 + len(own))]
        own += [("lost" if trainable else "hidden", value) for (_, trainable), value in self.constants.items()]
        once = {id(value): (kind, tuple(value.shape)) for kind, value in own}  # tied ones are one and the same
        arguments = numbers([step[1:2] for step in self._steps() if step[0] != "constant"])
        return [*once.values(), *[("hidden", (len(arguments),))] * (len(arguments) > FEW)]

    def _steps(self):
        return [step for program in self.programs.values() for step in program["operations"]]

    def _statistics(self):
        """Return the places of the buffers that BatchNorm alone reads, and of its counters."""
        first = 1 + len(self._parameters)
        read = {True: set(), False: set()}  # by whether as the running mean or variance
        for name, arguments, named in self._steps():
            running = name.partition(".")[2].startswith(NORMS)
            for number, argument in enumerate(arguments):
                read[running and number in (3, 4)] |= places(argument)
            read[False] |= places(named)
        counters = {place for place, value in enumerate(self._buffers.values(), first)
                    if not value.ndim and not value.is_floating_point()}
        return counters | (read[True] - read[False])


class Prepared(Committed):
    """What the player holds in place of a network that the learner's function has prepared.

    What ``train()`` and ``eval()`` do is the network's own affair: they are called in the student's cell, and a list is
    for all the calls so far.
    """

    def __init__(self, described, source):
        super().__init__(described, source)
        self.calls = ()

    @property
    def mode(self):
        """See ``Committed.mode``."""
        return self.calls

    def train(self, mode=True):
        """Call ``train()`` or ``eval()``; what the network says then is ``told``."""
        self.told = self.source.switch(self.number, mode)
        self.calls += (mode,)
        return self
