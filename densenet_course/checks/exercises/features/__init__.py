"""Exercise features: the output of any layer of a network."""

import contextlib

from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.features.extraction import NAME, extract
from densenet_course.checks.exercises.features.outputs import (
    OVERWRITTEN,
    draw_layers,
    hold,
    hold_names,
    module_names,
    short,
)
from densenet_course.checks.exercises.features.untouched import hold_hooks, hold_modes, hold_modules, hold_state
from densenet_course.checks.kinds import given

EXERCISE = Exercise("features", names=[NAME], title="The output of any layer",
                    lesson="10_what_the_layers_learn")


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
        with told(reply):
            hold(recipe, *calls[0], first, title="values", exactly=True, later=calls[1][0])
            hold(recipe, *calls[1], second, title="values of a second call", exactly=True)


@contextlib.contextmanager
def told(reply):
    """Name another cause for a copy that was written over: the hook gave it to the network, too."""
    try:
        yield
    except Wrong as error:
        if error.cause == OVERWRITTEN and reply["hook_returns"]:
            error = error.but(cause="your hook returns a tensor, and PyTorch goes on with it: return nothing.")
        raise error


@EXERCISE.finding("before in-place", points=2)
def before_in_place(answer, draw):
    """Outputs that a later in-place ReLU overwrites."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    _, lost = module_names(recipe)
    layers = draw_layers(draw, lost, "features", "features.norm5", "features.norm0", "classifier")
    reply = answer.ask(extract, name=NAME, recipe=recipe, calls=[(images, layers)])
    with told(reply):
        hold(recipe, images, layers, reply["results"][0], title="outputs of norms")


@EXERCISE.finding("eval mode", points=2)
def in_eval_mode(answer, draw):
    """A network in train mode gives the features of eval mode, and nothing of its state changes."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    names, _ = module_names(recipe)
    layers = draw_layers(draw, names, "features.denseblock2", "classifier")
    everything = [key for key, _ in given.network(recipe).named_modules()]
    reply = answer.ask(extract, name=NAME, recipe=recipe, calls=[(images, layers)], train=everything)
    hold_names(layers, reply["results"][0], "network given in train mode")
    hold_state(reply, "the call")
    if reply["images_changed"]:
        raise Wrong("images", cause="the call changed the caller's images.")
    with told(reply):
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
    hold_modules(reply, "after the call")


@EXERCISE.finding("after an error", points=1)
def after_an_error(answer, draw):
    """A forward pass that fails, or an unknown name among good ones, leaves nothing behind."""
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
        hold_modules(reply, f"after {when}")
        hold_state(reply, f"a call with {when}")


@EXERCISE.finding("unknown names", points=1)
def unknown_names(answer, draw):
    """A name that no module has raises KeyError, ValueError, or the AttributeError of ``get_submodule``."""
    recipe, images = given.draw_network(draw, "torchvision"), given.draw_images(draw)
    unknown = ["features.denseblock7", "denseblock1", "features.conv0.weight", "clasifier"]
    for key in draw.random.sample(unknown, len(unknown)):
        calls = [(images, ["classifier"]), (images, [key, "classifier"])]
        known, result = answer.ask(extract, name=NAME, recipe=recipe, calls=calls)["results"]
        hold_names(["classifier"], known, "known name")
        raised = result[0] if isinstance(result, list) else []
        if {"KeyError", "ValueError", "AttributeError"} & set(raised):
            continue
        hint = " Exactly the names of model.named_modules() are known." if not raised else ""
        got = raised[0] if raised else f"a dict with {short(list(result)) or 'nothing in it'}"
        raise Wrong(f'unknown name "{key}"', cause=f"expected KeyError, ValueError or AttributeError, got {got}.{hint}")
