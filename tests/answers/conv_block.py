"""Answers to exercise conv_block."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def conv(in_channels, out_channels, **options):
    return nn.Conv2d(in_channels, out_channels, **{"kernel_size": 3, "padding": 1, "bias": False} | options)


@right
class a_Sequential:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels))


@right
class a_class_registered_backwards_with_in_place_ReLU:
    class conv_block(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.convolution = conv(in_channels, out_channels, padding="same")
            self.norm = nn.BatchNorm2d(in_channels)

        def forward(self, x):
            return self.convolution(F.relu_(self.norm(x)))


@right
class lazy_layers:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(
            nn.LazyBatchNorm2d(), nn.ReLU(inplace=True), nn.LazyConv2d(out_channels, 3, padding=1, bias=False)
        )


@right
class bare_parameters_and_functional_calls:
    class conv_block(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) * 0.1)
            self.beta = nn.Parameter(torch.zeros(in_channels))
            self.gamma = nn.Parameter(torch.ones(in_channels))
            self.register_buffer("mean", torch.zeros(in_channels))
            self.register_buffer("variance", torch.ones(in_channels))

        def forward(self, x):
            x = F.batch_norm(x, self.mean, self.variance, self.gamma, self.beta, self.training)
            return F.conv2d(F.pad(x.clamp(min=0), (1, 1, 1, 1)), self.weight)


@wrong("the order of ResNet")
class convolution_first:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(conv(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU())


@wrong("The ReLU stands before the convolution")
class ReLU_last:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), conv(in_channels, out_channels), nn.ReLU())


@wrong("BatchNorm stands before the ReLU")
class ReLU_first:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.ReLU(), nn.BatchNorm2d(in_channels), conv(in_channels, out_channels))


@wrong("the ReLU is missing")
class no_ReLU:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), conv(in_channels, out_channels))


@wrong("BatchNorm is missing")
class no_BatchNorm:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.ReLU(), conv(in_channels, out_channels))


@wrong("A 3×3 convolution needs padding=1 and no dilation")
class no_padding:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels, padding=0))


@wrong("mirrored pixels")
class reflected_border:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(
            nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels, padding_mode="reflect")
        )


@wrong("set bias=False")
class convolution_with_bias:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels, bias=True))


@wrong("he kernel is 1×1")
class kernel_1:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(
            nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels, kernel_size=1, padding=0)
        )


@wrong("eps is 1e-3")
class Keras_epsilon:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels, eps=1e-3), nn.ReLU(), conv(in_channels, out_channels))


@wrong("momentum is 0.01")
class Keras_momentum:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels, momentum=0.01), nn.ReLU(), conv(in_channels, out_channels))


@wrong("uses the batch's statistics in eval mode too")
class no_running_statistics:
    def conv_block(in_channels, out_channels):
        norm = nn.BatchNorm2d(in_channels, track_running_stats=False)
        return nn.Sequential(norm, nn.ReLU(), conv(in_channels, out_channels))


@wrong("not affine=False")
class no_gamma_and_beta:
    def conv_block(in_channels, out_channels):
        norm = nn.BatchNorm2d(in_channels, affine=False)
        return nn.Sequential(norm, nn.ReLU(), conv(in_channels, out_channels))


@wrong("the call changed the caller's tensor")
class in_place_on_the_input:
    class conv_block(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(in_channels), conv(in_channels, out_channels)

        def forward(self, x):
            y = self.conv(self.norm(x.clone()).relu())
            x.detach().relu_()
            return y


@wrong("no gradient comes back to the input")
class detached_input:
    class conv_block(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(in_channels), conv(in_channels, out_channels)

        def forward(self, x):
            return self.conv(self.norm(x.detach()).relu())


@wrong("two modules share the parameter")
class one_convolution_for_all:
    def conv_block(in_channels, out_channels, made={}):  # noqa: B006
        shared = made.setdefault((in_channels, out_channels), conv(in_channels, out_channels))
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), shared)


@wrong("start with equal weights")
class seed_inside:
    def conv_block(in_channels, out_channels):
        torch.manual_seed(0)
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels))


@wrong("swapped")
class channels_swapped:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(out_channels), nn.ReLU(), conv(out_channels, in_channels))


@wrong("brackets that make an instance")
class the_class_itself:
    def conv_block(in_channels, out_channels):
        return nn.Sequential


@wrong("Is there a return?")
class nothing_returned:
    def conv_block(in_channels, out_channels):
        nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels))


@wrong("is a module already")
class a_module_instead_of_a_function:
    conv_block = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), conv(3, 10))


@right
class compiled_with_the_backend_that_changes_nothing:
    def conv_block(in_channels, out_channels):
        return torch.compile(
            nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels)), backend="eager"
        )


def block(name, message, *, norm=nn.BatchNorm2d, activation=nn.ReLU, around=nn.Sequential, end=(), **options):
    """Register a wrong block that differs from the right one in one part."""

    def conv_block(in_channels, out_channels):
        parts = norm(in_channels), activation(), conv(in_channels, out_channels, **options), *(part() for part in end)
        return around(*parts)

    wrong(message)(type(name, (), {"conv_block": staticmethod(conv_block)}))


class WithShortcut(nn.Sequential):
    def forward(self, x):
        out = super().forward(x)
        return x + out if x.shape == out.shape else out


class WithoutAxesOfOne(nn.Sequential):
    def forward(self, x):
        return super().forward(x).squeeze()


class HeldInEval(nn.Sequential):
    def train(self, mode=True):
        return super().train(False)


class HeldInTraining(nn.Sequential):
    def train(self, mode=True):
        return super().train(True)


block("a_shortcut_where_it_fits", "as in a residual block", around=WithShortcut)
block("a_batch_of_one_squeezed", "Is there a squeeze()?", around=WithoutAxesOfOne)
block("held_in_eval_mode", "uses the running statistics in train mode too", around=HeldInEval)
block("held_in_train_mode", "uses the batch's statistics in eval mode too", around=HeldInTraining)
block("a_Dropout_at_the_end", "Is a Dropout left in?", end=[nn.Dropout])
block("a_Dropout_of_maps", "Is a Dropout left in?", end=[lambda: nn.Dropout2d(0.2)])
block("ReLU6", "this is ReLU6", activation=nn.ReLU6)
block("momentum_of_0_99", "momentum is 0.99", norm=lambda c: nn.BatchNorm2d(c, momentum=0.99))
block("a_mean_over_all_batches", "(momentum=None)", norm=lambda c: nn.BatchNorm2d(c, momentum=None))
block("eps_1e_6", "eps is 1e-6", norm=lambda c: nn.BatchNorm2d(c, eps=1e-6))
block("a_kernel_of_5", "he kernel is 5×5", kernel_size=5, padding=2)
block("gamma_of_0", "γ starts at 0", norm=lambda c: zero_gamma(nn.BatchNorm2d(c)))


def zero_gamma(norm):
    nn.init.zeros_(norm.weight)
    return norm


@wrong("works in groups")
class groups_where_both_are_even:
    def conv_block(in_channels, out_channels):
        groups = 2 if in_channels % 2 == 0 and out_channels % 2 == 0 else 1
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels, groups=groups))


@wrong("BatchNorm and ReLU are missing.")
class nothing_but_a_convolution_with_bias:
    def conv_block(in_channels, out_channels):
        return nn.Conv2d(in_channels, out_channels, 3, padding=1)


@wrong("he kernel is 5×5; expected 3×3")
class a_kernel_of_5_with_bias:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, out_channels, 5, padding=2))


@wrong("this is GELU")
class GELU_and_the_epsilon_of_Keras:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels, eps=1e-3), nn.GELU(), conv(in_channels, out_channels))


class Absolute(nn.Module):
    def forward(self, x):
        return abs(x)


def starting(name, start, *options):
    """Return a maker of BatchNorm whose γ ("weight") or β ("bias") starts as a function of nn.init makes it."""

    def norm(channels):
        made = nn.BatchNorm2d(channels)
        start(getattr(made, name), *options)
        return made

    return norm


block("gamma_of_a_half", "γ starts at 0.5; expected 1", norm=starting("weight", nn.init.constant_, 0.5))
block("gamma_at_random", "γ starts at random; expected 1", norm=starting("weight", nn.init.uniform_))
block("gamma_near_1", "γ starts at random; expected 1", norm=starting("weight", nn.init.normal_, 1.0, 0.02))
block("beta_of_1", "β starts at 1; expected 0", norm=starting("bias", nn.init.ones_))
block("the_absolute_value", "the absolute value (abs)", activation=Absolute)
block("a_slope_that_is_trained", "this is PReLU", activation=nn.PReLU)
block("the_slope_of_Keras", "a leaky ReLU", activation=lambda: nn.LeakyReLU(0.3))
block("pixels_apart", "leave dilation at 1", dilation=2, padding=2)
block("pixels_apart_and_lost", "leave dilation at 1", dilation=2)
block("a_kernel_of_1_with_padding", "he kernel is 1×1; expected 3×3", kernel_size=1)


@wrong("write nn.Conv2d")
class a_transposed_convolution:
    def conv_block(in_channels, out_channels):
        turned = nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1, bias=False)
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), turned)


@wrong("write nn.Conv2d")
class a_transposed_convolution_with_bias:
    def conv_block(in_channels, out_channels):
        turned = nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1)
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), turned)


@wrong("he two numbers of channels of the convolution are swapped")
class channels_of_the_convolution_swapped:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(out_channels, in_channels))


@wrong("a second BatchNorm stands at the end")
class BatchNorm_at_both_ends:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels),
                             nn.BatchNorm2d(out_channels))


@wrong("there are two BatchNorms")
class BatchNorm_before_and_after_the_ReLU:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), nn.BatchNorm2d(in_channels),
                             conv(in_channels, out_channels))


@wrong("There is a second 3×3 convolution")
class two_convolutions:
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels),
                             conv(out_channels, out_channels))
