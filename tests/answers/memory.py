"""Answers to exercise memory."""

import contextlib
import copy
import functools

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def norms(layer):
    return [part for part in layer.modules() if isinstance(part, nn.BatchNorm2d)]


@contextlib.contextmanager
def not_tracking(layer):
    """Let BatchNorm use the batch's statistics without remembering them."""
    tracked = [(norm, norm.track_running_stats) for norm in norms(layer)]
    for norm, _ in tracked:
        norm.track_running_stats = not norm.training
    try:
        yield
    finally:
        for norm, value in tracked:
            norm.track_running_stats = value


@contextlib.contextmanager
def momentum_0(layer):
    """Let BatchNorm run without moving its running statistics and its counter."""
    before = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms(layer)]
    for norm, _, _ in before:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, counter in before:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(counter)


class Wrapper(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer


@right
class checkpoint_with_a_context_for_the_recomputation:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            def contexts():
                return contextlib.nullcontext(), momentum_0(self.layer)

            return checkpoint(self.layer, x, use_reentrant=False, context_fn=contexts)


@right
class momentum_0_and_the_counter_put_back_in_a_second_pass:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            if not (torch.is_grad_enabled() and x.requires_grad):
                return self.layer(x)
            passes = []
            return checkpoint(self.once, x, passes, use_reentrant=False)

        def once(self, x, passes):
            passes.append(None)
            if len(passes) == 1:
                return self.layer(x)
            with momentum_0(self.layer):
                return self.layer(x)


class Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, layer, x, *parameters):
        ctx.layer, ctx.mode = layer, layer.training
        ctx.save_for_backward(x)
        return layer(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_(ctx.needs_input_grad[1])
        inputs = [x] * ctx.needs_input_grad[1] + list(ctx.layer.parameters())
        with torch.enable_grad(), not_tracking(ctx.layer):
            gradients = torch.autograd.grad(ctx.layer(x), inputs, gradient)
        return None, *([] if ctx.needs_input_grad[1] else [None]), *gradients


@right
class a_Function_of_its_own:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return Recomputed.apply(self.layer, x, *self.layer.parameters())


@right
class only_the_pure_part_checkpointed:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            layer = self.layer
            waist = checkpoint(self.first, x, *self.moments(layer.norm1, x), use_reentrant=False)
            return checkpoint(self.second, waist, *self.moments(layer.norm2, waist), use_reentrant=False)

        @torch.no_grad()
        def moments(self, norm, x):
            if norm.training:
                norm(x)  # moves the running statistics, once
            return norm.running_mean, norm.running_var

        def first(self, x, mean, variance):
            return self.layer.conv1(self.normalise(self.layer.norm1, x, mean, variance).relu())

        def second(self, x, mean, variance):
            return self.layer.conv2(self.normalise(self.layer.norm2, x, mean, variance).relu())

        def normalise(self, norm, x, mean, variance):
            if norm.training:
                return F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
            return F.batch_norm(x, mean, variance, norm.weight, norm.bias, False, 0.0, norm.eps)


@right
class reentrant_where_the_input_needs_gradients:
    class CheckpointedLayer(nn.Module):
        def __init__(self, inner):
            super().__init__()
            for name, part in inner.named_children():
                self.add_module(name, part)

        def forward(self, x):
            if not (torch.is_grad_enabled() and x.requires_grad):
                return self.run(x)
            return checkpoint(self.quiet_again, x, use_reentrant=True)

        def quiet_again(self, x):
            with not_tracking(self) if torch.is_grad_enabled() else contextlib.nullcontext():
                return self.run(x)

        def run(self, x):
            for part in (self.norm1, self.relu1, self.conv1, self.norm2, self.relu2, self.conv2):
                x = part(x)
            return x


@right
class a_function_that_changes_forward_and_returns_the_layer:
    def CheckpointedLayer(layer):
        plain = layer.forward
        contexts = lambda: (contextlib.nullcontext(), momentum_0(layer))  # noqa: E731
        layer.forward = functools.partial(checkpoint, plain, use_reentrant=False, context_fn=contexts)
        return layer


@right
class the_running_statistics_restored_after_the_recomputation:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False,
                              context_fn=lambda: (contextlib.nullcontext(), self.restored()))

        @contextlib.contextmanager
        def restored(self):
            before = {name: value.clone() for name, value in self.layer.named_buffers()}
            try:
                yield
            finally:
                with torch.no_grad():
                    for name, value in self.layer.named_buffers():
                        value.copy_(before[name])


@right
class updated_in_the_second_pass_only:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            if not torch.is_grad_enabled():
                return self.layer(x)
            return checkpoint(self.layer, x, use_reentrant=False,
                              context_fn=lambda: (momentum_0(self.layer), contextlib.nullcontext()))


@wrong("expected less than 95% of that")
class nothing_recomputed:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return self.layer(x)


@wrong("it moved twice")
class BatchNorm_updated_twice:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False)


@wrong("Does the recomputation count too?")
class counter_counts_twice:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False,
                              context_fn=lambda: (contextlib.nullcontext(), self.frozen()))

        @contextlib.contextmanager
        def frozen(self):
            momenta = [(norm, norm.momentum) for norm in norms(self.layer)]
            for norm, _ in momenta:
                norm.momentum = 0.0
            try:
                yield
            finally:
                for norm, momentum in momenta:
                    norm.momentum = momentum


@wrong("Put it back, in a finally")
class settings_not_put_back_after_an_early_stop:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False,
                              context_fn=lambda: (contextlib.nullcontext(), self.frozen()))

        @contextlib.contextmanager
        def frozen(self):
            before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms(self.layer)]
            for norm, _, _ in before:
                norm.momentum, norm.num_batches_tracked = 0.0, None
            yield
            for norm, momentum, counter in before:
                norm.momentum, norm.num_batches_tracked = momentum, counter


@wrong("Does the recomputation count too?")
class momentum_chosen_so_that_two_updates_are_one:
    class CheckpointedLayer(Wrapper):
        def __init__(self, layer):
            super().__init__(layer)
            for norm in norms(layer):
                norm.momentum = 1 - (1 - norm.momentum) ** 0.5

        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False)


@wrong("no gradient comes back through the output. The parameters need theirs")
class reentrant_in_every_case:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return checkpoint(self.again, x, use_reentrant=True)

        def again(self, x):
            with not_tracking(self.layer) if torch.is_grad_enabled() else contextlib.nullcontext():
                return self.layer(x)


@wrong("it never moves")
class BatchNorm_frozen_in_both_passes:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            contexts = lambda: (momentum_0(self.layer), momentum_0(self.layer))  # noqa: E731
            return checkpoint(self.layer, x, use_reentrant=False, context_fn=contexts)


@wrong("in the other mode")
class eval_mode_while_training:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            training = self.layer.training
            self.layer.eval()
            y = checkpoint(self.layer, x, use_reentrant=False)
            self.layer.train(training)
            return y


class EvalAgain(Recomputed):
    @staticmethod
    def backward(ctx, gradient):
        ctx.layer.eval()
        try:
            return Recomputed.backward(ctx, gradient)
        finally:
            ctx.layer.train(ctx.mode)


@wrong("this is the gradient of eval mode")
class recomputed_in_eval_mode:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return EvalAgain.apply(self.layer, x, *self.layer.parameters())


@wrong("training of the layer is False")
class left_in_eval_mode:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            y = Recomputed.apply(self.layer, x, *self.layer.parameters())
            if self.layer.training and y.requires_grad:
                y.register_hook(lambda gradient: None)
                x.register_hook(lambda gradient: self.layer.eval() and None) if x.requires_grad else None
            return y


@wrong("Is there a no_grad() or detach() on the way?")
class detached:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            with torch.no_grad():
                return self.layer(x)


@wrong("no gradient of the input arrives")
class detached_input:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return Recomputed.apply(self.layer, x.detach(), *self.layer.parameters())


class InputOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):
        ctx.layer = layer
        ctx.save_for_backward(x)
        return layer(x)

    @staticmethod
    def backward(ctx, gradient):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad(), not_tracking(ctx.layer):
            return torch.autograd.grad(ctx.layer(x), x, gradient)[0], None


@wrong("are its parameters no inputs of your Function?")
class no_gradients_for_the_parameters:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return InputOnly.apply(x, self.layer)


@wrong("Is the layer copied, or kept where nn.Module does not see it")
class the_layer_in_a_list:
    class CheckpointedLayer(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layers = [layer]

        def forward(self, x):
            return Recomputed.apply(self.layers[0], x, *self.layers[0].parameters())


@wrong("Is the layer copied")
class a_copy_of_the_layer:
    class CheckpointedLayer(Wrapper):
        def __init__(self, layer):
            super().__init__(copy.deepcopy(layer))

        def forward(self, x):
            return Recomputed.apply(self.layer, x, *self.layer.parameters())


@wrong("Is train() overwritten?")
class train_overwritten:
    class CheckpointedLayer(Wrapper):
        def train(self, mode=True):
            self.training = mode
            return self

        def forward(self, x):
            return Recomputed.apply(self.layer, x, *self.layer.parameters())


@wrong("eval mode: autograd saves")
class recomputed_in_train_mode_only:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            if not self.training:
                return self.layer(x)
            return Recomputed.apply(self.layer, x, *self.layer.parameters())


@wrong("train mode: autograd saves")
class recomputed_in_eval_mode_only:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            if self.training:
                return self.layer(x)
            return checkpoint(self.layer, x, use_reentrant=False)


@wrong("Is an output or a graph kept between calls?")
class output_kept_between_calls:
    class CheckpointedLayer(Wrapper):
        kept = None

        def forward(self, x):
            if self.kept is None or self.kept[0] != x.shape or self.kept[1] != self.training:
                y = Recomputed.apply(self.layer, x, *self.layer.parameters())
                self.kept = x.shape, self.training, y
            return self.kept[2]


@wrong("Is a flag or a saved state shared by the calls?")
class a_flag_that_says_first_or_second_pass:
    class CheckpointedLayer(Wrapper):
        second = False

        def forward(self, x):
            return checkpoint(self.run, x, use_reentrant=False) if torch.is_grad_enabled() else self.layer(x)

        def run(self, x):
            context = momentum_0(self.layer) if self.second else contextlib.nullcontext()
            self.second = not self.second
            with context:
                return self.layer(x)


@wrong("Is a flag or a saved state shared by the calls?")
class statistics_put_back_to_those_after_its_own_call:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            saved = {}
            y = checkpoint(self.run, x, saved, use_reentrant=False)
            saved.update({name: value.clone() for name, value in self.layer.named_buffers()})
            return y

        def run(self, x, saved):
            again = bool(saved)
            try:
                return self.layer(x)
            finally:
                if again:
                    with torch.no_grad():
                        for name, value in self.layer.named_buffers():
                            value.copy_(saved[name])


@wrong("bytes stay alive elsewhere")
class everything_kept_behind_a_hook_of_its_own:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
                return self.layer(x)


@wrong("expected less than 95% of that")
class everything_kept_on_ctx:
    class Keep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, layer, x, *parameters):
            with torch.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = layer(ctx.x)
            ctx.parameters = parameters
            return ctx.y.detach()

        @staticmethod
        def backward(ctx, gradient):
            return None, *torch.autograd.grad(ctx.y, [ctx.x, *ctx.parameters], gradient)

    def CheckpointedLayer(layer, Keep=Keep):
        wrapper = Wrapper(layer)
        wrapper.forward = lambda x: Keep.apply(layer, x, *layer.parameters())
        return wrapper


@wrong("joined with the new maps")
class input_joined:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return torch.cat([x, Recomputed.apply(self.layer, x, *self.layer.parameters())], dim=1)


@wrong("the call changed the caller's tensor")
class in_place_on_the_input:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            y = Recomputed.apply(self.layer, x.clone(), *self.layer.parameters())
            x.detach().relu_()
            return y


@wrong("Is there a return?")
class nothing_returned:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            checkpoint(self.layer, x, use_reentrant=False)


@wrong("it moved twice")
class the_parts_checkpointed_one_by_one:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            parts = list(self.layer.children())
            for half in (parts[:3], parts[3:]):
                x = checkpoint(nn.Sequential(*half), x, use_reentrant=False)
            return x


@wrong("keep BatchNorm's mode and buffers")
class tracking_switched_off_in_the_second_pass:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            contexts = lambda: (contextlib.nullcontext(), not_tracking(self.layer))  # noqa: E731
            return checkpoint(self.layer, x, use_reentrant=False, context_fn=contexts)


@wrong("it moved twice")
class the_counter_alone_put_back:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False,
                              context_fn=lambda: (contextlib.nullcontext(), self.counter_kept()))

        @contextlib.contextmanager
        def counter_kept(self):
            before = [(norm, norm.num_batches_tracked.clone()) for norm in norms(self.layer)]
            try:
                yield
            finally:
                for norm, counter in before:
                    norm.num_batches_tracked.copy_(counter)


@wrong("after a step in train mode: momentum of norm1 is 0.1")
class momentum_put_back_to_the_usual:
    class CheckpointedLayer(Wrapper):
        def forward(self, x):
            return checkpoint(self.layer, x, use_reentrant=False,
                              context_fn=lambda: (contextlib.nullcontext(), self.frozen()))

        @contextlib.contextmanager
        def frozen(self):
            try:
                with momentum_0(self.layer):
                    yield
            finally:
                for norm in norms(self.layer):
                    norm.momentum = 0.1


@wrong("lacks the layer's own norm1.running_mean")
class parameters_alone_registered:
    class CheckpointedLayer(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.hidden = [layer]
            self.weights = nn.ParameterList(layer.parameters())

        def train(self, mode=True):
            self.hidden[0].train(mode)
            return super().train(mode)

        def forward(self, x):
            return Recomputed.apply(self.hidden[0], x, *self.hidden[0].parameters())


@wrong("the input alone has")
class the_second_half_only:
    class CheckpointedLayer(Wrapper):
        def second(self, waist):
            return self.layer.conv2(self.layer.relu2(self.layer.norm2(waist)))

        def forward(self, x):
            def contexts():
                return contextlib.nullcontext(), momentum_0(self.layer.norm2)

            waist = self.layer.conv1(self.layer.relu1(self.layer.norm1(x)))
            return checkpoint(self.second, waist, use_reentrant=False, context_fn=contexts)
