"""Answers to exercise bottleneck."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def parts(c, k, b=4, **options):
    """BN, ReLU, 1×1, BN, ReLU, 3×3."""
    second = {"kernel_size": 3, "padding": 1, "bias": False} | options
    return [nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, b * k, 1, bias=False),
            nn.BatchNorm2d(b * k), nn.ReLU(), nn.Conv2d(b * k, k, **second)]


def cost(in_channels, growth_rate, height, width, bottleneck_factor=4):
    waist = bottleneck_factor * growth_rate
    return height * width * (in_channels * waist + 9 * waist * growth_rate)


def layer(in_channels, growth_rate, bottleneck_factor=4):
    return nn.Sequential(*parts(in_channels, growth_rate, bottleneck_factor))


class Wrapped(nn.Module):
    """The right layer, for answers that do one thing more in their forward pass."""

    def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
        super().__init__()
        self.layer = layer(in_channels, growth_rate, bottleneck_factor)

    def forward(self, x):
        return self.layer(x)


@right
class a_Sequential_and_a_formula:
    class BottleneckLayer(nn.Sequential):
        def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
            super().__init__(*parts(in_channels, growth_rate, bottleneck_factor))

    layer_cost = staticmethod(cost)


@right
class registered_backwards_with_in_place_ReLU_and_a_loop:
    class BottleneckLayer(nn.Module):
        def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
            super().__init__()
            self.spatial = nn.Conv2d(bottleneck_factor * growth_rate, growth_rate, 3, padding="same", bias=False)
            self.middle = nn.BatchNorm2d(bottleneck_factor * growth_rate)
            self.squeeze = nn.Conv2d(in_channels, bottleneck_factor * growth_rate, 1, bias=False)
            self.first = nn.BatchNorm2d(in_channels)

        def forward(self, x):
            waist = self.squeeze(F.relu_(self.first(x)))
            return self.spatial(F.relu(self.middle(waist), inplace=True))

    def layer_cost(in_channels, growth_rate, height, width, bottleneck_factor=4):
        total, channels = 0, in_channels
        for kernel, out in ((1, bottleneck_factor * growth_rate), (3, growth_rate)):
            total += kernel * kernel * channels * out * height * width
            channels = out
        return total


@right
class lazy_layers_and_a_NumPy_integer:
    def BottleneckLayer(in_channels, growth_rate, bottleneck_factor=4):
        return nn.Sequential(
            nn.LazyBatchNorm2d(), nn.ReLU(True), nn.LazyConv2d(bottleneck_factor * growth_rate, 1, bias=False),
            nn.LazyBatchNorm2d(), nn.ReLU(True), nn.LazyConv2d(growth_rate, 3, padding=1, bias=False),
        )

    def layer_cost(in_channels, growth_rate, height, width, bottleneck_factor=4):
        import numpy as np

        return np.int64(cost(in_channels, growth_rate, height, width, bottleneck_factor))


@right
class bare_parameters_and_a_count_of_the_live_layer:
    class BottleneckLayer(nn.Module):
        def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
            super().__init__()
            waist = bottleneck_factor * growth_rate
            self.w2 = nn.Parameter(torch.randn(growth_rate, waist, 3, 3) * 0.1)
            self.w1 = nn.Parameter(torch.randn(waist, in_channels, 1, 1) * 0.1)
            for i, c in ((1, in_channels), (2, waist)):
                self.register_parameter(f"beta{i}", nn.Parameter(torch.zeros(c)))
                self.register_parameter(f"gamma{i}", nn.Parameter(torch.ones(c)))
                self.register_buffer(f"mean{i}", torch.zeros(c))
                self.register_buffer(f"var{i}", torch.ones(c))

        def forward(self, x):
            x = F.batch_norm(x, self.mean1, self.var1, self.gamma1, self.beta1, self.training).clamp(min=0)
            x = torch.einsum("nchw,dc->ndhw", x, self.w1[:, :, 0, 0])
            x = F.batch_norm(x, self.mean2, self.var2, self.gamma2, self.beta2, self.training).clamp(min=0)
            return F.conv2d(x, self.w2, padding=1)

    def layer_cost(in_channels, growth_rate, height, width, bottleneck_factor=4):
        with torch.device("meta"):
            module = layer(in_channels, growth_rate, bottleneck_factor)
        return sum(m.weight.numel() for m in module if isinstance(m, nn.Conv2d)) * height * width


def build(*, name, message, sizes=lambda c, k, b: (c, k, b), change=lambda made: made):
    """Register a wrong layer: ``change`` rebuilds the list of its six parts."""

    def BottleneckLayer(in_channels, growth_rate, bottleneck_factor=4):
        return nn.Sequential(*change(parts(*sizes(in_channels, growth_rate, bottleneck_factor))))

    wrong(message)(type(name, (), {"BottleneckLayer": BottleneckLayer, "layer_cost": cost}))


build(name="the_order_of_ResNet", message="the order of ResNet", change=lambda p: [
    p[2], nn.BatchNorm2d(p[2].out_channels), p[1], p[5], nn.BatchNorm2d(p[5].out_channels), p[4]])
build(name="ReLU_before_BatchNorm", message="BatchNorm stands before the ReLU",
      change=lambda p: [p[1], p[0], p[2], p[4], p[3], p[5]])
build(name="nothing_between_the_convolutions", message="BN and ReLU between the two convolutions are missing",
      change=lambda p: [*p[:3], p[5]])
build(name="no_ReLU_in_the_waist", message="the ReLU between the two convolutions is missing",
      change=lambda p: [*p[:4], p[5]])
build(name="no_ReLU_at_the_start", message="the ReLU before the 1×1 convolution is missing",
      change=lambda p: [p[0], *p[2:]])
build(name="no_BatchNorm_in_the_waist", message="BatchNorm between the two convolutions is missing",
      change=lambda p: [*p[:3], *p[4:]])
build(name="no_BatchNorm_at_the_start", message="BatchNorm before the 1×1 convolution is missing",
      change=lambda p: p[1:])
build(name="a_plain_layer", message="This is a plain layer",
      change=lambda p: [p[0], p[1], nn.Conv2d(p[0].num_features, p[5].out_channels, 3, padding=1, bias=False)])
build(name="a_waist_of_k", message="he waist is k wide", sizes=lambda c, k, b: (c, k, 1))
build(name="always_4k", message="bottleneck_factor is not used", sizes=lambda c, k, b: (c, k, 4))
build(name="padding_in_the_1x1", message="padding belongs to the 3×3", change=lambda p: [
    *p[:2], nn.Conv2d(p[2].in_channels, p[2].out_channels, 1, padding=1, bias=False),
    *p[3:5], nn.Conv2d(p[5].in_channels, p[5].out_channels, 3, bias=False)])
build(name="no_padding", message="A 3×3 convolution needs padding=1",
      change=lambda p: [*p[:5], nn.Conv2d(p[5].in_channels, p[5].out_channels, 3, bias=False)])
build(name="both_convolutions_3x3", message="The first convolution is 3×3", change=lambda p: [
    *p[:2], nn.Conv2d(p[2].in_channels, p[2].out_channels, 3, padding=1, bias=False), *p[3:]])
build(name="biases", message="et bias=False", change=lambda p: [
    *p[:2], nn.Conv2d(p[2].in_channels, p[2].out_channels, 1), *p[3:5],
    nn.Conv2d(p[5].in_channels, p[5].out_channels, 3, padding=1)])
build(name="a_Dropout_at_the_end", message="Is a Dropout left in?", change=lambda p: [*p, nn.Dropout(0.2)])
build(name="a_ReLU_at_the_end", message="a ReLU stands at the end", change=lambda p: [*p, nn.ReLU()])
build(name="Keras_epsilon", message="eps is 1e-3", change=lambda p: [
    nn.BatchNorm2d(p[0].num_features, eps=1e-3), *p[1:3], nn.BatchNorm2d(p[3].num_features, eps=1e-3), *p[4:]])
build(name="Keras_momentum", message="momentum is 0.01", change=lambda p: [
    nn.BatchNorm2d(p[0].num_features, momentum=0.01), *p[1:3],
    nn.BatchNorm2d(p[3].num_features, momentum=0.01), *p[4:]])


@wrong("Return only the new maps")
class joined_with_the_input:
    class BottleneckLayer(Wrapped):
        def forward(self, x):
            return torch.cat([x, self.layer(x)], dim=1)

    layer_cost = staticmethod(cost)


@wrong("no gradient comes back to the input")
class detached:
    class BottleneckLayer(Wrapped):
        def forward(self, x):
            return self.layer(x.detach())

    layer_cost = staticmethod(cost)


@wrong("the call changed the caller's tensor")
class in_place_on_the_input:
    class BottleneckLayer(Wrapped):
        def forward(self, x):
            y = self.layer(x.clone())
            x.detach().relu_()
            return y

    layer_cost = staticmethod(cost)


@wrong("kept on self between calls")
class state_kept_between_calls:
    class BottleneckLayer(Wrapped):
        def forward(self, x):
            y = self.layer(x)
            if not self.training:
                y = y + 0.01 * getattr(self, "calls", 0)
                self.calls = getattr(self, "calls", 0) + 1
            return y

    layer_cost = staticmethod(cost)


@wrong("in train mode")
class right_in_eval_mode_only:
    class BottleneckLayer(Wrapped):
        def train(self, mode=True):
            super().train(False)
            self.training = mode
            return self

    layer_cost = staticmethod(cost)


@wrong("The names of the arguments")
class an_argument_of_another_name:
    def BottleneckLayer(in_channels, growth_rate, bn_size=4):
        return layer(in_channels, growth_rate, bn_size)

    layer_cost = staticmethod(cost)


def costs(name, message, formula):
    """Register a right layer with a wrong cost, given as a formula of C, k, H, W and b."""

    def layer_cost(in_channels, growth_rate, height, width, bottleneck_factor=4):
        return formula(in_channels, growth_rate, height, width, bottleneck_factor)

    wrong(message)(type(name, (), {"BottleneckLayer": layer, "layer_cost": layer_cost}))


costs("operations_counted_twice", "a multiply-add is both in one", lambda *a: 2 * cost(*a))
costs("weights_in_place_of_work", "These are the weights", lambda c, k, h, w, b: cost(c, k, 1, 1, b))
costs("the_cost_of_a_plain_layer", "single 3×3 convolution", lambda c, k, h, w, b: 9 * c * k * h * w)
costs("a_3x3_without_its_nine", "has nine weights", lambda c, k, h, w, b: h * w * (c * b * k + b * k * k))
costs("the_cost_of_the_1x1_only", "The 3×3 convolution is missing", lambda c, k, h, w, b: h * w * c * b * k)
costs("square_maps_only", "for an image of H·H", lambda c, k, h, w, b: cost(c, k, h, h, b))
costs("the_factor_hard_coded", "bottleneck_factor is not used", lambda c, k, h, w, b: cost(c, k, h, w, 4))
costs("a_whole_float", "got the float", lambda *a: cost(*a) / 1)
costs("nothing_returned", "Is there a return?", lambda *a: None)


@right
class compiled_with_the_backend_that_changes_nothing:
    def BottleneckLayer(in_channels, growth_rate, bottleneck_factor=4):
        return torch.compile(layer(in_channels, growth_rate, bottleneck_factor), backend="eager")

    layer_cost = staticmethod(cost)


@wrong("as in a residual block")
class a_shortcut_where_it_fits:
    class BottleneckLayer(Wrapped):
        def forward(self, x):
            new = self.layer(x)
            return new + x if new.shape == x.shape else new

    layer_cost = staticmethod(cost)


@wrong("Is there a squeeze()?")
class a_batch_of_one_squeezed:
    class BottleneckLayer(Wrapped):
        def forward(self, x):
            return self.layer(x).squeeze()

    layer_cost = staticmethod(cost)


@wrong("as torch.utils.checkpoint does")
class checkpointed_without_care:
    class BottleneckLayer(Wrapped):
        def forward(self, x):
            from torch.utils.checkpoint import checkpoint

            return checkpoint(self.layer, x, use_reentrant=False)

    layer_cost = staticmethod(cost)


@wrong("Write the 1×1 convolution as nn.Conv2d")
class a_linear_map_of_the_channels:
    class BottleneckLayer(nn.Module):
        def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
            super().__init__()
            self.norm1, self.relu, _, self.norm2, _, self.conv2 = parts(in_channels, growth_rate, bottleneck_factor)
            self.conv1 = nn.Linear(in_channels, bottleneck_factor * growth_rate, bias=False)

        def forward(self, x):
            x = self.conv1(self.relu(self.norm1(x)).movedim(1, -1)).movedim(-1, 1)
            return self.conv2(self.relu(self.norm2(x)))

    layer_cost = staticmethod(cost)


def even_groups(c, k, **options):
    return nn.Conv2d(c, k, **options, groups=2 if c % 2 == k % 2 == 0 else 1, bias=False)


build(name="groups_in_the_1x1_where_they_fit", message="works in groups",
      change=lambda p: [*p[:2], even_groups(p[2].in_channels, p[2].out_channels, kernel_size=1), *p[3:]])
build(name="groups_in_the_3x3_where_they_fit", message="works in groups",
      change=lambda p: [*p[:5], even_groups(p[5].in_channels, p[5].out_channels, kernel_size=3, padding=1)])
build(name="ReLU6", message="this is ReLU6",
      change=lambda p: [nn.ReLU6() if isinstance(part, nn.ReLU) else part for part in p])
build(name="a_Dropout_in_the_waist", message="Is a Dropout left in?",
      change=lambda p: [*p[:5], nn.Dropout2d(0.2), p[5]])


def renormalised(**options):
    """Return a change that builds both BatchNorms with other options."""
    return lambda parts: [nn.BatchNorm2d(part.num_features, **options) if isinstance(part, nn.BatchNorm2d) else part
                          for part in parts]


build(name="momentum_of_0_99", message="momentum is 0.99", change=renormalised(momentum=0.99))
build(name="a_mean_over_all_batches", message="(momentum=None)", change=renormalised(momentum=None))
build(name="eps_1e_6", message="eps is 1e-6", change=renormalised(eps=1e-6))
build(name="no_running_statistics", message="uses the batch's statistics in eval mode too",
      change=renormalised(track_running_stats=False))
build(name="no_gamma_and_beta", message="not affine=False", change=renormalised(affine=False))
build(name="Keras_epsilon_in_the_waist_only", message="eps is 1e-3",
      change=lambda p: [*p[:3], nn.BatchNorm2d(p[3].num_features, eps=1e-3), *p[4:]])


@wrong("uses the running statistics in train mode too")
class held_in_eval_mode:
    class BottleneckLayer(Wrapped):
        def train(self, mode=True):
            return super().train(False)

    layer_cost = staticmethod(cost)


@wrong("Mend “parameters” first")
class a_kernel_of_5:
    def BottleneckLayer(in_channels, growth_rate, bottleneck_factor=4):
        return nn.Sequential(*parts(in_channels, growth_rate, bottleneck_factor, kernel_size=5, padding=2))

    layer_cost = staticmethod(cost)


def turned(convolution):
    """Return the transposed convolution of the same sizes."""
    return nn.ConvTranspose2d(convolution.in_channels, convolution.out_channels, convolution.kernel_size,
                              padding=convolution.padding, bias=False)


build(name="both_convolutions_transposed", message="write nn.Conv2d",
      change=lambda p: [*p[:2], turned(p[2]), *p[3:5], turned(p[5])])
build(name="the_3x3_transposed", message="at the end this is a transposed convolution",
      change=lambda p: [*p[:5], turned(p[5])])
build(name="the_3x3_with_its_channels_swapped", message="n the 3×3 the two numbers of channels",
      change=lambda p: [*p[:5], nn.Conv2d(p[5].out_channels, p[5].in_channels, 3, padding=1, bias=False)])
build(name="pixels_apart", message="leave dilation at 1", change=lambda p: [
    *p[:5], nn.Conv2d(p[5].in_channels, p[5].out_channels, 3, padding=2, dilation=2, bias=False)])
build(name="ReLU_before_the_first_BatchNorm", message="before the 1×1 convolution the ReLU stands in front",
      change=lambda p: [p[1], p[0], *p[2:]])
build(name="ReLU_before_the_second_BatchNorm", message="before the 3×3 convolution the ReLU stands in front",
      change=lambda p: [*p[:3], p[4], p[3], p[5]])
costs("height_and_width_added", "This is for H + W pixels", lambda c, k, h, w, b: (h + w) * (c * b * k + 9 * b * k * k))
costs("a_3x3_that_keeps_the_waist", "not the waist's number",
      lambda c, k, h, w, b: h * w * (c * b * k + 9 * (b * k)**2))
costs("a_3x3_to_the_joined_maps", "makes the growth_rate new maps only",
      lambda c, k, h, w, b: h * w * (c * b * k + 9 * b * k * (c + k)))
costs("a_1x1_with_padding", "The 1×1 convolution has no padding",
      lambda c, k, h, w, b: (h + 2) * (w + 2) * c * b * k + h * w * 9 * b * k * k)


@right
class two_halves_with_padding_the_same:
    class BottleneckLayer(nn.Module):
        def __init__(self, in_channels, growth_rate, bottleneck_factor=4):
            super().__init__()
            self.narrow = self.half(in_channels, bottleneck_factor * growth_rate, 1)
            self.wide = self.half(bottleneck_factor * growth_rate, growth_rate, 3)

        def half(self, c, out, size):
            convolution = nn.Conv2d(c, out, size, padding="same", bias=False)
            return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), convolution)

        def forward(self, maps):
            return self.wide(self.narrow(maps))

    layer_cost = staticmethod(cost)
