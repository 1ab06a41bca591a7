"""Answers to exercise dense_block."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def conv(in_channels, out_channels, **options):
    return nn.Conv2d(in_channels, out_channels, **{"kernel_size": 3, "padding": 1, "bias": False} | options)


def block(in_channels, out_channels, **options):
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv(in_channels, out_channels, **options))


class Base(nn.Module):
    """A right block, whose parts the answers replace."""

    layer = staticmethod(block)

    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        self.sizes = num_layers, in_channels, growth_rate
        self.layers = nn.ModuleList(
            self.layer(in_channels + i * growth_rate, growth_rate) for i in range(num_layers)
        )

    def forward(self, features):
        for layer in self.layers:
            features = torch.cat([features, layer(features)], dim=1)
        return features


@right
class a_growing_tensor:
    class DenseBlock(Base):
        pass


@right
class a_list_of_maps_and_in_place_ReLU:
    class DenseBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            for i in reversed(range(num_layers)):
                width = in_channels + i * growth_rate
                layer = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), conv(width, growth_rate))
                self.add_module(f"layer{i}", layer)

        def forward(self, x):
            maps = [x]
            for i in range(len(self._modules)):
                maps.append(getattr(self, f"layer{i}")(torch.cat(maps, 1)))
            return torch.hstack(maps)


@right
class a_function_that_returns_a_Sequential:
    class Join(nn.Sequential):
        def forward(self, x):
            return torch.cat([x, super().forward(x)], dim=-3)

    def DenseBlock(num_layers, in_channels, growth_rate):
        join = a_function_that_returns_a_Sequential.Join
        return nn.Sequential(*(join(*block(in_channels + i * growth_rate, growth_rate)) for i in range(num_layers)))


@right
class a_block_in_a_block:
    class DenseBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            width = in_channels + (num_layers - 1) * growth_rate
            self.last = block(width, growth_rate)
            self.rest = type(self)(num_layers - 1, in_channels, growth_rate) if num_layers > 1 else nn.Identity()

        def forward(self, x):
            x = self.rest(x)
            return torch.cat((x, self.last(x)), 1)


@right
class lazy_layers:
    def DenseBlock(num_layers, in_channels, growth_rate):
        made = Base(num_layers, in_channels, growth_rate)
        made.layers = nn.ModuleList(
            nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(growth_rate, 3, padding=1, bias=False))
            for _ in range(num_layers)
        )
        return made


@right
class bare_parameters_and_functional_calls:
    class DenseBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            widths = [in_channels + i * growth_rate for i in range(num_layers)]
            self.weights = nn.ParameterList(torch.randn(growth_rate, w, 3, 3) * 0.1 for w in widths)
            self.betas = nn.ParameterList(torch.zeros(w) for w in widths)
            self.gammas = nn.ParameterList(torch.ones(w) for w in widths)
            for i, w in enumerate(widths):
                self.register_buffer(f"mean{i}", torch.zeros(w))
                self.register_buffer(f"variance{i}", torch.ones(w))

        def forward(self, x):
            for i, (w, b, g) in enumerate(zip(self.weights, self.betas, self.gammas, strict=True)):
                mean, variance = getattr(self, f"mean{i}"), getattr(self, f"variance{i}")
                y = F.batch_norm(x, mean, variance, g, b, self.training)
                x = torch.cat([x, F.conv2d(y.relu(), w, padding=1)], dim=1)
            return x


@wrong("Did you return only the new maps?")
class only_new_maps_returned:
    class DenseBlock(Base):
        def forward(self, features):
            return super().forward(features)[:, features.shape[1]:]


@wrong("Is a list of maps kept on self?")
class a_list_on_self:
    class DenseBlock(Base):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.made = []

        def forward(self, features):
            self.made.append(features)
            for layer in self.layers:
                self.made.append(layer(torch.cat(self.made, dim=1)))
            return torch.cat(self.made, dim=1)


@wrong("it got only the maps of the layer before")
class nothing_joined:
    class DenseBlock(Base):
        def forward(self, features):
            for layer in self.layers:
                features = layer(features)
            return features


@wrong("Each layer reads only the one before it")
class a_chain:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            self.layers = nn.ModuleList(
                block(in_channels if i == 0 else growth_rate, growth_rate) for i in range(num_layers)
            )

        def forward(self, x):
            maps = [x]
            for layer in self.layers:
                maps.append(layer(maps[-1]))
            return torch.cat(maps, dim=1)


@wrong("All layers read only the input")
class layers_side_by_side:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            self.layers = nn.ModuleList(block(in_channels, growth_rate) for _ in range(num_layers))

        def forward(self, x):
            return torch.cat([x, *(layer(x) for layer in self.layers)], dim=1)


@wrong("After the first layer the input is lost")
class later_layers_get_zeros_for_the_input:
    class DenseBlock(Base):
        def forward(self, x):
            maps = [x]
            for layer in self.layers:
                maps.append(layer(torch.cat(maps, dim=1)))
                maps[0] = torch.zeros_like(x)
            return torch.cat([x, *maps[1:]], dim=1)


@wrong("layer 4 does not read the maps of layer 3")
class the_last_layer_reads_old_maps_twice:
    class DenseBlock(Base):
        def forward(self, x):
            maps = [x]
            for i, layer in enumerate(self.layers):
                maps.append(layer(torch.cat([*maps[:-1], maps[-1 if i < 3 else -2]], dim=1)))
            return torch.cat(maps, dim=1)


@wrong("the new maps are joined in front")
class newest_first:
    class DenseBlock(Base):
        def forward(self, features):
            for layer in self.layers:
                features = torch.cat([layer(features), features], dim=1)
            return features


@wrong("expected input, 1, 2, 3, 4; got 1, 2, 3, 4, input")
class input_last_in_the_output:
    class DenseBlock(Base):
        def forward(self, features):
            return super().forward(features).roll(-features.shape[1], dims=1)


@wrong("the layers read the newest maps first")
class read_in_another_order:
    class DenseBlock(Base):
        def forward(self, x):
            maps = []
            for layer in self.layers:
                maps.append(layer(torch.cat([x, *reversed(maps)], dim=1)))
            return torch.cat([x, *maps], dim=1)


@wrong("joined along the channels, dim=1")
class joined_along_the_height:
    class DenseBlock(Base):
        def forward(self, features):
            for layer in self.layers:
                features = torch.cat([features, layer(features)], dim=2)
            return features


@wrong("joined with torch.cat, not added")
class added_as_in_ResNet:
    class DenseBlock(Base):
        def forward(self, features):
            for layer in self.layers:
                features = features + layer(features)
            return features


@wrong("Are maps added instead of joined?")
class new_maps_added_up:
    class DenseBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.layers = nn.ModuleList(block(in_channels, growth_rate) for _ in range(num_layers))

        def forward(self, x):
            return torch.cat([x, sum(layer(x) for layer in self.layers)], dim=1)


@wrong("layer i, counted from 0, reads in_channels + i·growth_rate")
class all_layers_for_the_same_width:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            self.layers = nn.ModuleList(block(in_channels, growth_rate) for _ in range(num_layers))


@wrong("one layer too few")
class one_layer_too_few:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers - 1, in_channels, growth_rate)


@wrong("one layer too many")
class one_layer_too_many:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers + 1, in_channels, growth_rate)


@wrong("in_channels and growth_rate are swapped")
class arguments_swapped:
    class DenseBlock(Base):
        def __init__(self, num_layers, growth_rate, in_channels):
            super().__init__(num_layers, in_channels, growth_rate)


@wrong("Are its layers in a plain Python list?")
class a_plain_list:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            kept = list(self.layers)
            del self.layers
            self.layers = kept


@wrong("A 3×3 convolution needs padding=1 and no dilation")
class no_padding:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: block(c, k, padding=0))


@wrong("et bias=False")
class convolutions_with_bias:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: block(c, k, bias=True))


@wrong("the order of ResNet")
class convolution_first:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(conv(c, k), nn.BatchNorm2d(k), nn.ReLU()))


@wrong("not a bottleneck layer")
class bottleneck_layers:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(
            nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 4 * k, 1, bias=False), *block(4 * k, k)
        ))


@wrong("the new maps go through a ReLU before they are joined")
class ReLU_after_each_layer:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(*block(c, k), nn.ReLU()))


@wrong("BatchNorm and ReLU changed the maps that are handed on")
class activated_maps_handed_on:
    class DenseBlock(Base):
        def forward(self, x):
            for norm, relu, convolution in self.layers:
                x = relu(norm(x))
                x = torch.cat([x, convolution(x)], dim=1)
            return x


@wrong("each map is normalised once, for all its readers")
class one_normalisation_for_all_readers:
    class DenseBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            widths = [in_channels + i * growth_rate for i in range(num_layers)]
            self.norms = nn.ModuleList(nn.BatchNorm2d(growth_rate if i else in_channels) for i in range(num_layers))
            self.convs = nn.ModuleList(conv(w, growth_rate) for w in widths)

        def forward(self, x):
            maps, read = [x], []
            for norm, convolution in zip(self.norms, self.convs, strict=True):
                read.append(norm(maps[-1]).relu())
                maps.append(convolution(torch.cat(read, dim=1)))
            return torch.cat(maps, dim=1)


@wrong("a γ and a β of its own")
class gamma_and_beta_tied:
    class DenseBlock(Base):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            for norm, _, _ in self.layers:
                norm.bias = norm.weight


@wrong("BatchNorm uses the running statistics in train mode too")
class right_in_eval_only:
    class DenseBlock(Base):
        def forward(self, features):
            training, _ = self.training, self.eval()
            output = super().forward(features)
            self.train(training)
            return output


@wrong("Is the growth rate fixed at 10?")
class hard_coded_for_growth_rate_10:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate=10):
            super().__init__(num_layers, in_channels, 10)


@wrong("That is the input and one layer")
class right_for_one_layer_only:
    class DenseBlock(Base):
        def forward(self, features):
            return torch.cat([features, self.layers[0](features)], dim=1)


@wrong("found 2")
class always_two_layers:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(2, in_channels, growth_rate)


@wrong("the call changed the caller's tensor")
class in_place_on_the_input:
    class DenseBlock(Base):
        def forward(self, x):
            output = super().forward(x)
            x.detach().relu_()
            return output


@wrong("the ReLU overwrites the maps that are handed on")
class in_place_ReLU_before_BatchNorm:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm2d(c), conv(c, k)))


@wrong("written into a tensor that a layer has read")
class a_buffer_that_is_filled:
    class DenseBlock(Base):
        def forward(self, x):
            num_layers, start, growth_rate = self.sizes
            out = x.new_empty(x.shape[0], start + num_layers * growth_rate, *x.shape[2:])
            out[:, :start] = x
            for layer in self.layers:
                out[:, start:start + growth_rate] = layer(out[:, :start])
                start += growth_rate
            return out


@wrong("nothing flows back through the maps that were there before")
class earlier_maps_detached:
    class DenseBlock(Base):
        def forward(self, features):
            for layer in self.layers:
                features = torch.cat([features.detach(), layer(features)], dim=1)
            return features


@wrong("nothing flows back into what the layers read")
class layers_read_detached_maps:
    class DenseBlock(Base):
        def forward(self, features):
            for layer in self.layers:
                features = torch.cat([features, layer(features.data)], dim=1)
            return features


@wrong("start with equal weights")
class seed_inside:
    class DenseBlock(Base):
        def __init__(self, *sizes):
            torch.manual_seed(0)
            super().__init__(*sizes)


@wrong("two modules share the parameter")
class layers_made_once_for_all:
    made = {}  # noqa: RUF012

    def DenseBlock(*sizes):
        cache = layers_made_once_for_all.made
        fresh = Base(*sizes)
        fresh.layers = cache.setdefault(sizes, fresh.layers)
        return fresh


@wrong("expected a tensor")
class a_list_of_maps:
    class DenseBlock(Base):
        def forward(self, x):
            return list(super().forward(x).split(self.sizes[2], dim=1))


@wrong("Is there a return?")
class nothing_returned:
    class DenseBlock(Base):
        def forward(self, x):
            super().forward(x)


@wrong("is a module already")
class an_instance_instead_of_the_class:
    DenseBlock = Base(2, 3, 10)


@right
class compiled_with_the_backend_that_changes_nothing:
    def DenseBlock(num_layers, in_channels, growth_rate):
        return torch.compile(Base(num_layers, in_channels, growth_rate), backend="eager")


@wrong("Is there a squeeze()?")
class a_batch_of_one_squeezed:
    class DenseBlock(Base):
        def forward(self, features):
            return super().forward(features).squeeze()


@wrong("as torch.utils.checkpoint does")
class checkpointed_without_care:
    class DenseBlock(Base):
        def forward(self, features):
            from torch.utils.checkpoint import checkpoint

            for layer in self.layers:
                features = torch.cat([features, checkpoint(layer, features, use_reentrant=False)], dim=1)
            return features


@wrong("as torch.utils.checkpoint does")
class checkpointed_as_a_whole:
    class DenseBlock(Base):
        def forward(self, features):
            from torch.utils.checkpoint import checkpoint

            return checkpoint(super().forward, features, use_reentrant=False)


@wrong("as in a residual block")
class a_shortcut_where_it_fits:
    class DenseBlock(Base):
        def forward(self, features):
            first = features
            for layer in self.layers:
                new = layer(features)
                features = torch.cat([features, new + first if new.shape == first.shape else new], dim=1)
            return features


def other(name, message, *, norm=nn.BatchNorm2d, activation=nn.ReLU, end=(), **options):
    """Register a block whose layers differ from the right ones in one part."""

    def layer(c, k):
        changed = {key: value(c, k) if callable(value) else value for key, value in options.items()}
        return nn.Sequential(norm(c), activation(), conv(c, k, **changed), *(part() for part in end))

    wrong(message)(type(name, (), {"DenseBlock": type("DenseBlock", (Base,), {"layer": staticmethod(layer)})}))


other("groups_where_they_fit", "works in groups", groups=lambda c, k: 2 if c % 2 == k % 2 == 0 else 1)
other("a_Dropout_in_each_layer", "Is a Dropout left in?", end=[lambda: nn.Dropout(0.2)])
other("ReLU6", "this is ReLU6", activation=nn.ReLU6)
other("momentum_of_0_99", "momentum is 0.99", norm=lambda c: nn.BatchNorm2d(c, momentum=0.99))
other("a_mean_over_all_batches", "(momentum=None)", norm=lambda c: nn.BatchNorm2d(c, momentum=None))
other("eps_1e_6", "eps is 1e-6", norm=lambda c: nn.BatchNorm2d(c, eps=1e-6))
other("a_kernel_of_5", "he kernel is 5×5", kernel_size=5, padding=2)


@wrong("uses the batch's statistics in eval mode too")
class held_in_train_mode:
    class DenseBlock(Base):
        def train(self, mode=True):
            return super().train(True)


@wrong("in each layer: a second BatchNorm stands at the end")
class the_new_maps_normalised:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(*block(c, k), nn.BatchNorm2d(k)))


@wrong("a BatchNorm stands behind the block")
class BatchNorm_after_the_block:
    class DenseBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            self.norm = nn.BatchNorm2d(in_channels + num_layers * growth_rate)

        def forward(self, features):
            return self.norm(super().forward(features))


@wrong("in each layer: the kernel's pixels lie apart (dilation=2)")
class dilated_layers:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: block(c, k, padding=2, dilation=2))


@wrong("in each layer: this is a transposed convolution")
class transposed_layers:
    class DenseBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(
            nn.BatchNorm2d(c), nn.ReLU(), nn.ConvTranspose2d(c, k, 3, padding=1, bias=False)))


@wrong("BatchNorm's γ starts at 0.5; expected 1")
class gamma_of_a_half:
    class DenseBlock(Base):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            for layer in self.layers:
                nn.init.constant_(layer[0].weight, 0.5)
