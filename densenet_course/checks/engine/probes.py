"""Probes that most checks use: call a function, build a module, and play a script with it."""

import torch
from torch import nn

from densenet_course.checks.engine.answer import AnswerError, kind_of, probe
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.checks.engine.numbers import RESULTS
from densenet_course.checks.engine.own_work import foreign_parts, refusal
from densenet_course.checks.engine.stubs import RULES

NORMS = nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm


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
    torch.default_generator.manual_seed(seed)  # torch.manual_seed formats the stack for each other kind of device
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
        "load": write "values" by kind and shape, as made by ``values_for``; where the value is None the tensor stays.
            Of parameters of a shape that is not there a normalisation's γ becomes 1, all others 0, as do the biases of
            convolutions. Reply None.
        "one axis": reply the parameters of one axis, without the biases of convolutions and linear layers.
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
    biases, scales = _biases(module), _scales(module)
    for kind, tensors in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for name, tensor in tensors:
            if not tensor.is_floating_point():
                continue
            value = values.get((kind, tuple(tensor.shape)))
            needless = kind == "parameter" and (kind, tuple(tensor.shape)) not in values
            if needless or biases.get(name) is nn.Conv2d or (name in biases and value is None):
                tensor.fill_(name in scales)  # what is needless then changes little else, and is told once
            elif value is not None:
                tensor.copy_(value)


def _biases(module):
    """Map the names of biases of convolutions and linear layers to ``nn.Conv2d`` or ``nn.Linear``."""
    kinds = nn.Conv2d, nn.Linear
    return {f"{name}.bias".removeprefix("."): kind for name, part in module.named_modules() for kind in kinds
            if isinstance(part, kind)}


def _scales(module):
    """Return the names of the γ of normalisations."""
    return {f"{name}.weight".removeprefix(".") for name, part in module.named_modules() if isinstance(part, NORMS)}


def _one_axis(module):
    biases = _biases(module)
    return [parameter for name, parameter in module.named_parameters() if parameter.ndim == 1 and name not in biases]


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


_STEPS = {"warm up": _warm_up, "parameters": _parameters, "buffers": _buffers, "load": _load,
          "one axis": _one_axis, "run": _run}


@probe
def warm_up(objects):
    """Build an optimizer: the first one in a process makes torch import its compiler, which takes seconds."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1).zero_grad()


def prepare(answer):
    """Warm the answer's side up. None of the learner's code runs, so the time limit may be long."""
    answer.ask(warm_up, cpu_seconds=60.0)
