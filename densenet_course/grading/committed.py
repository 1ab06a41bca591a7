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

import operator

import torch
from torch import nn

from densenet_course.grading.operations import EMPTY, MAX_CONSTANT, Refused, is_allowed

NORMS = "batch_norm.", "instance_norm."


def play(program, inputs, constants):
    """Play a list of operations.

    Args:
        program: from ``trace``; whatever it holds, nothing but allowed operations is done.
        inputs: tensors: the images, the parameters, the buffers.
        constants: a dict that keeps the program's constants from call to call.

    Returns:
        A tensor.

    Raises:
        Refused: this is no list that can be played.
    """
    try:
        operations, result = program["operations"], program["result"]
        if program["inputs"] != len(inputs):
            raise Refused("it takes other tensors than the module has")
        values = list(inputs)
        perform(operations, values, constants)
        output = resolve(result, values)
    except (Refused, RuntimeError):  # ours; and PyTorch's own words for what the module does
        raise
    except Exception as error:
        raise Refused(f"no list of operations: {type(error).__name__}: {error}") from None
    if type(output) is not torch.Tensor:
        raise Refused("its result is no tensor")
    return output


def perform(operations, values, constants):
    """Perform operations, and append what each makes to the values that later ones may refer to."""
    gradients, autocast = torch.is_grad_enabled(), _autocast()
    try:
        for name, arguments, named in operations:
            values.append(_do(name, arguments, named, values, constants))
    finally:
        torch.set_grad_enabled(gradients)
        _autocast(*autocast)


def _do(name, arguments, named, values, constants):
    if name == "gradients":
        return torch.set_grad_enabled(arguments[0] is True) and None
    if name == "constant":
        return _constant(constants, *arguments)
    arguments = resolve(arguments, values)
    if name == "autocast":
        return _autocast(*arguments[0] if len(arguments) == 1 else arguments)
    if name == "item":
        return operator.getitem(*arguments)
    space, operation, overload = name.split(".")
    if space != "aten" or not is_allowed(operation, overload):
        raise Refused(f"the operation {name[:60]} is not allowed")
    named = {key: resolve(value, values) for key, value in named.items() if value != {"kept": ""}}
    made = getattr(getattr(torch.ops.aten, operation), overload)(*arguments, **named)
    return made.zero_() if operation in EMPTY else made


def _autocast(device="", kind=None, enabled=None, *_):
    """Switch autocast of the CPU, that of no other device; return what it was before, as the arguments to go back."""
    before = "cpu", torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")
    if device == "cpu":
        if kind not in (torch.bfloat16, torch.float16):
            raise Refused("autocast to no such type")
        torch.clear_autocast_cache()  # weights of an earlier step have no place in a later one
        torch.set_autocast_dtype("cpu", kind)
        torch.set_autocast_enabled("cpu", enabled is True)
    return before


def _constant(constants, kind, shape, numbers, trainable=False):
    if len(numbers) > MAX_CONSTANT:
        raise Refused("a constant is too large")
    if not isinstance(getattr(torch, kind, None), torch.dtype):
        raise Refused("a constant of no type")
    key = repr((kind, shape, numbers)), trainable is True
    if key not in constants:
        constants[key] = torch.tensor(numbers, dtype=getattr(torch, kind)).reshape(shape)
    return constants[key].clone()


def places(written):
    """Return the places of all values that a piece of a list refers to."""
    if isinstance(written, dict):
        own = {item for key, item in written.items() if key == "#" and type(item) is int}
        return own.union(*map(places, written.values()))
    return set().union(*map(places, written)) if isinstance(written, list | tuple) else set()


def resolve(value, values):
    """Return a plain value with the tensors that it refers to."""
    if type(value) is list:
        return [resolve(item, values) for item in value]
    if type(value) is not dict:
        return value
    (key, item), = value.items()
    if key == "dtype":
        return {str(kind)[6:]: kind for kind in (torch.float32, torch.float64, torch.bfloat16, torch.float16,
                                                 torch.int64, torch.int32, torch.uint8, torch.bool)}[item]
    if key == "device":
        return torch.device("cpu")
    return None if key == "kept" else values[item] if type(item) is int and item >= 0 else values["?"]


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
        self.number, self.lazy = described["number"], described["lazy"]
        self._parameters.clear(), self._buffers.clear()
        self.names, self.needless = {"parameters": [], "buffers": []}, described.get("needless", [])
        if self.lazy:
            self._parameters["unsettled"], self.names["parameters"] = nn.UninitializedParameter(), ["unsettled"]
        for i, (name, value, trained, place) in enumerate(described["parameters"]):
            self._parameters[f"p{i}"] = self.source.shared(place, lambda v=value, t=trained: nn.Parameter(
                v.clone(), requires_grad=t is True))
            self.names["parameters"].append(str(name))
        for i, (name, value, _, place) in enumerate(described["buffers"]):
            self._buffers[f"b{i}"] = self.source.shared(place, value.clone)
            self.names["buffers"].append(str(name))

    def named_parameters(self, *_, **__):
        """Yield the student's names with the judge's parameters."""
        yield from zip(self.names["parameters"], self._parameters.values(), strict=True)

    def named_buffers(self, *_, **__):
        """Yield the student's names with the judge's buffers."""
        yield from zip(self.names["buffers"], self._buffers.values(), strict=True)

    def named_modules(self, *_, **__):
        """Yield itself, and a part for each bias that could be left out."""
        yield "", self
        for name in self.needless:
            part = nn.Linear.__new__(nn.Linear)
            nn.Module.__init__(part)
            yield name.removesuffix("bias").removesuffix("."), part

    def forward(self, images):
        """Play the list for this shape and mode."""
        if self.lazy:
            self.describe(self.source.settle(self.number, tuple(images.shape)))
        key = tuple(images.shape), self.training
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
        return list(once.values())

    def _statistics(self):
        """Return the places of the buffers that BatchNorm alone reads, and of its counters."""
        first = 1 + len(self._parameters)
        steps = [step for program in self.programs.values() for step in program["operations"]]
        read = {True: set(), False: set()}  # by whether as the running mean or variance
        for name, arguments, named in steps:
            running = name.partition(".")[2].startswith(NORMS)
            for number, argument in enumerate(arguments):
                read[running and number in (3, 4)] |= places(argument)
            read[False] |= places(named)
        counters = {place for place, value in enumerate(self._buffers.values(), first)
                    if not value.ndim and not value.is_floating_point()}
        return counters | (read[True] - read[False])
