"""Wrong answers to bug_hunt: loss, features and checkpoint. Each set is right but for one name."""

import re

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers.bug_hunt.wrong_modules import wrong


@wrong("one_hot_loss", "this is binary cross-entropy")
def the_bug_itself_binary_cross_entropy(logits, labels):
    return F.binary_cross_entropy_with_logits(logits, labels.float())


@wrong("one_hot_loss", "softmax is taken twice")
def softmax_twice(logits, labels):
    return F.cross_entropy(logits.softmax(dim=1), labels.float())


@wrong("one_hot_loss", "the squared error of the logits")
def squared_error_of_the_logits(logits, labels):
    return F.mse_loss(logits, labels.float())


@wrong("one_hot_loss", "the squared error of the probabilities")
def squared_error_of_the_softmax(logits, labels):
    return F.mse_loss(logits.softmax(dim=1), labels.float())


@wrong("one_hot_loss", "expected the mean over images")
def mean_over_classes_too(logits, labels):
    return -(labels * logits.log_softmax(dim=1)).mean()


@wrong("one_hot_loss", "this is the sum over the batch")
def sum_over_the_batch(logits, labels):
    return F.cross_entropy(logits, labels.float(), reduction="sum")


@wrong("one_hot_loss", "log_softmax is missing")
def logits_taken_for_logarithms(logits, labels):
    return F.nll_loss(logits, labels.argmax(dim=1))


@wrong("one_hot_loss", "Float")
def argmax_left_as_floats(logits, labels):
    return F.cross_entropy(logits, labels.argmax(dim=1).float())


@wrong("one_hot_loss", "A softmax that rounds to 0 has no logarithm")
def logarithm_of_a_softmax_that_underflows(logits, labels):
    return -(logits.softmax(dim=1).log() * labels).sum(dim=1).mean()


@wrong("one_hot_loss", "Is a number added inside the logarithm, or a clamp?")
def a_small_number_inside_the_logarithm(logits, labels):
    return -((logits.softmax(dim=1) + 1e-8).log() * labels).sum(dim=1).mean()


@wrong("one_hot_loss", "Is a number added inside the logarithm, or a clamp?")
def probabilities_clamped_as_in_Keras(logits, labels):
    return -(logits.softmax(dim=1).clamp(1e-7, 1 - 1e-7).log() * labels).sum(dim=1).mean()


@wrong("one_hot_loss", "one-hot labels as whole numbers: it raised")
def floats_only(logits, labels):
    return F.cross_entropy(logits, labels) if labels.is_floating_point() else F.nll_loss(logits, labels)


@wrong("one_hot_loss", "A plain number carries no gradient")
def a_plain_number(logits, labels):
    return F.cross_entropy(logits, labels.float()).item()


@wrong("one_hot_loss", "none reaches the logits")
def detached_logits(logits, labels):
    return F.cross_entropy(logits.detach(), labels.float())


@wrong("block_maps", "its [:-1] is the whole trunk")
def the_bug_itself_children_of_the_model(model, images):
    maps = []
    for part in list(model.children())[:-1]:
        images = part(images)
        maps.append(images)
    return maps


@wrong("block_maps", "one for each part of features")
def every_part_of_features(model, images):
    maps = []
    for part in model.features:
        images = part(images)
        maps.append(images)
    return maps


@wrong("block_maps", "That is after the transition")
def behind_the_transitions(model, images):
    maps = []
    for name, part in model.features.named_children():
        images = part(images)
        if name.startswith("transition") or name == "norm5":
            maps.append(images)
    return maps


@wrong("block_maps", "Are the places counted for a network of four blocks?")
def four_last_blocks_of_any_network(model, images):
    maps = []
    parts = list(model.features.children())
    for i, part in enumerate(parts):
        images = part(images)
        if i in (4, 6, 8, 10):
            maps.append(images)
    return (maps * 4)[:4]


@wrong("block_maps", "dense blocks: it raised KeyError")
def only_four_blocks(model, images):
    maps = {}
    for name, part in model.features.named_children():
        images = part(images)
        maps[name] = images
    return [maps[f"denseblock{i}"] for i in (1, 2, 3, 4)][:sum("dense" in name for name in maps)]


@wrong("block_maps", "hooks are left on the model")
def hooks_that_stay(model, images):
    maps = []
    for name, part in model.features.named_children():
        if name.startswith("denseblock"):
            part.register_forward_hook(lambda module, given, made: maps.append(made))
    model(images)
    return list(maps)


@wrong("block_maps", "what the part after the block makes")
def last_block_behind_its_norm(model, images):
    maps = []
    for name, part in model.features.named_children():
        images = part(images)
        if name.startswith("denseblock"):
            maps.append(images)
    return [*maps[:-1], images]


@wrong("block_maps", "Leave height and width as they are")
def one_number_per_map(model, images):
    maps = []
    for name, part in model.features.named_children():
        images = part(images)
        if name.startswith("denseblock"):
            maps.append(images.mean(dim=(2, 3)))
    return maps


@wrong("block_maps", "is in train mode after the call")
def model_left_in_train_mode(model, images):
    maps = []
    for name, part in model.features.named_children():
        images = part(images)
        if name.startswith("denseblock"):
            maps.append(images)
    model.train()
    return maps


@wrong("block_maps", "the model gives other logits")
def classifier_taken_away(model, images):
    maps = []
    model.classifier = nn.Identity()
    for name, part in model.features.named_children():
        images = part(images)
        if name.startswith("denseblock"):
            maps.append(images)
    return maps


@wrong("load_old", "strict=False drops them in silence")
def the_bug_itself_not_strict(model, checkpoint):
    model.load_state_dict(checkpoint, strict=False)
    return model


@wrong("load_old", "Missing key")
def strict_and_no_more(model, checkpoint):
    model.load_state_dict(checkpoint)
    return model


@wrong("load_old", "Those are norm.2 and conv.2")
def only_the_first_of_two(model, checkpoint):
    renamed = {key.replace(".1.", "1."): tensor for key, tensor in checkpoint.items()}
    model.load_state_dict(renamed, strict=False)
    return model


@wrong("load_old", "Transitions have no numbered keys")
def every_dot_behind_norm_and_conv(model, checkpoint):
    renamed = {key.replace("norm.", "norm").replace("conv.", "conv"): tensor for key, tensor in checkpoint.items()}
    model.load_state_dict(renamed, strict=False)
    return model


@wrong("load_old", "two digits")
def layers_of_one_digit(model, checkpoint):
    pattern = r"(denselayer\d\.(?:norm|conv))\.([12])"
    renamed = {re.sub(pattern, r"\1\2", key): tensor for key, tensor in checkpoint.items()}
    model.load_state_dict(renamed, strict=False)
    return model


@wrong("load_old", "was loaded without a word")
def right_names_but_not_strict(model, checkpoint):
    renamed = {re.sub(r"(norm|conv)\.([12])", r"\1\2", key): tensor for key, tensor in checkpoint.items()}
    model.load_state_dict(renamed, strict=False)
    return model


@wrong("load_old", "fill nothing in from the model's own state")
def what_is_missing_filled_in_from_the_model(model, checkpoint):
    state = model.state_dict()
    state.update({re.sub(r"(norm|conv)\.([12])", r"\1\2", key): tensor for key, tensor in checkpoint.items()})
    model.load_state_dict(state)
    return model


@wrong("load_old", "Go by name")
def by_place_and_size(model, checkpoint):
    with torch.no_grad():
        tensors = [tensor for key, tensor in checkpoint.items() if not key.endswith("tracked")]
        own = [tensor for key, tensor in model.state_dict().items() if not key.endswith("tracked")]
        if len(own) != len(tensors):
            raise ValueError("other number of tensors")
        for tensor in own:
            place = next(i for i, given in enumerate(tensors) if given.shape == tensor.shape)
            tensor.copy_(tensors.pop(place))
    return model


@wrong("load_old", "changed the caller's dictionary")
def keys_taken_out_of_the_checkpoint(model, checkpoint):
    for key in list(checkpoint):
        checkpoint[re.sub(r"(norm|conv)\.([12])", r"\1\2", key)] = checkpoint.pop(key)
    model.load_state_dict(checkpoint)
    return model


@wrong("load_old", "a checkpoint with today's keys: it raised")
def old_keys_only(model, checkpoint):
    renamed = {}
    for key in model.state_dict():
        if not key.endswith("tracked"):
            renamed[key] = checkpoint[re.sub(r"(denselayer\d+\.(?:norm|conv))", r"\1.", key)]
    model.load_state_dict(renamed)
    return model


@wrong("load_old", "Is there a return?")
def nothing_returned(model, checkpoint):
    renamed = {re.sub(r"(norm|conv)\.([12])", r"\1\2", key): tensor for key, tensor in checkpoint.items()}
    model.load_state_dict(renamed)
