"""Probes that most checks use: is it there, call it, build a module and play a script with it."""

import dis
import inspect
import math
import operator
import types

import torch
from torch import nn

from densenet_course.checks.engine import copies
from densenet_course.checks.engine.answer import AnswerError, kind_of, probe
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.checks.engine.own_work import foreign_parts, foreign_to, refusal

READY, STUB, MISSING = "ready", "stub", "missing"
RULES = "rules of own work"  # beside the learner's objects; no name of theirs


@probe
def status(objects, name):
    """Tell whether a name is MISSING, still the STUB of the exercise, or READY to be judged."""
    if name not in objects:
        return MISSING
    return STUB if is_stub(objects[name]) else READY


def is_stub(value):
    """Tell whether an object is still what the exercise hands out: ``...``, or a body of ``...``."""
    if value is ... or value is None:
        return True
    kind = type(value)
    if kind in (staticmethod, classmethod):
        return is_stub(value.__func__)
    if issubclass(kind, type):
        return kind is type and _is_stub_class(value)
    return kind is types.FunctionType and _body(value) in _EMPTY_BODIES


def _is_stub_class(kind):
    """Tell whether a class has no code of its own, nor inherits any; only ``forward`` counts where there is one."""
    own = {name: value for name, value in vars(kind).items() if name not in _OF_EVERY_CLASS}
    if "forward" in own:
        return is_stub(own["forward"])
    inherits = any(base not in (object, nn.Module) for base in kind.__mro__[1:])
    return not inherits and all(map(is_stub, own.values()))


class _Bare:
    """What every class has: its name, its documentation and the like."""

    field: int


_OF_EVERY_CLASS = frozenset(vars(_Bare))


def _body(function):
    """Return what a function does, without its name, arguments and docstring."""
    constants = {c for c in function.__code__.co_consts if c is not None and not isinstance(c, str)}
    return [step.opname for step in dis.get_instructions(function)], function.__code__.co_names, constants


def _empty():
    ...


def _not_implemented():
    raise NotImplementedError


def _not_implemented_call():
    raise NotImplementedError()


class _Empty(nn.Module):
    def __init__(self):
        super().__init__()
        ...


_EMPTY_BODIES = [_body(f) for f in (_empty, _not_implemented, _not_implemented_call, _Empty.__init__)]


@probe
def own_work(objects, name, given, refused, lesson):
    """Look for work of others in what a name holds, and from now on in every network that ``build`` makes.

    The lesson's own cell, word for word, is work of others too.

    Args:
        objects: the learner's objects.
        name: which of them.
        given, refused: see ``own_work.foreign_to``.
        lesson: the stem of the lesson that shows how.

    Returns:
        What to say to the learner, or "".
    """
    objects[RULES] = given, refused, lesson
    found = foreign_to(objects[name], given, refused)
    if found:
        return refusal(found, lesson)
    return copies.REFUSAL if copies.is_lessons_cell(name, objects[name]) else ""


@probe
def call(objects, name, arguments, result, keywords=None):
    """Call a function.

    Args:
        objects: the learner's objects.
        name: which of them.
        arguments: positional arguments.
        result: what it should return: "int", "float" or "ints" (a list).
        keywords: keyword arguments.

    Returns:
        {"result": the plain value, "arguments": the arguments after the call}
    """
    value = objects[name](*arguments, **(keywords or {}))
    return {"result": RESULTS[result](value), "arguments": arguments}


def as_int(value):
    """Return any integral number as an ``int``.

    Raises:
        AnswerError: it is none; a whole float gets its own message.
    """
    if isinstance(value, torch.Tensor) and value.ndim:
        raise AnswerError(f"expected one whole number, got {kind_of(value)}")
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        number = float(None if isinstance(value, str | bytes) else value)
    except Exception:
        raise AnswerError("", "a whole number (int)", _shown(value), returned_nothing(value)) from None
    if not math.isfinite(number):
        raise AnswerError(f"expected a whole number (int), got {number}.")
    if number == math.floor(number):
        raise AnswerError(f"expected a whole number (int), got the float {number}. Use // where you divide.")
    raise AnswerError(f"expected a whole number (int), got the float {number:g}. Use // where you divide.")


def as_float(value):
    """Return a Python or NumPy number or a 0-dim tensor as a ``float``.

    Raises:
        AnswerError: it is none.
    """
    if isinstance(value, str | bytes) or (isinstance(value, torch.Tensor) and value.ndim):
        raise AnswerError(f"expected one number, got {_shown(value)}")
    try:
        return float(value)
    except Exception:
        raise AnswerError("", "one number (float)", _shown(value), returned_nothing(value)) from None


def as_ints(value):
    """Return a list or tuple of integral numbers as a list of ``int``.

    Raises:
        AnswerError: it is none.
    """
    if not isinstance(value, list | tuple):
        hint = "Wrap it in list(...)." if inspect.isgenerator(value) else returned_nothing(value)
        raise AnswerError("", "a list of whole numbers", _shown(value), hint)
    return [as_int(item) for item in value]


RESULTS = {"int": as_int, "float": as_float, "ints": as_ints}


def _shown(value):
    return kind_of(value) if value is None or value is ... or not isinstance(value, int | float | str) else repr(value)


@probe
def play(objects, name, arguments, script, keywords=None, seed=0):
    """Build one module with the learner's class or function, and play a script with it.

    Args:
        objects: the learner's objects.
        name: which of them.
        arguments: positional arguments to build it.
        script: the steps, see ``perform_script``.
        keywords: keyword arguments to build it.
        seed: of the start values.

    Returns:
        One reply for each step.
    """
    torch.manual_seed(seed)
    return perform_script(build(objects, name, arguments, keywords), script)


def build(objects, name, arguments, keywords=None):
    """Build one module.

    Raises:
        AnswerError: what comes out is no module.
    """
    if isinstance(objects[name], nn.Module):
        raise AnswerError(f"{name} is a module already; expected a class or function that builds a new one each time")
    module = objects[name](*arguments, **(keywords or {}))
    if isinstance(module, type):
        raise AnswerError(f"{name} gave {kind_of(module)} itself. Did you forget the brackets that make an instance?")
    if not isinstance(module, nn.Module):
        raise AnswerError(f"what {name} gave", "an nn.Module", kind_of(module), returned_nothing(module))
    if RULES in objects:
        *rules, lesson = objects[RULES]
        if found := foreign_parts(module, *rules):
            raise AnswerError("own work", cause=refusal(found[0], lesson))
    return module


def perform_script(module, script):
    """Put a module through a script; the judge plays the same script with its own network.

    Steps, each a dict with "do":
        "warm up": let lazy modules take their shapes from "images"; other modules are left alone.
        "parameters": reply [(name, shape, requires_grad)], tied ones once.
        "buffers": reply [(name, shape, is_floating_point)].
        "load": write "values" by kind and shape, as made by ``values_for``; where the value is None the tensor stays,
            and parameters of a shape that is not there become 0. Reply (name, shape) of these.
        "run": "images", "train" (bool), "upstream" (a gradient for the output, or absent), "may_move" (whether the
            backward pass may move the statistics). Reply {"output",
            "requires_grad", "input_changed", "training"} and, with upstream, {"input_gradient", "gradients": by shape}.
    """
    return [_STEPS[step["do"]](module, **{key: value for key, value in step.items() if key != "do"}) for step in script]


def _parameters(module):
    return [(name, tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()]


def _buffers(module):
    return [(name, tuple(b.shape), b.is_floating_point()) for name, b in module.named_buffers()]


def values_for(module, generator):
    """Make one value for each kind ("parameter" or "buffer") and shape of a module: positive where it is 1-D.

    Values go by shape, because names and order are the learner's own; two roles of one shape get equal values.
    """
    values = {}
    for kind, tensors in (("parameter", module.parameters()), ("buffer", module.buffers())):
        for tensor in tensors:
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
                fan_in = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
                values[kind, tuple(tensor.shape)] = (
                    noise * (2 / fan_in) ** 0.5 if tensor.ndim > 1 else 0.5 + noise.abs()
                )
    return values


@torch.no_grad()
def _warm_up(module, images):
    if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
        module.eval()(images.clone())


@torch.no_grad()
def _load(module, values):
    unknown, needless = [], _needless(module)
    for kind, tensors in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for name, tensor in tensors:
            shape = tuple(tensor.shape)
            if not tensor.is_floating_point():
                continue
            if (kind, shape) not in values:
                unknown.append((name, shape))
                if kind == "parameter":  # a needless bias then changes nothing else, and is told once
                    tensor.zero_()
            elif values[kind, shape] is not None:
                tensor.copy_(values[kind, shape])
            elif name in needless:  # its start values are left to chance
                tensor.zero_()
    return unknown


def _needless(module):
    """List the names of biases of convolutions and linear layers."""
    layers = nn.modules.conv._ConvNd, nn.Linear
    return [f"{name}.bias".removeprefix(".") for name, part in module.named_modules() if isinstance(part, layers)]


def _run(module, images, train=False, upstream=None, may_move=False):
    module.train(train)
    leaf = images.clone().requires_grad_(upstream is not None)
    given = leaf * 1  # not a leaf: an in-place operation on it shows as a change, not as an error of autograd's
    before = given.detach().clone()
    output = module(given)
    if not isinstance(output, torch.Tensor):
        raise AnswerError("the forward pass", "a tensor", kind_of(output), returned_nothing(output))
    reply = {
        "output": output, "requires_grad": output.requires_grad, "training": module.training,
        "input_changed": not torch.equal(given.detach(), before),
    }
    if upstream is not None:
        reply |= _gradients(module, leaf, output, upstream, may_move)
    return reply


def _gradients(module, leaf, output, upstream, may_move):
    if not output.requires_grad:
        return {"input_gradient": None, "gradients": {}}
    if output.shape != upstream.shape:
        raise AnswerError(f"output: expected shape {tuple(upstream.shape)}, got {tuple(output.shape)}")
    module.zero_grad()
    remembered = {name: buffer.clone() for name, buffer in module.named_buffers()}
    (output * upstream.to(output.dtype)).sum().backward()  # backward(upstream) would import sympy first: 3 seconds
    moved = [name for name, buffer in module.named_buffers()
             if name in remembered and not torch.equal(buffer, remembered[name])]
    if moved and not may_move:
        raise AnswerError(f"the backward pass moved BatchNorm's statistics ({moved[0]}) a second time. Is something "
                          "computed again there, as torch.utils.checkpoint does? Keep BatchNorm out of it.")
    sums = {}
    for parameter in module.parameters():
        if parameter.grad is not None:
            shape = tuple(parameter.shape)
            sums[shape] = sums.get(shape, 0) + parameter.grad
    return {"input_gradient": leaf.grad, "gradients": sums}


_STEPS = {"warm up": _warm_up, "parameters": _parameters, "buffers": _buffers, "load": _load, "run": _run}


@probe
def warm_up(objects):
    """Build an optimizer: the first one in a process makes torch import its compiler, which takes seconds."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).zero_grad()


def prepare(answer):
    """Warm the answer's side up. None of the learner's code runs, so the time limit may be long."""
    answer.ask(warm_up, cpu_seconds=60.0)
