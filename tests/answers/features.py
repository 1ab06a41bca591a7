"""Answers to exercise features."""

import contextlib
import copy

import torch
from torch import nn

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


@contextlib.contextmanager
def eval_mode(model):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def hooks(modules, keep):
    """Put keep(name, inputs, output) on each of the modules, and take it away again."""
    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(lambda m, i, o, name=name: keep(name, i, o)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def chosen(model, layers):
    """Return the modules by name, or raise KeyError."""
    modules = dict(model.named_modules())
    return {name: modules[name] for name in layers}


@right
class hooks_removed_in_finally:
    def extract_features(model, images, layers):
        modules = dict(model.named_modules())
        unknown = [name for name in layers if name not in modules]
        if unknown:
            raise ValueError(f"no such layers: {unknown}")
        features, handles = {}, []
        modes = [(module, module.training) for module in modules.values()]

        def keep(name):
            def hook(module, inputs, output):
                features[name] = output.detach().clone()

            return hook

        try:
            for name in layers:
                handles.append(modules[name].register_forward_hook(keep(name)))
            model.eval()
            with torch.no_grad():
                model(images)
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in modes:
                module.training = mode
        return features


@right
class context_managers_that_keep_gradients:
    def extract_features(model, images, layers):
        features = {}
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return {name: features[name] for name in layers}


@right
class a_copy_of_the_network:
    def extract_features(model, images, layers):
        model = copy.deepcopy(model).eval()
        features = {}
        for name, module in chosen(model, layers).items():
            module.register_forward_hook(lambda m, i, o, name=name: features.update({name: o.clone()}))
        with torch.inference_mode():
            model(images)
        return features


@right
class one_graph_for_each_layer:
    def extract_features(model, images, layers):
        from torchvision.models.feature_extraction import create_feature_extractor

        model = copy.deepcopy(model).eval()  # a graph that ends at the layer holds no later in-place ReLU
        return {name: create_feature_extractor(model, [name])(images)[name] for name in layers}


@right
class a_global_hook:
    def extract_features(model, images, layers):
        names = {module: name for name, module in model.named_modules() if name in layers}
        if set(names.values()) != set(layers):
            raise KeyError(layers)
        features = {}

        def hook(module, inputs, output):
            if module in names:
                features[names[module]] = output.clone()

        handle = nn.modules.module.register_module_forward_hook(hook)
        try:
            with eval_mode(model), torch.no_grad():
                model(images)
        finally:
            handle.remove()
        return features


@right
class forward_replaced_and_put_back:
    def extract_features(model, images, layers):
        modules = chosen(model, layers)
        features = {}

        def recorded(name, forward):
            def call(*arguments):
                output = forward(*arguments)
                features[name] = output.clone()
                return output

            return call

        with eval_mode(model), contextlib.ExitStack() as stack:
            for name, module in modules.items():
                module.forward = recorded(name, module.forward)
                stack.callback(vars(module).pop, "forward")
            model(images)
        return features


@right
class get_submodule:
    def extract_features(model, images, layers):
        features, modules = {}, {name: model.get_submodule(name) for name in layers}
        with eval_mode(model), hooks(modules, lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("one Sequential, features, not the blocks")
class children_without_the_last:
    def extract_features(model, images, layers):
        blocks = list(model.children())[:-1]
        features, maps = {}, images
        with eval_mode(model):
            for name in chosen(model, layers):
                for block in blocks:
                    maps = block(images)
                features[name] = maps
        return features


@wrong("model.named_modules() knows all names")
class children_by_name:
    def extract_features(model, images, layers):
        features, maps = {}, images
        with eval_mode(model):
            for name, child in list(model.named_children())[:-1]:
                maps = child(maps)
                features[name] = maps.clone()
        return features


@wrong("Keep the full names")
class last_part_of_the_name:
    def extract_features(model, images, layers):
        features = {}
        keep = lambda n, i, o: features.update({n.split(".")[-1]: o.clone()})  # noqa: E731
        with eval_mode(model), hooks(chosen(model, layers), keep):
            model(images)
        return features


@wrong("an in-place ReLU wrote over the output")
class no_clone:
    def extract_features(model, images, layers):
        features = {}
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o})):
            model(images)
        return features


@wrong("an in-place ReLU wrote over the output")
class detached_but_not_cloned:
    def extract_features(model, images, layers):
        features = {}
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.detach()})):
            model(images)
        return features


@wrong("an in-place ReLU wrote over the output")
class cloned_after_the_forward_pass:
    def extract_features(model, images, layers):
        features = {}
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o})):
            model(images)
        return {name: value.clone() for name, value in features.items()}


@wrong("an in-place ReLU wrote over the output")
class ReLU_modules_made_plain_but_not_the_function:
    def extract_features(model, images, layers):
        features, model = {}, copy.deepcopy(model).eval()
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o})):
            model(images)
        return features


@wrong("A forward pass ran in train mode")
class train_mode:
    def extract_features(model, images, layers):
        features = {}
        with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("A forward pass ran in train mode")
class train_mode_first:
    def extract_features(model, images, layers):
        features = {}
        with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
            with eval_mode(model):
                model(images)
        return features


@wrong("BatchNorm used the batch's statistics")
class a_copy_in_train_mode:
    def extract_features(model, images, layers):
        features, model = {}, copy.deepcopy(model)
        with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("BatchNorm used the batch's statistics")
class eval_mode_of_the_network_alone:
    def extract_features(model, images, layers):
        features, model = {}, copy.deepcopy(model)
        model.training = False
        with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("is every layer recorded")
class every_layer_recorded:
    def extract_features(model, images, layers):
        features = {}
        with eval_mode(model), hooks(dict(model.named_modules()), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features if chosen(model, layers) else {}


@wrong("expected a tensor, got a ndarray")
class NumPy_arrays:
    def extract_features(model, images, layers):
        features = {}
        keep = lambda n, i, o: features.update({n: o.detach().numpy().copy()})  # noqa: E731
        with eval_mode(model), hooks(chosen(model, layers), keep):
            model(images)
        return features


@wrong("All are in eval mode now")
class modes_not_restored:
    def extract_features(model, images, layers):
        features = {}
        with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model.eval()(images)
        return features


@wrong("All are in train mode now")
class train_mode_at_the_end:
    def extract_features(model, images, layers):
        features = {}
        try:
            with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
                model.eval()(images)
        finally:
            model.train()
        return features


@wrong("train(mode) reaches all inside")
class only_the_mode_of_the_network:
    def extract_features(model, images, layers):
        features, mode = {}, model.training
        try:
            with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
                model.eval()(images)
        finally:
            model.train(mode)
        return features


@wrong("all modules were in train mode, then came an error")
class modes_not_restored_after_an_error:
    def extract_features(model, images, layers):
        features = {}
        modes = {module: module.training for module in model.modules()}
        with hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model.eval()(images)
        for module, mode in modes.items():
            module.training = mode
        return features


@wrong("Remove every handle")
class hooks_left:
    def extract_features(model, images, layers):
        features = {}
        for name, module in chosen(model, layers).items():
            module.register_forward_hook(lambda m, i, o, name=name: features.update({name: o.clone()}))
        with eval_mode(model):
            model(images)
        return dict(features)


@wrong("Remove every handle")
class one_handle_for_each_name_though_a_name_came_twice:
    def extract_features(model, images, layers):
        features, handles, modules = {}, {}, dict(model.named_modules())
        try:
            for name in layers:
                handles[name] = modules[name].register_forward_hook(
                    lambda m, i, o, name=name: features.update({name: o.clone()})
                )
            with eval_mode(model):
                model(images)
        finally:
            for handle in handles.values():
                handle.remove()
        return features


@wrong("Put remove() into finally")
class hooks_left_after_an_error:
    def extract_features(model, images, layers):
        features, handles, modules = {}, [], chosen(model, layers)
        for name, module in modules.items():
            handles.append(module.register_forward_hook(lambda m, i, o, n=name: features.update({n: o.clone()})))
        with eval_mode(model):
            model(images)
        for handle in handles:
            handle.remove()
        return features


@wrong("after an error about an unknown name")
class hooks_left_after_an_unknown_name:
    def extract_features(model, images, layers):
        features, handles, modules = {}, [], dict(model.named_modules())
        for name in layers:
            handles.append(modules[name].register_forward_hook(lambda m, i, o, n=name: features.update({n: o.clone()})))
        try:
            with eval_mode(model):
                model(images)
        finally:
            for handle in handles:
                handle.remove()
        return features


@wrong("all networks (a global hook)")
class a_global_hook_left:
    def extract_features(model, images, layers):
        features, names = {}, {module: name for name, module in chosen(model, layers).items()}
        nn.modules.module.register_module_forward_hook(
            lambda m, i, o: features.update({names[m]: o.clone()}) if m in names else None
        )
        with eval_mode(model):
            model(images)
        return features


@wrong("the caller's own hook on")
class all_hooks_cleared:
    def extract_features(model, images, layers):
        features, modules = {}, chosen(model, layers)
        try:
            for name, module in modules.items():
                module.register_forward_hook(lambda m, i, o, name=name: features.update({name: o.clone()}))
            with eval_mode(model):
                model(images)
        finally:
            for module in model.modules():
                module._forward_hooks.clear()
        return features


@wrong("with another forward")
class forward_replaced_for_good:
    def extract_features(model, images, layers):
        features = {}
        for name, module in chosen(model, layers).items():
            def recorded(*arguments, name=name, forward=module.forward):
                output = forward(*arguments)
                features[name] = output.clone()
                return output

            module.forward = recorded
        with eval_mode(model):
            model(images)
        return features


@wrong("after an error in the forward pass the network is a DenseNet with another forward")
class forward_not_put_back_after_an_error:
    def extract_features(model, images, layers):
        modules, features = chosen(model, layers), {}
        forward = model.forward

        def recorded(*arguments):
            with hooks(modules, lambda n, i, o: features.update({n: o.clone()})):
                return forward(*arguments)

        with eval_mode(model):
            model.forward = recorded
            model(images)
            del model.forward
        return features


@wrong("after an error in the forward pass the network has an attribute wanted")
class a_note_on_the_network_after_an_error:
    def extract_features(model, images, layers):
        model.wanted, features = list(layers), {}
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        del model.wanted
        return features


@wrong("a call with an error in the forward pass froze its parameters")
class frozen_until_an_error:
    def extract_features(model, images, layers):
        features, trained = {}, [p for p in model.parameters() if p.requires_grad]
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model.requires_grad_(False)
            model(images)
        for parameter in trained:
            parameter.requires_grad_(True)
        return features


@wrong("your hook returns a tensor, and PyTorch goes on with it: return nothing")
class a_hook_that_returns_its_copy:
    def extract_features(model, images, layers):
        features = {}
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.setdefault(n, o.clone())):
            model(images)
        return features


@wrong("Let the error through")
class errors_swallowed:
    def extract_features(model, images, layers):
        features = {}
        with (
            contextlib.suppress(RuntimeError), eval_mode(model),
            hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})),
        ):
            model(images)
        return features


@wrong("expected KeyError, ValueError or AttributeError, got a dict")
class unknown_names_skipped:
    def extract_features(model, images, layers):
        features = {}
        modules = {name: module for name, module in model.named_modules() if name in layers}
        with eval_mode(model), hooks(modules, lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("Exactly the names of model.named_modules() are known")
class names_that_end_alike:
    def extract_features(model, images, layers):
        features, modules = {}, {}
        for name in layers:
            found = [m for n, m in model.named_modules() if n == name or n.endswith("." + name)]
            if not found:
                raise KeyError(name)
            modules[name] = found[0]
        with eval_mode(model), hooks(modules, lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("A hook gets (module, inputs, output)")
class inputs_instead_of_output:
    def extract_features(model, images, layers):
        features = {}
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: i})):
            model(images)
        return features


@wrong("this is what goes into the module")
class input_instead_of_output:
    def extract_features(model, images, layers):
        features = {}
        keep = lambda n, i, o: features.update({n: torch.cat(i[0], 1) if isinstance(i[0], list) else i[0].clone()})  # noqa: E731
        with eval_mode(model), hooks(chosen(model, layers), keep):
            model(images)
        return features


@wrong("this is the output of")
class names_zipped_in_the_order_of_the_forward_pass:
    def extract_features(model, images, layers):
        came = []
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: came.append(o.clone())):
            model(images)
        return dict(zip(dict.fromkeys(layers), came, strict=True))


@wrong("this is the output of")
class late_binding_of_the_name:
    def extract_features(model, images, layers):
        features, handles = {}, []
        for module in chosen(model, layers).values():
            def hook(m, inputs, output):
                features[name] = output.clone()

            handles.append(module.register_forward_hook(hook))
        for name in layers:  # noqa: B007
            pass
        try:
            with eval_mode(model):
                model(images)
        finally:
            for handle in handles:
                handle.remove()
        return {key: features[name] for key in layers}


@wrong("averaged over height and width")
class pooled:
    def extract_features(model, images, layers):
        features = {}
        keep = lambda n, i, o: features.update({n: o.mean((2, 3)) if o.ndim == 4 else o.clone()})  # noqa: E731
        with eval_mode(model), hooks(chosen(model, layers), keep):
            model(images)
        return features


@wrong("Is one dict used for all calls")
class one_dict_for_all_calls:
    def extract_features(model, images, layers, features={}):  # noqa: B006
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("expected a dict of tensors by layer name, got a list")
class a_list:
    def extract_features(model, images, layers):
        features = []
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.append(o.clone())):
            model(images)
        return features


@wrong("Is there a return?")
class nothing_returned:
    def extract_features(model, images, layers):
        with eval_mode(model), torch.no_grad():
            model(images)


@wrong("this is the output of features")
class only_the_last_maps:
    def extract_features(model, images, layers):
        modules = chosen(model, layers)
        with eval_mode(model), torch.no_grad():
            return {name: model.features(images) for name in modules}


@wrong("changed")
class network_frozen_and_reset:
    def extract_features(model, images, layers):
        features = {}
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0
                module.num_batches_tracked.zero_()
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("the call froze its parameters")
class parameters_frozen:
    def extract_features(model, images, layers):
        features = {}
        model.requires_grad_(False)
        with eval_mode(model), hooks(chosen(model, layers), lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("inplace of features.relu0 is False, before it was True")
class ReLU_modules_left_without_in_place:
    def extract_features(model, images, layers):
        features, modules = {}, chosen(model, layers)
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        with eval_mode(model), torch.no_grad(), hooks(modules, lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@wrong("none are recorded any more, so training would fail")
class gradients_switched_off_for_good:
    def extract_features(model, images, layers):
        features, modules = {}, chosen(model, layers)
        torch.set_grad_enabled(False)
        with eval_mode(model), hooks(modules, lambda n, i, o: features.update({n: o.clone()})):
            model(images)
        return features


@right
class a_stack_of_what_is_to_be_put_back:
    def extract_features(model, images, layers):
        features = {}
        with contextlib.ExitStack() as stack:
            for module in model.modules():
                stack.callback(setattr, module, "training", module.training)
            for name in dict.fromkeys(layers):
                handle = model.get_submodule(name).register_forward_hook(
                    lambda module, inputs, output, name=name: features.__setitem__(name, output.clone()))
                stack.callback(handle.remove)
            model.eval()
            with torch.inference_mode():
                model(images)
        return features
