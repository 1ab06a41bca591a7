"""What the layers of a network really give, held against what an answer says they give."""

import torch
from torch import nn

from densenet_course.checks.engine.expect import close, expect_close
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds import given

OVERWRITTEN = "an in-place ReLU wrote over the output before you read it. Keep output.clone()."


def record(recipe, images, names, *, train=False, what="output"):
    """Return what goes into or comes out of modules, as a dict of tensors.

    Args:
        recipe: of the network.
        images: its input.
        names: names of modules.
        train: the mode of the whole network.
        what: "output"; "overwritten", the output's memory at the end; "input", the first argument.
    """
    model, found = given.network(recipe).train(train), {}

    def keep(key):
        def hook(module, inputs, output):
            value = inputs[0] if what == "input" else output
            if isinstance(value, torch.Tensor):
                found[key] = value if what == "overwritten" else value.clone()

        return hook

    for key in names:
        model.get_submodule(key).register_forward_hook(keep(key))
    with torch.no_grad():
        model(images)
    return found


def module_names(recipe):
    """Return (names whose output stays, names whose output is overwritten later), without the network itself."""
    modules = {key: module for key, module in given.network(recipe).named_modules() if key}
    lost = [key for key, module in modules.items() if isinstance(module, nn.BatchNorm2d)] + ["features"]
    return [key for key in modules if key not in lost], lost


def draw_layers(draw, names, *wanted):
    """Draw some names, the wanted ones among them, in any order."""
    chosen = {*wanted, *draw.random.sample(names, 3)}
    return draw.random.sample(sorted(chosen), len(chosen))


def hold(recipe, images, layers, result, *, title, exactly=False, later=None):
    """Hold one result against the network's own features.

    Args:
        recipe: of the network.
        images: what the learner's function was given.
        layers: the names that it was given.
        result: what came.
        title: what is compared, as the message begins.
        exactly: see ``hold_names``.
        later: images of another call that followed; it should not have changed this result.

    Raises:
        Wrong: it raised, other names, or other values.
    """
    hold_names(layers, result, title, exactly=exactly)
    expected = record(recipe, images, layers)
    for layer in layers:
        value = result[layer]
        if isinstance(value, str):
            hint = " A hook gets (module, inputs, output)." if "tuple" in value or "list" in value else ""
            raise Wrong(f"{title}, {layer}", cause=f"expected a tensor, got {value}.{hint}")
        if value.dtype == expected[layer].dtype and _same(expected[layer], value):
            continue
        cause = diagnose(recipe, images, layer, value)
        if later is not None and _same(record(recipe, later, [layer])[layer], value):
            cause = "a second call wrote over this result. Is a hook left, or one dict used for all calls?"
        if cause:
            raise Wrong(f"{title}, {layer}", cause=cause)
        expect_close(f"{title}, {layer}", expected[layer], value)


def hold_names(layers, result, title, *, exactly=False):
    """Raise ``Wrong`` unless a result has the names asked for; ``exactly`` these, where others are a mistake too."""
    if isinstance(result, list):  # what was raised, and where
        raise Wrong(title, cause=f"{result[1]}")
    missing = [key for key in dict.fromkeys(layers) if key not in result]  # a name may come twice
    extra = [key for key in result if key not in layers] if exactly or missing else []
    if not missing and not extra:
        return
    said = f"missing {short(missing)}" if missing else f"nobody asked for {short(extra)}"
    cause = "Is the dict filled before it is returned?" if not result else ""
    if any(key.endswith(f".{other}") for key in missing for other in extra):
        cause = f"Keep the full names of model.named_modules(); got {short(extra)}."
    elif missing and result and set(result) <= {"features", "classifier"}:
        cause = "list(model.children()) holds features and classifier only; model.named_modules() knows all names."
    elif extra and not missing:
        cause = "Is one dict used for all calls, or is every layer recorded?"
    raise Wrong(f"{title}: {said}. {cause}".rstrip())


def diagnose(recipe, images, layer, got):
    """Name what a wrong value is instead; "" where it is nothing known."""
    names = [key for key, _ in given.network(recipe).named_modules() if key]
    kinds = [
        ({"what": "overwritten"}, OVERWRITTEN),
        ({"train": True}, "BatchNorm used the batch's statistics. Put the network into eval mode first."),
        ({"train": True, "what": "overwritten"},
         "BatchNorm used the batch's statistics, and an in-place ReLU wrote over the output."),
        ({"what": "input"}, "this is what goes into the module; expected what comes out."),
    ]
    for options, message in kinds:
        if _same(record(recipe, images, [layer], **options).get(layer), got):
            return message
    clean = record(recipe, images, names)
    if clean[layer].ndim == 4 and any(_same(clean[layer].mean((2, 3), keepdim=keep), got) for keep in (False, True)):
        return "this is averaged over height and width; expected the output itself."
    if _same(clean[layer].flatten(1), got):
        return "this is flattened; expected the output in its own shape."
    for options in ({}, {"train": True}):
        values = record(recipe, images, names, **options)
        other = next((key for key in names if _same(values[key], got)), None)
        if other:
            return f"this is the output of {other}." + (
                " list(model.children())[:-1] holds one Sequential, features, not the blocks."
                if other == "features" else "")
    return ""


def _same(expected, got):
    return expected is not None and expected.shape == got.shape and close(expected, got)


def short(names):
    """Write the first two of some names."""
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
