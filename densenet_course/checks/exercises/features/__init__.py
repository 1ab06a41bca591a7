"""Exercise features: the output of any layer of a network."""

from collections.abc import Mapping

import torch
from torch.nn.modules import module as torch_module

from densenet_course.checks.engine.answer import AnswerError, describe, kind_of, probe
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.features.outputs import draw_layers, hold, hold_names, module_names, short
from densenet_course.checks.kinds import given

NAME = "extract_features"
EXERCISE = Exercise("features", names=[NAME], title="The output of any layer", lesson="08_densenet121")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


# The answer's side


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
        "images_changed": bool, "heard": calls of each hook in the ordinary call}
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
        results = [_attempt(objects[name], model, own, list(layers))
                   for own, (_, layers) in zip(images, calls, strict=True)]
        reply = {"results": [_reported(result) for result in results], "before": before, "after": _picture(model)}
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
    """Tell what a call should leave alone: modes, hooks (all modules' and torch's global ones), class and state."""
    modules = list(model.named_modules())
    hooks = {key: sum(len(getattr(module, kind)) for kind in HOOKS) for key, module in modules}
    hooks["all networks (a global hook)"] = sum(map(len, _global_hooks()))
    return {
        "modes": {key: bool(module.training) for key, module in modules},
        "hooks": hooks,
        "kinds": {key: type(module).__name__ + " with another forward" * ("forward" in vars(module))
                  for key, module in modules},
        "state": {key: value.clone() for key, value in model.state_dict().items()},
        "trained": {key: parameter.requires_grad for key, parameter in model.named_parameters()},
    }


# The judge's side


@EXERCISE.finding("values", points=2)
def values(answer, draw):
    """Outputs that nothing overwrites, of a network in eval mode; two calls do not feel each other."""
    for _ in range(2):
        recipe = given.draw_network(draw, "torchvision")
        names, _ = module_names(recipe)
        calls = [(given.draw_images(draw), draw_layers(draw, names, "features.conv0", "features.denseblock1")),
                 (given.draw_images(draw), draw_layers(draw, names, "features.transition1", "classifier"))]
        calls[1][1].append("classifier")  # asked for twice
        reply = answer.ask(extract, name=NAME, recipe=recipe, calls=calls)
        first, second = reply["results"]
        hold(recipe, *calls[0], first, title="values", exactly=True, later=calls[1][0])
        hold(recipe, *calls[1], second, title="values of a second call", exactly=True)


@EXERCISE.finding("before in-place", points=2)
def before_in_place(answer, draw):
    """Outputs that a later in-place ReLU overwrites."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    _, lost = module_names(recipe)
    layers = draw_layers(draw, lost, "features", "features.norm5", "features.norm0", "classifier")
    (result,) = answer.ask(extract, name=NAME, recipe=recipe, calls=[(images, layers)])["results"]
    hold(recipe, images, layers, result, title="outputs of norms")


@EXERCISE.finding("eval mode", points=2)
def in_eval_mode(answer, draw):
    """A network in train mode gives the features of eval mode, and nothing of its state changes."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    names, _ = module_names(recipe)
    layers = draw_layers(draw, names, "features.denseblock2", "classifier")
    everything = [key for key, _ in given.network(recipe).named_modules()]
    reply = answer.ask(extract, name=NAME, recipe=recipe, calls=[(images, layers)], train=everything)
    hold_names(layers, reply["results"][0], "network given in train mode")
    before, after = (reply[when]["state"] for when in ("before", "after"))
    changed = [key for key in before if key not in after or not torch.equal(before[key], after[key])]
    if changed:
        hint = " A forward pass ran in train mode. Put the network into eval mode before the first one."
        raise Wrong("network",
                    cause=f"the call changed {short(changed)}.{hint * any('running' in key for key in changed)}")
    if reply["before"]["trained"] != reply["after"]["trained"]:
        raise Wrong("network",
                    cause="the call froze its parameters (requires_grad). Leave the caller's network as it was.")
    if reply["images_changed"]:
        raise Wrong("images", cause="the call changed the caller's images.")
    hold(recipe, images, layers, reply["results"][0], title="network given in train mode")


@EXERCISE.finding("modes restored", points=1)
def modes_restored(answer, draw):
    """Every module has its own mode back; some were in train mode, some in eval mode."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    modules = [key for key, _ in given.network(recipe).named_modules()]
    replies = []
    for root in (True, False):
        mixed = {"features.norm0", *draw.random.sample(modules[1:-1], len(modules) // 2)} | ({""} if root else set())
        reply = answer.ask(extract, name=NAME, recipe=recipe, calls=[(images, ["features.conv0"])], train=sorted(mixed))
        hold_names(["features.conv0"], reply["results"][0], "modes")
        replies.append(reply)
    if [set(reply["after"]["modes"].values()) for reply in replies] == [{True}, {False}]:
        raise Wrong("modes", cause="all modules have the network's own mode after the call; before, some were in train "
                    "mode and some in eval mode. train(mode) reaches all inside: remember each module's mode.")
    for reply in replies:
        hold_modes(reply, "some modules were in train mode, some in eval mode")


def hold_modes(reply, given_as):
    """Raise ``Wrong`` unless all modules have their modes back."""
    before, after = (reply[when]["modes"] for when in ("before", "after"))
    wrong = [key for key in before if before[key] != after.get(key)]
    if wrong:
        now = {frozenset({False}): "All are in eval mode now. ", frozenset({True}): "All are in train mode now. "}
        raise Wrong("modes", cause=f"{given_as}; {len(wrong)} of {len(before)} have another mode after the call. "
                    f"{now.get(frozenset(after.values()), '')}Give each module its own mode back.")


@EXERCISE.finding("hooks", points=1)
def hooks_clean(answer, draw):
    """None of our hooks stays, and the caller's own still work."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    names, lost = module_names(recipe)
    layers = draw_layers(draw, names + lost, "features.denseblock1.denselayer1.conv1", "features.norm0")
    hooked = sorted({layers[0], layers[1], *draw.random.sample(names, 2)})
    calls = [(images, [*layers, layers[0]])]  # a name that comes twice needs its hooks removed twice
    reply = answer.ask(extract, name=NAME, recipe=recipe, calls=calls, hooked=hooked, later=images)
    hold_names(layers, reply["results"][0], "hooks")
    gone = [key for key in hooked if reply["heard"][key] == 0]
    if gone:
        raise Wrong("hooks", cause=f"the caller's own hook on {gone[0]} is gone. Remove only yours: handle.remove().")
    hold_hooks(reply, "after the call")
    kinds = [reply[when]["kinds"] for when in ("before", "after")]
    if kinds[0] != kinds[1]:
        other = next(key for key in (*kinds[0], *kinds[1]) if kinds[0].get(key) != kinds[1].get(key))
        raise Wrong("network",
                    cause=f"after the call {other or 'the network'} is a {kinds[1].get(other)}, before it was a "
                          f"{kinds[0].get(other)}. Leave the caller's network as it was.")


def hold_hooks(reply, when):
    """Raise ``Wrong`` if a module has more hooks than before."""
    before, after = reply["before"]["hooks"], reply["after"]["hooks"]
    left = [key for key in after if after[key] > before.get(key, 0)]
    if left:
        count = sum(after[key] - before.get(key, 0) for key in left)
        raise Wrong("hooks",
                    cause=f"{when} {count} of yours {'is' if count == 1 else 'are'} left, for instance on {left[0]}. "
                          f"{'Remove every handle' if 'error' not in when else 'Put remove() into finally'}.")


@EXERCISE.finding("after an error", points=1)
def after_an_error(answer, draw):
    """A forward pass that fails, or an unknown name among good ones, leaves no hook and no mode behind."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    everything = [key for key, _ in given.network(recipe).named_modules()]
    good = ["features.conv0", "features.denseblock1", "classifier"]
    wrong_channels = draw.normal(2, 4, 32, 40)
    too_small = draw.normal(2, 3, 4, 4)  # fails in the first transition, after several layers
    cases = [(wrong_channels, good, "an error in the forward pass"), (too_small, good, "an error in the forward pass"),
             (images, [*good, "features.denseblock7"], "an error about an unknown name")]
    for sent, layers, when in cases:
        calls = [(images, good), (sent, layers)]  # a function that always raises should not earn this
        reply = answer.ask(extract, name=NAME, recipe=recipe, calls=calls, train=everything)
        hold_names(good, reply["results"][0], "before the error")
        if sent is not images and not isinstance(reply["results"][1], list):
            raise Wrong("error",
                        cause=f"for images of shape {tuple(sent.shape)} the forward pass fails, but {NAME} returned "
                              "a dict. Let the error through to the caller.")
        hold_hooks(reply, f"after {when}")
        hold_modes(reply, f"all modules were in train mode, then came {when}")


@EXERCISE.finding("unknown names", points=1)
def unknown_names(answer, draw):
    """A name that no module has raises KeyError or ValueError."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    unknown = ["features.denseblock7", "denseblock1", "features.conv0.weight", "clasifier"]
    for key in draw.random.sample(unknown, len(unknown)):
        calls = [(images, ["classifier"]), (images, [key, "classifier"])]
        known, result = answer.ask(extract, name=NAME, recipe=recipe, calls=calls)["results"]
        hold_names(["classifier"], known, "known name")
        raised = result[0] if isinstance(result, list) else []
        if {"KeyError", "ValueError"} & set(raised):
            continue
        hint = " Exactly the names of model.named_modules() are known." if not raised else ""
        if raised[:1] == ["AttributeError"]:
            hint = " get_submodule and getattr raise it; dict(model.named_modules())[name] raises KeyError."
        got = raised[0] if raised else f"a dict with {short(list(result)) or 'nothing in it'}"
        raise Wrong(f'unknown name "{key}"', cause=f'expected KeyError or ValueError, got {got}.{hint}')
