"""The student's side of a commitment: build modules, describe them, and write their forward passes as lists."""

import contextlib

import torch
import torch.utils.checkpoint
from torch import nn

from densenet_course.grading.operations import Refused
from densenet_course.grading.recording import recording
from densenet_course.grading.watching import decoys, expect_the_same, twin, watched

# Beside the learner's objects; no names of theirs.
MODULES, PLACES, CHANCE = "committed modules", "their places", "the seed of the next"
PARTS = {"convolution": nn.Conv2d, "linear": nn.Linear, "norm": (nn.modules.batchnorm._NormBase, nn.GroupNorm,
                                                                nn.LayerNorm)}  # what probes look for


def build(objects, name, given, keywords=None):
    """Build a module, keep it, and describe it, see ``_describe``.

    ``given`` are its arguments under another name: a complaint then tells the call that the judge asks for, if any, and
    not this one of the player's, see ``answer.with_call``.
    """
    from densenet_course.checks.engine import probes

    return _keep(objects, lambda: probes.build(objects, name, given, keywords))


def prepare(objects, name, recipe, num_classes, train):
    """Let the learner's function prepare a network, keep what comes out, and describe it, see ``_describe``."""
    from densenet_course.checks.exercises.transfer.prepared import hand_over

    return _keep(objects, lambda: hand_over(objects, name, recipe, num_classes, train))


def _keep(objects, make):
    kept = objects.setdefault(MODULES, [])
    with _other_chance(objects):
        kept.append(make())
    return _describe(objects, len(kept) - 1)


@contextlib.contextmanager
def _other_chance(objects):
    """Go on with random numbers: each question finds the same seed otherwise, and two modules would start alike."""
    if CHANCE in objects:
        torch.set_rng_state(objects[CHANCE])
    yield
    objects[CHANCE] = torch.get_rng_state()


def settle(objects, name, number, shape):
    """Let a module's lazy parts take their shapes, and describe it anew."""
    module = objects[MODULES][number]
    with torch.no_grad(), _other_chance(objects):
        module.eval()(torch.randn(shape))
    return _describe(objects, number)


def mend(objects, name, number):
    """Give linear layers without a bias one, and describe a module anew."""
    from densenet_course.checks.exercises.densenet121.probe import mend_biases

    mend_biases(objects[MODULES][number])
    return _describe(objects, number)


def switch(objects, name, number, train):
    """Put a module into train or eval mode, the way that it has; tell what it says then."""
    from densenet_course.checks.exercises.transfer import prepared

    return prepared.switch(objects[MODULES][number], train)


def _describe(objects, number):
    """Describe a module: names, values, and which tensors are one and the same, also with those of earlier modules."""
    places = objects.setdefault(PLACES, {})
    module = objects[MODULES][number]
    lazy = any(isinstance(p, nn.UninitializedParameter) for p in module.parameters())
    described = {"number": number, "lazy": lazy, "training": module.training, "parameters": [], "buffers": []}
    if lazy:
        return described
    described["parts"] = [(name, kind) for name, part in module.named_modules() for kind, found in PARTS.items()
                          if isinstance(part, found)]
    for kind in ("parameters", "buffers"):
        described[kind] = [(name, tensor.detach(), tensor.requires_grad, _place(tensor, places))
                           for name, tensor in getattr(module, f"named_{kind}")()]
    return described


def _place(tensor, places):
    """Number a tensor by its address; it is kept, so that no other one takes the address."""
    if not tensor.numel():
        return None
    return places.setdefault(tensor.data_ptr(), (len(places), tensor))[0]


def trace(objects, name, number, shape, train, alone=False):
    """Return the operations of a forward pass, or {"refused": why}.

    Args:
        objects, name: see ``build``.
        number: of the module.
        shape: of the images.
        train: the mode; None leaves the one that ``switch`` has made.
        alone: whether the list is all that is judged. Then it matters to no verdict how a backward pass is made or what
            a first call has left, so autograd functions are written as what they compute, and a cache may be filled.
    """
    module = objects[MODULES][number]
    if train is not None:
        module.train(train)
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        return {"refused": "it is scripted"}
    parameters = dict(module.named_parameters())
    state = {**parameters, **dict(module.named_buffers())}
    other = twin(module) if alone else None
    first, _ = watched(module, state, shape)  # what the module raises is raised here, as it is
    try:
        written = _operations(module, decoys(state), parameters, torch.rand(shape), alone)
        expect_the_same(first, module, other, state, shape)
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"[:300]}
    return written


def _normed(directions, lengths, dim=0):
    """Compute ``aten._weight_norm`` from operations that check their shapes."""
    others = [axis for axis in range(directions.ndim) if axis != dim % directions.ndim or dim == -1]
    return directions * (lengths / torch.linalg.vector_norm(directions, dim=others, keepdim=True))


IN_PARTS = {torch.ops.aten._weight_norm.default: _normed}


def _operations(module, state, parameters, images, alone):
    for name, value in state.items():
        value.requires_grad_(name in parameters and parameters[name].requires_grad)
    images, *values = [images * 1, *(value * 1 for value in state.values())]  # no leaves: they change
    before = dict(zip(state, values, strict=True))
    after = dict(before)
    with recording([images, *values], IN_PARTS) as recorder, (
            _functions_written(recorder) if alone else _nothing_hidden()):
        output = torch.func.functional_call(module, after, (images,))
        _write_replaced(before, after)
    if type(output) is not torch.Tensor:
        raise Refused("no tensor came out")
    return recorder.written(output)


def _write_replaced(before, after):
    """Write the new numbers of buffers that a call has not changed but replaced."""
    replaced = [name for name, value in before.items() if after[name] is not value]
    if replaced:
        with torch.no_grad():
            for name in replaced:
                before[name].copy_(after[name])


@contextlib.contextmanager
def _nothing_hidden():
    """Refuse what a list would not show: what happens in the backward pass only."""

    def refuse(*_, **__):
        raise Refused("it uses an autograd function or saved-tensor hooks")

    function, hooks = torch.autograd.Function, torch.autograd.graph.saved_tensors_hooks
    kept = function.__dict__["apply"], hooks.__init__
    function.apply, hooks.__init__ = classmethod(refuse), refuse
    try:
        yield
    finally:
        function.apply, hooks.__init__ = kept


@contextlib.contextmanager
def _functions_written(recorder):
    """Write the forward pass of autograd functions; the list's own backward pass is PyTorch's."""
    function = torch.autograd.Function
    kept = function.__dict__["apply"]

    def apply(cls, *arguments, **keywords):
        if cls is torch.utils.checkpoint.CheckpointFunction:
            compute, _, *inputs = arguments
            return compute(*inputs)
        before, enabled = len(recorder.operations), torch.is_grad_enabled()
        made = kept.__get__(None, cls)(*arguments, **keywords)
        _let_gradients_through(recorder.operations[before:], enabled)
        return made

    function.apply = classmethod(apply)
    try:
        yield
    finally:
        function.apply = kept


def _let_gradients_through(operations, enabled):
    """Undo what says in a list that there are none: in an autograd function there never are."""
    for operation in operations:
        if operation[0] == "gradients":
            operation[1] = [enabled]
        elif operation[0] == "aten.detach.default":
            operation[0] = "aten.alias.default"
