"""Bug hunt, the bugs around torchvision's models: features that are none, and weights that never arrive."""

import re

import torch

from densenet_course.checks.engine.answer import AnswerError, kind_of, probe
from densenet_course.checks.engine.expect import close, expect, expect_close
from densenet_course.checks.engine.explain import Explaining, returned_nothing
from densenet_course.checks.engine.wrong import Wrong

# Bug 6: list(model.children())[:-1] as if it were a list of blocks


def torchvision_network(options):
    """Build torchvision's DenseNet from plain options."""
    from torchvision.models import DenseNet

    return DenseNet(**options).eval()


def random_network(draw, block_config):
    """Draw options and a state for a small network of torchvision's.

    Returns:
        (options, the judge's model)
    """
    options = {"growth_rate": draw.integer(3, 4), "block_config": tuple(block_config),
               "num_init_features": draw.integer(7, 9), "bn_size": 2, "num_classes": draw.integer(5, 7)}
    model = torchvision_network(options)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = draw.normal(*tensor.shape, scale=0.3)
                positive = tensor.ndim == 1 and not key.endswith(("bias", "mean"))  # γ and the running variance
                tensor.copy_(noise.abs() + 0.4 if positive else noise)
    return options, model


def expected_maps(model, images):
    """Return what each dense block makes, and what each part after a dense block makes of that."""
    blocks, after = [], []
    parts = list(model.features.named_children())
    for i, (name, part) in enumerate(parts):
        images = part(images)
        if name.startswith("denseblock"):
            blocks.append(images)
            after.append(parts[i + 1][1](images))
    return blocks, after


def one_map_per_block(answer, draw):
    """A network of four blocks, as DenseNet-121 has them, gives four maps of the right shape."""
    _, (blocks, after), got = _ask_for_maps(answer, draw, 4)
    for i, (wanted, later, came) in enumerate(zip(blocks, after, got["maps"], strict=True), start=1):
        expect(f"shape of the maps of dense block {i}", tuple(wanted.shape), tuple(came.shape), suspects=[
            (tuple(later.shape), "That is after the transition."),
            ((wanted.shape[0], wanted.shape[1]), "Leave height and width as they are.")])


def blocks_of_any_model(answer, draw):
    """Networks of other depths give the right values, and are left as they were."""
    for count in (draw.integer(2, 3), 5):
        logits, (blocks, after), got = _ask_for_maps(answer, draw, count)
        for i, (wanted, later, came) in enumerate(zip(blocks, after, got["maps"], strict=True), start=1):
            expect_close(f"maps of dense block {i} of {count}", wanted, came, suspects=[
                (later, "That is what the part after the block makes."), (wanted.relu(), "A ReLU was taken of it.")])
        if got["hooks"]:
            raise Wrong(f"{got['hooks']} hooks are left on the model after the call. Remove each one's handle.")
        if got["training"]:
            raise Wrong("the model came in eval mode and is in train mode after the call. Leave its mode as it is.")
        if not isinstance(got["logits"], torch.Tensor) or not (
                got["logits"].shape == logits.shape and close(logits, got["logits"])):
            raise Wrong("after the call the model gives other logits. Leave its parts and weights as they are.")


def _ask_for_maps(answer, draw, count):
    options, model = random_network(draw, [draw.integer(1, 2) for _ in range(count)])
    images = draw.normal(2, 3, 64, 64)
    with torch.no_grad():
        expected = expected_maps(model, images)
        logits = model(images)
    got = Explaining(answer, what=f"a network of {count} dense blocks").ask(
        maps_of_blocks, name="block_maps", options=options, state=dict(model.state_dict()), images=images,
    )
    expect(f"maps from a network of {count} dense blocks", count, len(got["maps"]), suspects=[
        (1, "list(model.children()) has two entries, features and classifier: its [:-1] is the whole trunk."),
        (len(model.features), "That is one for each part of features: stem and transitions too."),
        (4, "Are the places counted for a network of four blocks?")])
    return logits, expected, got


@probe
def maps_of_blocks(objects, name, options, state, images):
    """Let the learner's function read a model; report what came, and how the model was left."""
    model = torchvision_network(options)
    model.load_state_dict(state)
    parts = list(model.modules())
    found = objects[name](model, images.clone())
    if not isinstance(found, list | tuple):
        raise AnswerError(f"{name} gave {kind_of(found)}; expected a list of tensors")
    for item in found:
        if not isinstance(item, torch.Tensor):
            raise AnswerError(f"{name} gave a list with {kind_of(item)} in it; expected tensors")
    maps = [item.detach().clone() for item in found]
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts)
    training = any(part.training for part in parts)
    with torch.no_grad():
        logits = model.eval()(images)
    return {"maps": maps, "hooks": hooks, "training": training, "logits": logits}


# Bug 7: norm.1 in old checkpoints, norm1 in today's networks


def old_keys(state):
    """Write a state as torchvision's first DenseNet files have it: ``norm.1``, and no counts of batches."""
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): tensor for key, tensor in state.items()
            if not key.endswith("num_batches_tracked")}


def old_weights_arrive(answer, draw):
    """An old checkpoint gives the network that was saved."""
    options, model = random_network(draw, [draw.integer(1, 3) for _ in range(3)])
    _check_loaded(answer, draw, options, model, old_keys(model.state_dict()), "an old checkpoint")


def checkpoint_is_read_by_name(answer, draw):
    """Keys of any block and layer are read, in any order and of either age; what is missing is told."""
    options, model = random_network(draw, [1, draw.integer(11, 12), 2, 1][:draw.integer(3, 4)])
    old = old_keys(model.state_dict())
    keys = sorted(old)
    draw.random.shuffle(keys)
    given = {key: old[key] for key in keys}
    kept = _check_loaded(answer, draw, options, model, given, "an old checkpoint, keys in any order")
    _check_loaded(answer, draw, options, model, dict(model.state_dict()), "a checkpoint with today's keys")
    lost = draw.random.choice([key for key in keys if ".norm.2." in key or ".conv.1." in key])
    rest = {key: old[key] for key in old if key != lost}
    if not kept:
        raise Wrong("checkpoint", cause="the call changed the caller's dictionary. Build a new one.")
    if not answer.ask(refuses, name="load_old", options=options, checkpoint=rest):
        raise Wrong(f"a checkpoint without {lost} was loaded without a word, and that tensor stays random. "
                    "Leave out strict=False, and fill nothing in from the model's own state.")


def _check_loaded(answer, draw, options, model, checkpoint, what):
    images = draw.normal(2, 3, 64, 64)
    got = Explaining(answer, what=what).ask(load_checkpoint, name="load_old", options=options, checkpoint=checkpoint,
                                            images=images)
    expected = {key: tensor for key, tensor in model.state_dict().items() if tensor.is_floating_point()}
    wrong = [key for key, tensor in expected.items()
             if not isinstance(got["state"].get(key), torch.Tensor) or not close(tensor, got["state"][key])]
    if wrong:
        raise Wrong(what, cause=f"{len(wrong)} of {len(expected)} tensors were not loaded, for instance "
                    f"{wrong[0]}.{_not_loaded(wrong, expected)}")
    with torch.no_grad():
        expect_close(f"logits after loading {what}", model(images), got["logits"])
    return got["kept"]


def _not_loaded(wrong, expected):
    inner = [key for key in expected if "denselayer" in key]
    causes = (
        (inner, "That is all of the dense layers: their keys do not match, and strict=False drops them in silence."),
        ([key for key in inner if re.search("(norm|conv)2", key)], "Those are norm.2 and conv.2."),
        ([key for key in inner if re.search(r"denselayer\d\d", key)], "Those are layers 10 and up: two digits."),
        ([key for key in expected if "transition" in key], "Transitions have no numbered keys: leave theirs alone."),
    )
    return next((f" {cause}" for keys, cause in causes if set(keys) == set(wrong)), " Go by name, in every block.")


@probe
def load_checkpoint(objects, name, options, checkpoint, images):
    """Let the learner's function load a checkpoint into a fresh network; report the network's state and logits."""
    given = {key: tensor.clone() for key, tensor in checkpoint.items()}
    model = objects[name](torchvision_network(options), given)
    if not isinstance(model, torch.nn.Module):
        raise AnswerError(f"what {name} gave", "the model", kind_of(model), returned_nothing(model))
    kept = list(given) == list(checkpoint) and all(torch.equal(given[key], checkpoint[key]) for key in checkpoint)
    with torch.no_grad():
        logits = model.eval()(images)
    return {"state": dict(model.state_dict()), "logits": logits, "kept": kept}


@probe
def refuses(objects, name, options, checkpoint):
    """Tell whether the learner's function raises an error for a checkpoint."""
    try:
        objects[name](torchvision_network(options), dict(checkpoint))
    except Exception:
        return True
    return False
