"""Answers to exercise transition."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def conv(in_channels, out_channels, **options):
    return nn.Conv2d(in_channels, out_channels, **{"kernel_size": 1, "bias": False} | options)


def parts(c, compression=0.5, **options):
    return [nn.BatchNorm2d(c), nn.ReLU(), conv(c, int(compression * c), **options), nn.AvgPool2d(2)]


def made(*modules):
    return nn.Sequential(*modules)


class Base(nn.Module):
    """A right transition, whose parts the answers replace."""

    def __init__(self, in_channels, compression=0.5):
        super().__init__()
        self.norm, _, self.conv, self.pool = parts(in_channels, compression)

    def forward(self, x):
        return self.pool(self.conv(self.norm(x).relu()))


@right
class a_Sequential:
    def transition(in_channels, compression=0.5):
        return made(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, math.floor(in_channels * compression), kernel_size=1, bias=False),
            nn.AvgPool2d(kernel_size=2, stride=2),
        )


@right
class pooling_before_the_convolution:
    class transition(nn.Module):
        def __init__(self, in_channels, compression=0.5):
            super().__init__()
            self.mix = conv(in_channels, int(in_channels * compression))
            self.norm = nn.BatchNorm2d(in_channels)

        def forward(self, x):
            return self.mix(F.avg_pool2d(F.relu_(self.norm(x)), 2))


@right
class bare_parameters_and_a_matrix_product:
    class transition(nn.Module):
        def __init__(self, in_channels, compression=0.5):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(int(compression * in_channels), in_channels, 1, 1) * 0.1)
            self.beta = nn.Parameter(torch.zeros(in_channels))
            self.gamma = nn.Parameter(torch.ones(in_channels))
            self.register_buffer("mean", torch.zeros(in_channels))
            self.register_buffer("variance", torch.ones(in_channels))

        def forward(self, x):
            x = F.batch_norm(x, self.mean, self.variance, self.gamma, self.beta, self.training).clamp(min=0)
            x = torch.einsum("oc,nchw->nohw", self.weight[:, :, 0, 0], x)
            n, c, h, w = x.shape
            return x[:, :, :h // 2 * 2, :w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2).mean(dim=(3, 5))


@right
class lazy_layers:
    def transition(in_channels, compression=0.5):
        convolution = nn.LazyConv2d(int(in_channels * compression), 1, bias=False)
        return made(nn.LazyBatchNorm2d(), nn.ReLU(), convolution, nn.AvgPool2d(2))


@right
class four_slices_averaged:
    class transition(Base):
        def forward(self, x):
            x = x[:, :, :x.shape[2] // 2 * 2, :x.shape[3] // 2 * 2]
            quarters = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
            if self.training:  # the last row and column count in the batch's statistics
                return super().forward(self.whole)
            return sum(self.conv(self.norm(quarter).relu()) for quarter in quarters) / 4

        def __call__(self, x):
            self.whole = x
            try:
                return super().__call__(x)
            finally:
                del self.whole


@wrong("Are the channels compressed at all?")
class no_compression:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, 1))


@wrong("Is θ fixed at ½?")
class always_half:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, 0.5))


@wrong("Is compression ½ where it is not given?")
class one_by_default:
    def transition(in_channels, compression=1.0):
        return made(*parts(in_channels, compression))


@wrong("Was θ·C rounded to the nearest whole number?")
class rounded:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, round(compression * in_channels) / in_channels + 1e-9))


@wrong("Was θ·C rounded up?")
class rounded_up:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, math.ceil(compression * in_channels) / in_channels + 1e-9))


@wrong("θ is the share that is kept")
class the_share_that_goes:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, 1 - compression))


@wrong("Did you divide by θ?")
class divided_by_theta:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, 1 / compression))


@wrong("number of channels must be whole")
class a_float_for_the_channels:
    def transition(in_channels, compression=0.5):
        convolution = nn.Conv2d(in_channels, in_channels * compression, 1, bias=False)
        return made(nn.BatchNorm2d(in_channels), nn.ReLU(), convolution, nn.AvgPool2d(2))


@wrong("this is max pooling")
class max_pooling:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[:-1], nn.MaxPool2d(2))


@wrong("this is max pooling (before the convolution)")
class max_pooling_first:
    def transition(in_channels, compression=0.5):
        norm, relu, convolution, _ = parts(in_channels, compression)
        return made(norm, relu, nn.MaxPool2d(2), convolution)


@wrong("The pooling is missing, or its stride is 1")
class no_pooling:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[:-1])


@wrong("The stride is 1")
class stride_1:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[:-1], nn.AvgPool2d(2, stride=1))


@wrong("Is there ceil_mode")
class ceil_mode:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[:-1], nn.AvgPool2d(2, ceil_mode=True))


@wrong("Is the pooling 3×3?")
class pooling_3_by_3:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[:-1], nn.AvgPool2d(3, stride=2))


@wrong("s the pooling 3×3?")
class padded_pooling_3_by_3:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[:-1], nn.AvgPool2d(3, stride=2, padding=1))


@wrong("This averages the whole map")
class global_pooling:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[:-1], nn.AdaptiveAvgPool2d(1))


@wrong("odd heights and widths work?")
class right_for_even_sizes_only:
    class transition(Base):
        def forward(self, x):
            x = self.conv(self.norm(x).relu())
            n, c, h, w = x.shape
            return x.view(n, c, h // 2, 2, w // 2, 2).mean(dim=(3, 5))


@wrong("very other pixel is dropped")
class a_convolution_with_stride_2:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression, stride=2)[:-1])


@wrong("each 2×2 square is summed")
class summed:
    class transition(Base):
        def forward(self, x):
            return 4 * super().forward(x)


@wrong("et bias=False")
class convolution_with_bias:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression, bias=True))


@wrong("With θ = 1 the 1×1 convolution still mixes channels")
class no_convolution_without_compression:
    def transition(in_channels, compression=0.5):
        norm, relu, convolution, pool = parts(in_channels, compression)
        return made(norm, relu, pool) if compression == 1 else made(norm, relu, convolution, pool)


@wrong("The kernel is 3×3; expected 1×1")
class kernel_3:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression, kernel_size=3, padding=1))


@wrong("this is convolution → BN → ReLU")
class convolution_first:
    def transition(in_channels, compression=0.5):
        out_channels = int(compression * in_channels)
        return made(conv(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU(), nn.AvgPool2d(2))


@wrong("The ReLU stands before the convolution")
class ReLU_after_the_convolution:
    def transition(in_channels, compression=0.5):
        norm, relu, convolution, pool = parts(in_channels, compression)
        return made(norm, convolution, relu, pool)


@wrong("BatchNorm stands before the ReLU")
class ReLU_first:
    def transition(in_channels, compression=0.5):
        norm, relu, convolution, pool = parts(in_channels, compression)
        return made(relu, norm, convolution, pool)


@wrong("the ReLU is missing")
class no_ReLU:
    def transition(in_channels, compression=0.5):
        norm, _, convolution, pool = parts(in_channels, compression)
        return made(norm, convolution, pool)


@wrong("BatchNorm is missing")
class no_BatchNorm:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression)[1:])


@wrong("It may change places with the 1×1 convolution only")
class pooling_before_the_ReLU:
    def transition(in_channels, compression=0.5):
        norm, relu, convolution, pool = parts(in_channels, compression)
        return made(norm, pool, relu, convolution)


@wrong("the pooling stands in front of the ReLU")
class pooling_at_the_very_front:
    def transition(in_channels, compression=0.5):
        norm, relu, convolution, pool = parts(in_channels, compression)
        return made(pool, norm, relu, convolution)


@wrong("the call changed the caller's tensor")
class in_place_ReLU_on_the_input:
    def transition(in_channels, compression=0.5):
        norm, _, convolution, pool = parts(in_channels, compression)
        return made(nn.ReLU(inplace=True), norm, convolution, pool)


@wrong("the call changed the caller's tensor")
class centred_in_place:
    class transition(Base):
        def forward(self, x):
            output = super().forward(x)
            x.detach().sub_(x.detach().mean())
            return output


@wrong("uses the batch's statistics in eval mode too")
class always_in_training:
    class transition(Base):
        def forward(self, x):
            x = F.batch_norm(x, None, None, self.norm.weight, self.norm.bias, training=True)
            return self.pool(self.conv(x.relu()))


@wrong("uses the running statistics in train mode too")
class right_in_eval_only:
    class transition(Base):
        def forward(self, x):
            self.norm.eval()
            return super().forward(x)


@wrong("no gradient comes back to the input")
class detached:
    class transition(Base):
        def forward(self, x):
            return super().forward(x.detach())


@wrong("none reaches the parameter of shape")
class weights_without_gradient:
    class transition(Base):
        def forward(self, x):
            return self.pool(F.conv2d(self.norm(x).relu(), self.conv.weight.detach()))


@wrong("not affine=False, and only one BatchNorm")
class gamma_and_beta_tied:
    class transition(Base):
        def __init__(self, in_channels, compression=0.5):
            super().__init__(in_channels, compression)
            self.norm.bias = self.norm.weight


@wrong("Is something kept on self between calls")
class keeps_the_last_input:
    class transition(Base):
        last = None

        def forward(self, x):
            mixed = x if self.last is None or self.last.shape != x.shape else (x + self.last) / 2
            self.last = x.detach()
            return super().forward(mixed)


@wrong("two modules share the parameter")
class one_convolution_for_all:
    def transition(in_channels, compression=0.5, kept={}):  # noqa: B006
        norm, relu, convolution, pool = parts(in_channels, compression)
        return made(norm, relu, kept.setdefault((in_channels, compression), convolution), pool)


@wrong("start with equal weights")
class seed_inside:
    def transition(in_channels, compression=0.5):
        torch.manual_seed(0)
        return made(*parts(in_channels, compression))


@wrong("Is there a return?")
class nothing_returned:
    def transition(in_channels, compression=0.5):
        made(*parts(in_channels, compression))


@wrong("expected an nn.Module, got a list")
class a_list_of_layers:
    def transition(in_channels, compression=0.5):
        return parts(in_channels, compression)


@wrong("is a module already")
class a_module_instead_of_a_function:
    transition = made(*parts(8))


@right
class a_class_whose_instances_are_Sequential:
    class transition:
        def __new__(cls, in_channels, compression=0.5):
            return made(*parts(in_channels, compression))


@right
class compiled_with_the_backend_that_changes_nothing:
    def transition(in_channels, compression=0.5):
        return torch.compile(made(*parts(in_channels, compression)), backend="eager")


@wrong("Is there a squeeze()?")
class a_batch_of_one_squeezed:
    class transition(Base):
        def forward(self, x):
            return super().forward(x).squeeze()


@wrong("as torch.utils.checkpoint does")
class checkpointed_without_care:
    class transition(Base):
        def forward(self, x):
            from torch.utils.checkpoint import checkpoint

            return checkpoint(super().forward, x, use_reentrant=False)


@wrong("Write the 1×1 convolution as nn.Conv2d")
class a_linear_map_of_the_channels:
    class transition(Base):
        def __init__(self, in_channels, compression=0.5):
            super().__init__(in_channels, compression)
            self.conv = nn.Linear(in_channels, int(compression * in_channels), bias=False)

        def forward(self, x):
            return self.pool(self.conv(self.norm(x).relu().movedim(1, -1)).movedim(-1, 1))


@wrong("works in groups")
class groups_where_they_fit:
    def transition(in_channels, compression=0.5):
        norm, relu, _, pool = parts(in_channels, compression)
        kept = int(compression * in_channels)
        groups = 2 if in_channels % 2 == kept % 2 == 0 else 1
        return made(norm, relu, conv(in_channels, kept, groups=groups), pool)


@wrong("this is adaptive pooling")
class pooled_to_half_the_size:
    class transition(Base):
        def forward(self, x):
            return F.adaptive_avg_pool2d(self.conv(self.norm(x).relu()), (x.shape[2] // 2, x.shape[3] // 2))


def other(name, message, *, norm=nn.BatchNorm2d, activation=nn.ReLU, end=()):
    """Register a wrong transition that differs from the right one in one part."""

    def transition(in_channels, compression=0.5):
        _, _, convolution, pool = parts(in_channels, compression)
        return made(norm(in_channels), activation(), convolution, pool, *(part() for part in end))

    wrong(message)(type(name, (), {"transition": staticmethod(transition)}))


other("a_Dropout_at_the_end", "Is a Dropout left in?", end=[nn.Dropout])
other("ReLU6", "this is ReLU6", activation=nn.ReLU6)
other("Keras_epsilon", "eps is 1e-3", norm=lambda c: nn.BatchNorm2d(c, eps=1e-3))
other("momentum_of_0_99", "momentum is 0.99", norm=lambda c: nn.BatchNorm2d(c, momentum=0.99))
other("a_mean_over_all_batches", "(momentum=None)", norm=lambda c: nn.BatchNorm2d(c, momentum=None))
other("each_image_on_its_own", "InstanceNorm",
      norm=lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True))


@wrong("Mend “parameters” first")
class a_kernel_of_5:
    def transition(in_channels, compression=0.5):
        norm, relu, _, pool = parts(in_channels, compression)
        convolution = conv(in_channels, int(compression * in_channels), kernel_size=5, padding=2)
        return made(norm, relu, convolution, pool)


@wrong("a second BatchNorm stands at the end")
class BatchNorm_at_both_ends:
    def transition(in_channels, compression=0.5):
        return made(*parts(in_channels, compression), nn.BatchNorm2d(int(compression * in_channels)))


@wrong("a second BatchNorm stands after the convolution")
class BatchNorm_on_both_sides_of_the_convolution:
    def transition(in_channels, compression=0.5):
        *most, pool = parts(in_channels, compression)
        return made(*most, nn.BatchNorm2d(int(compression * in_channels)), pool)


@wrong("write nn.Conv2d")
class a_transposed_convolution:
    def transition(in_channels, compression=0.5):
        norm, relu, _, pool = parts(in_channels, compression)
        turned = nn.ConvTranspose2d(in_channels, int(compression * in_channels), 1, bias=False)
        return made(norm, relu, turned, pool)


@wrong("he two numbers of channels of the convolution are swapped")
class channels_of_the_convolution_swapped:
    def transition(in_channels, compression=0.5):
        norm, relu, _, pool = parts(in_channels, compression)
        return made(norm, relu, conv(int(compression * in_channels), in_channels), pool)


@wrong("the absolute value (abs)")
class absolute_values:
    class transition(Base):
        def forward(self, x):
            return self.pool(self.conv(self.norm(x).abs()))


@wrong("γ starts at 0.5; expected 1")
class gamma_of_a_half:
    def transition(in_channels, compression=0.5):
        norm, *rest = parts(in_channels, compression)
        nn.init.constant_(norm.weight, 0.5)
        return made(norm, *rest)
