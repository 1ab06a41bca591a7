"""Answers to exercise keras_weights."""

import copy

import numpy as np
import torch
from torch import nn

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def arrays_of(module):
    """Return one layer's arrays as Keras has them."""
    if isinstance(module, nn.Conv2d):
        parts = [module.weight.permute(2, 3, 1, 0), module.bias]
    elif isinstance(module, nn.BatchNorm2d):
        parts = [module.weight, module.bias, module.running_mean, module.running_var]
    elif isinstance(module, nn.Linear):
        parts = [module.weight.T, module.bias]
    else:
        parts = []
    return [part.detach().numpy() for part in parts if part is not None]


def to(model):
    return [array for module in model.modules() for array in arrays_of(module)]


def targets_of(module):
    """Return what one layer's arrays go into, each with the axes that bring them back."""
    if isinstance(module, nn.Conv2d):
        parts = [(module.weight, (3, 2, 0, 1)), (module.bias, (0,))]
    elif isinstance(module, nn.BatchNorm2d):
        parts = [(part, (0,)) for part in (module.weight, module.bias, module.running_mean, module.running_var)]
    elif isinstance(module, nn.Linear):
        parts = [(module.weight, (1, 0)), (module.bias, (0,))]
    else:
        parts = []
    return [(part, axes) for part, axes in parts if part is not None]


def back(model, arrays):
    targets = [target for module in model.modules() for target in targets_of(module)]
    with torch.no_grad():
        for (part, axes), array in zip(targets, arrays, strict=True):
            part.copy_(torch.from_numpy(array.transpose(axes)))
    return model


@right
class a_table_of_targets:
    to_keras, from_keras = to, back


@right
class a_walk_through_children:
    def to_keras(model):
        found = []
        for child in model.children():
            found += arrays_of(child) or a_walk_through_children.to_keras(child)
        return found

    def from_keras(model, arrays):
        rest = list(arrays)

        def walk(module):
            for child in module.children():
                for part, axes in targets_of(child):
                    part.data.copy_(torch.tensor(rest.pop(0)).permute(axes))
                walk(child)

        walk(model)
        return model


@right
class by_the_state_dict:
    def to_keras(model):
        state = {k: v for k, v in model.state_dict().items() if "tracked" not in k}
        moved = (v.permute(2, 3, 1, 0) if v.ndim == 4 else v.mT if v.ndim == 2 else v for v in state.values())
        return [v.numpy() for v in moved]

    def from_keras(model, arrays):
        state, given = model.state_dict(), iter(arrays)
        for key, value in state.items():
            if "tracked" not in key:
                array = torch.tensor(next(given))
                state[key] = array.permute(3, 2, 0, 1) if value.ndim == 4 else array.T if value.ndim == 2 else array
        model.load_state_dict(state)
        return model


@right
class moved_axes_in_NumPy:
    def to_keras(model):
        found = []
        for module in model.modules():
            for part, _ in targets_of(module):
                array = part.detach().cpu().numpy().copy()
                if array.ndim == 4:
                    array = np.moveaxis(array, (0, 1), (3, 2))
                found.append(array.T if array.ndim == 2 else array)
        return tuple(found)

    def from_keras(model, arrays):
        targets = [part for module in model.modules() for part, _ in targets_of(module)]
        for part, array in zip(targets, arrays, strict=True):
            turned = np.moveaxis(array, (3, 2), (0, 1)) if array.ndim == 4 else array.T
            part.data[...] = torch.as_tensor(turned.copy())
        return model


@right
class new_parameters:
    to_keras = to

    def from_keras(model, arrays):
        given = [torch.tensor(array) for array in arrays]
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight = nn.Parameter(given.pop(0).permute(3, 2, 0, 1).contiguous())
            elif isinstance(module, nn.BatchNorm2d):
                module.weight, module.bias = nn.Parameter(given.pop(0)), nn.Parameter(given.pop(0))
                module.running_mean, module.running_var = given.pop(0), given.pop(0)
            elif isinstance(module, nn.Linear):
                module.weight = nn.Parameter(given.pop(0).t().contiguous())
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias = nn.Parameter(given.pop(0))
        return model


def changed(change):
    """Make to_keras with the arrays of each layer changed."""

    def to_keras(model):
        return [array for module in model.modules() for array in change(module, arrays_of(module))]

    return to_keras


def of(kind, change):
    """Change the arrays of one kind of layer."""
    return changed(lambda module, arrays: change(arrays) if isinstance(module, kind) else arrays)


@wrong("right shape and the wrong numbers")
class kernels_reshaped:
    to_keras = changed(lambda module, arrays: [
        module.weight.detach().numpy().reshape(arrays[0].shape), *arrays[1:]
    ] if isinstance(module, nn.Conv2d) else arrays)
    from_keras = back


@wrong("in PyTorch's order")
class kernels_as_they_are:
    to_keras = of(nn.Conv2d, lambda arrays: [arrays[0].transpose(3, 2, 0, 1), *arrays[1:]])
    from_keras = back


@wrong("(height, width, out, in)")
class out_before_in:
    to_keras = of(nn.Conv2d, lambda arrays: [arrays[0].swapaxes(2, 3), *arrays[1:]])
    from_keras = back


@wrong("Height comes first")
class width_before_height:
    to_keras = of(nn.Conv2d, lambda arrays: [arrays[0].swapaxes(0, 1), *arrays[1:]])
    from_keras = back


@wrong("transpose them")
class linear_as_it_is:
    to_keras = of(nn.Linear, lambda arrays: [arrays[0].T, *arrays[1:]])
    from_keras = back


@wrong("In Keras they are weights too")
class no_statistics:
    to_keras = of(nn.BatchNorm2d, lambda arrays: arrays[:2])
    from_keras = back


@wrong("iases are missing")
class no_biases:
    to_keras = of((nn.Conv2d, nn.Linear), lambda arrays: arrays[:1])
    from_keras = back


@wrong("the variance comes before the mean")
class variance_before_mean:
    to_keras = of(nn.BatchNorm2d, lambda arrays: [*arrays[:2], arrays[3], arrays[2]])
    from_keras = back


@wrong("the standard deviation")
class deviation_for_variance:
    to_keras = of(nn.BatchNorm2d, lambda arrays: [*arrays[:3], np.sqrt(arrays[3])])
    from_keras = back


@wrong("in PyTorch's shapes")
class the_state_dict:
    def to_keras(model):
        return [value.numpy() for key, value in model.state_dict().items() if "tracked" not in key]

    from_keras = back


@wrong("num_batches_tracked has no place in Keras")
class the_whole_state_dict:
    def to_keras(model):
        return [value.numpy() for value in model.state_dict().values()]

    from_keras = back


@wrong("A tensor becomes one by")
class tensors:
    def to_keras(model):
        return [torch.tensor(array) for array in to(model)]

    from_keras = back


@wrong("goes into parts of parts")
class the_parts_at_the_top:
    def to_keras(model):
        return [array for module in model.children() for array in arrays_of(module)]

    from_keras = back


@wrong("in eval mode after the call")
class left_in_eval_mode:
    def to_keras(model):
        return to(model.eval())

    from_keras = back


@wrong("wrong numbers. Is that reshape()?")
class reshaped_back:
    to_keras = to

    def from_keras(model, arrays):
        targets = [part for module in model.modules() for part, _ in targets_of(module)]
        for part, array in zip(targets, arrays, strict=True):
            turned = array.T if array.ndim == 2 else array
            part.data.copy_(torch.tensor(turned).reshape(part.shape))
        return model


@wrong("parameters() leaves them out")
class statistics_forgotten_on_the_way_back:
    to_keras = to

    def from_keras(model, arrays):
        targets = [target for module in model.modules() for target in targets_of(module)]
        for (part, axes), array in zip(targets, arrays, strict=True):
            if part.requires_grad:
                part.data.copy_(torch.tensor(array).permute(axes))
        return model


@wrong("he parameters no longer train")
class frozen_on_the_way_back:
    to_keras = to

    def from_keras(model, arrays):
        return back(model.requires_grad_(False), arrays)


@wrong("odel and arrays share memory")
class shared_memory:
    to_keras = to

    def from_keras(model, arrays):
        targets = [target for module in model.modules() for target in targets_of(module)]
        for (part, axes), array in zip(targets, arrays, strict=True):
            if len(axes) == 4:
                part.data = torch.from_numpy(array).permute(axes)
            else:
                part.data.copy_(torch.tensor(array).permute(axes))
        return model


@wrong("he caller's list is used up")
class the_list_used_up:
    to_keras = to

    def from_keras(model, arrays):
        back(model, list(arrays))
        arrays.clear()
        return model


@wrong("Is there a return?")
class nothing_returned:
    to_keras = to

    def from_keras(model, arrays):
        back(model, arrays)


@right
class into_a_dictionary_of_the_state:
    to_keras = to

    def from_keras(model, arrays):
        targets = [target for module in model.modules() for target in targets_of(module)]
        names = {value.data_ptr(): key for key, value in model.state_dict().items()}
        new = {names[part.data_ptr()]: torch.tensor(array).permute(axes)
               for (part, axes), array in zip(targets, arrays, strict=True)}
        model.load_state_dict(new, strict=False)
        return model


@wrong("eps is added to the variance")
class eps_in_the_variance:
    to_keras = of(nn.BatchNorm2d, lambda arrays: [*arrays[:3], arrays[3] + np.float32(1e-5)])
    from_keras = back


@wrong("he biases come first")
class biases_first:
    to_keras = of((nn.Conv2d, nn.Linear), lambda arrays: arrays[::-1])
    from_keras = back


@wrong("sorted by kind of layer")
class kind_by_kind:
    def to_keras(model):
        return [array for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear) for module in model.modules()
                if isinstance(module, kind) for array in arrays_of(module)]

    from_keras = back


@wrong("All arrays stand in one list")
class a_list_for_each_layer:
    def to_keras(model):
        return [arrays_of(module) for module in model.modules() if arrays_of(module)]

    from_keras = back


@wrong("expected arrays of float32, got float64")
class double_precision:
    to_keras = changed(lambda module, arrays: [array.astype("float64") for array in arrays])
    from_keras = back


@wrong("expected the model that was given, got another one")
class a_copy_filled:
    to_keras = to

    def from_keras(model, arrays):
        return back(copy.deepcopy(model), arrays)


@wrong("odel and arrays share memory")
class parameters_around_the_arrays:
    to_keras = to

    def from_keras(model, arrays):
        targets = [target for module in model.modules() for target in targets_of(module)]
        for (part, axes), array in zip(targets, arrays, strict=True):
            part.data = torch.from_numpy(array).permute(axes)
        return model


@wrong("opy into parameters under torch.no_grad()")
class gradients_recorded:
    to_keras = to

    def from_keras(model, arrays):
        with torch.enable_grad():
            for module in model.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.copy_(torch.tensor(arrays[0]).permute(3, 2, 0, 1))
        return model


@wrong("so what follows is one array off")
class the_bias_of_a_convolution_not_taken:
    to_keras = to

    def from_keras(model, arrays):
        given = iter(arrays)
        with torch.no_grad():
            for module in model.modules():
                for part, axes in targets_of(module)[:1 if isinstance(module, nn.Conv2d) else None]:
                    part.copy_(torch.tensor(next(given)).permute(axes))
        return model
