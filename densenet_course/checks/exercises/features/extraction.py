"""The answer's side of features: call the learner's function, and tell what came and how it left the network."""

import contextlib
import functools
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from densenet_course.checks.engine.answer import AnswerError, describe, kind_of, probe
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.checks.kinds import given

NAME = "extract_features"
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@probe
def extract(objects, name, recipe, calls, train=(), hooked=(), later=None):
    """Build one network, call the learner's function on it, and tell what came and how the network was left.

    Args:
        objects: the learner's objects.
        name: which of them.
        recipe: of the network, see ``given``.
        calls: pairs (images, layers), made one after the other.
        train: names of the modules that are in train mode before; "" is the network itself.
        hooked: names of the modules that carry a forward hook of the caller's.
        later: images for an ordinary call of the network at the end, in eval mode.

    Returns:
        {"results": for each call {layer: tensor, or in words what else came}, or where it raised a list
        [names of the exception's classes, what it said], "before" and "after": see ``_picture``,
        "images_changed": bool, "hook_returns": whether a hook of the learner's returned something, "heard": calls of
        each hook in the ordinary call}
    """
    model = given.network(recipe)
    for key, module in model.named_modules():
        module.training = key in train
    heard = dict.fromkeys(hooked, 0)
    for key in hooked:
        model.get_submodule(key).register_forward_hook(_listener(heard, key))
    kept = [dict(hooks) for hooks in _global_hooks()]
    try:
        before = _picture(model)
        images = [images.clone() for images, _ in calls]
        with _returns() as returned:
            results = [_attempt(objects[name], model, own, list(layers))
                       for own, (_, layers) in zip(images, calls, strict=True)]
        reply = {"results": [_reported(result) for result in results], "before": before, "after": _picture(model),
                 "hook_returns": bool(returned)}
    finally:
        for hooks, old in zip(_global_hooks(), kept, strict=True):
            hooks.clear()
            hooks.update(old)
    reply["images_changed"] = any(not torch.equal(own, sent) for own, (sent, _) in zip(images, calls, strict=True))
    heard.update(dict.fromkeys(hooked, 0))
    if later is not None:
        with torch.no_grad():
            model.eval()(later)
    return reply | {"heard": heard}


def _listener(heard, key):
    def count(module, inputs, output):
        heard[key] += 1

    return count


def _global_hooks():
    return [getattr(torch_module, f"_global{kind}") for kind in HOOKS]


@contextlib.contextmanager
def _returns():
    """Collect what forward hooks return that are registered in the body."""
    register, returned = nn.Module.register_forward_hook, []

    @functools.wraps(register)
    def registered(module, hook, **options):
        @functools.wraps(hook, updated=())
        def listening(*arguments, **keywords):
            value = hook(*arguments, **keywords)
            returned.extend([True] * (value is not None))
            return value

        return register(module, listening, **options)

    nn.Module.register_forward_hook = registered
    try:
        yield returned
    finally:
        nn.Module.register_forward_hook = register


def _attempt(function, model, images, layers):
    try:
        return function(model, images, layers)
    except Exception as error:
        return error


def _reported(result):
    if isinstance(result, Exception):
        return [[kind.__name__ for kind in type(result).__mro__], describe(result)]
    if not isinstance(result, Mapping):
        raise AnswerError(NAME, "a dict of tensors by layer name", kind_of(result), returned_nothing(result))
    odd = [key for key in result if not isinstance(key, str)]
    if odd:
        raise AnswerError(f"{NAME}: expected the names of the layers as keys, got {kind_of(odd[0])} as a key.")
    return {key: value if isinstance(value, torch.Tensor) else kind_of(value) for key, value in result.items()}


def _picture(model):
    """Tell what a call should leave alone: modes, hooks (all modules' and torch's global ones), class, names, settings,
    state, and whether gradients are recorded."""
    modules = list(model.named_modules())
    hooks = {key: sum(len(getattr(module, kind)) for kind in HOOKS) for key, module in modules}
    hooks["all networks (a global hook)"] = sum(map(len, _global_hooks()))
    return {
        "modes": {key: bool(module.training) for key, module in modules},
        "hooks": hooks,
        "kinds": {key: type(module).__name__ + " with another forward" * ("forward" in vars(module))
                  for key, module in modules},
        "names": {key: sorted(vars(module)) for key, module in modules},
        "settings": {key: _settings(module) for key, module in modules},
        "records": torch.is_grad_enabled(),
        "state": {key: value.clone() for key, value in model.state_dict().items()},
        "trained": {key: parameter.requires_grad for key, parameter in model.named_parameters()},
    }


def _settings(module):
    """Return a module's own plain values, such as ``inplace``; its mode is told apart."""
    return {key: value for key, value in vars(module).items() if type(value) in (bool, int, float, str)
            and key != "training"}
