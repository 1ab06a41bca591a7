"""Answers to exercise one_shot."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.answers import Answers
from tests.answers.dense_block import block, conv

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


class Base(nn.Module):
    """A right block, whose parts the answers replace."""

    layer = staticmethod(block)

    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        widths = [in_channels, *[growth_rate] * (num_layers - 1)]
        self.layers = nn.ModuleList(self.layer(width, growth_rate) for width in widths)

    def forward(self, maps):
        made = [maps]
        for layer in self.layers:
            made.append(layer(made[-1]))
        return torch.cat(made, dim=1)


@right
class a_list_of_maps:
    class OneShotBlock(Base):
        pass


@right
class a_growing_tensor_and_a_slice:
    class OneShotBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.k = growth_rate
            self.first = block(in_channels, growth_rate)
            self.rest = nn.ModuleList(block(growth_rate, growth_rate) for _ in range(num_layers - 1))

        def forward(self, x):
            x = torch.cat([x, self.first(x)], 1)
            for layer in self.rest:
                x = torch.cat([x, layer(x[:, -self.k:])], 1)
            return x


@right
class a_function_that_returns_a_Sequential:
    class Start(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            new = self.layer(x)
            return torch.cat([x, new], 1), new

    class More(Start):
        def forward(self, pair):
            made, last = pair
            new = self.layer(last)
            return torch.cat([made, new], 1), new

    class End(nn.Module):
        def forward(self, pair):
            return pair[0]

    def OneShotBlock(num_layers, in_channels, growth_rate):
        here = a_function_that_returns_a_Sequential
        more = [here.More(block(growth_rate, growth_rate)) for _ in range(num_layers - 1)]
        return nn.Sequential(here.Start(block(in_channels, growth_rate)), *more, here.End())


@right
class a_block_in_a_block:
    class OneShotBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.first = block(in_channels, growth_rate)
            self.rest = type(self)(num_layers - 1, growth_rate, growth_rate) if num_layers > 1 else nn.Identity()

        def forward(self, x):
            return torch.cat((x, self.rest(self.first(x))), 1)


@right
class lazy_layers:
    def OneShotBlock(num_layers, in_channels, growth_rate):
        made = Base(num_layers, in_channels, growth_rate)
        made.layers = nn.ModuleList(
            nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(growth_rate, 3, padding=1, bias=False))
            for _ in range(num_layers)
        )
        return made


@right
class bare_parameters_and_functional_calls:
    class OneShotBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            widths = [in_channels if i == 0 else growth_rate for i in range(num_layers)]
            self.weights = nn.ParameterList(torch.randn(growth_rate, w, 3, 3) * 0.1 for w in widths)
            self.betas = nn.ParameterList(torch.zeros(w) for w in widths)
            self.gammas = nn.ParameterList(torch.ones(w) for w in widths)
            for i, w in enumerate(widths):
                self.register_buffer(f"mean{i}", torch.zeros(w))
                self.register_buffer(f"variance{i}", torch.ones(w))

        def forward(self, x):
            made = [x]
            for i, (w, b, g) in enumerate(zip(self.weights, self.betas, self.gammas, strict=True)):
                mean, variance = getattr(self, f"mean{i}"), getattr(self, f"variance{i}")
                y = F.batch_norm(made[-1], mean, variance, g, b, self.training)
                made.append(F.conv2d(y.relu(), w, padding=1))
            return torch.cat(made, dim=1)


@wrong("This is a dense block")
class a_dense_block:
    class OneShotBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.layers = nn.ModuleList(
                block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))

        def forward(self, maps):
            for layer in self.layers:
                maps = torch.cat([maps, layer(maps)], 1)
            return maps


@wrong("All layers read the input")
class layers_side_by_side:
    class OneShotBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.layers = nn.ModuleList(block(in_channels, growth_rate) for _ in range(num_layers))

        def forward(self, maps):
            return torch.cat([maps, *(layer(maps) for layer in self.layers)], 1)


@wrong("Did you return only the new maps?")
class the_input_left_out:
    class OneShotBlock(Base):
        def forward(self, maps):
            return super().forward(maps)[:, maps.shape[1]:]


@wrong("Did you return only the maps of the last layer?")
class a_plain_chain:
    class OneShotBlock(Base):
        def forward(self, maps):
            for layer in self.layers:
                maps = layer(maps)
            return maps


@wrong("That is the input and one layer.")
class input_and_last_maps:
    class OneShotBlock(Base):
        def forward(self, maps):
            last = maps
            for layer in self.layers:
                last = layer(last)
            return torch.cat([maps, last], 1)


@wrong("one layer too many")
class one_layer_too_many:
    class OneShotBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers + 1, in_channels, growth_rate)


@wrong("joined inside the loop")
class joined_in_the_loop:
    class OneShotBlock(Base):
        def forward(self, maps):
            for layer in self.layers:
                maps = torch.cat([maps, layer(maps)], 1)
            return maps


@wrong("the newest maps first")
class newest_first:
    class OneShotBlock(Base):
        def forward(self, maps):
            made = [maps]
            for layer in self.layers:
                made.insert(0, layer(made[0]))
            return torch.cat(made, 1)


@wrong("the input stands at the end")
class input_at_the_end:
    class OneShotBlock(Base):
        def forward(self, maps):
            made = super().forward(maps)
            return torch.cat([made[:, maps.shape[1]:], maps], 1)


@wrong("as in a residual block")
class a_sum_where_it_fits:
    class OneShotBlock(Base):
        def forward(self, maps):
            made = [maps]
            for layer in self.layers:
                new = layer(made[-1])
                made.append(new + made[-1] if new.shape == made[-1].shape else new)
            return torch.cat(made, 1)


@wrong("Use nn.ModuleList")
class a_plain_list:
    class OneShotBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            layers = list(self.layers)
            del self.layers
            self.layers = layers


@wrong("one layer runs several times")
class one_layer_for_all:
    class OneShotBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.count = num_layers
            self.first = block(in_channels, growth_rate)
            self.later = block(growth_rate, growth_rate) if num_layers > 1 else None

        def forward(self, maps):
            made = [maps, self.first(maps)]
            for _ in range(self.count - 1):
                made.append(self.later(made[-1]))
            return torch.cat(made, 1)


@wrong("et bias=False")
class convolutions_with_bias:
    class OneShotBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), conv(c, k, bias=True)))


@wrong("the order of ResNet")
class convolution_first:
    class OneShotBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(conv(c, k), nn.BatchNorm2d(k), nn.ReLU()))


@wrong("nothing flows back into what the layers read")
class detached_between_the_layers:
    class OneShotBlock(Base):
        def forward(self, maps):
            made = [maps]
            for layer in self.layers:
                made.append(layer(made[-1].detach()))
            return torch.cat(made, 1)


@wrong("the call changed the caller's tensor")
class in_place_on_the_input:
    class OneShotBlock(Base):
        def forward(self, maps):
            output = super().forward(maps)
            maps.mul_(2)
            return output


@wrong("A 3×3 convolution needs padding=1 and no dilation")
class no_padding:
    class OneShotBlock(Base):
        layer = staticmethod(lambda c, k: block(c, k, padding=0))


@wrong("start with equal weights")
class seed_inside:
    class OneShotBlock(Base):
        def __init__(self, *sizes):
            torch.manual_seed(0)
            super().__init__(*sizes)


@wrong("Is there a return?")
class nothing_returned:
    class OneShotBlock(Base):
        def forward(self, maps):
            super().forward(maps)


@wrong("Is a list of maps kept on self?")
class a_list_on_self:
    class OneShotBlock(Base):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.made = []

        def forward(self, maps):
            self.made.append(maps)
            for layer in self.layers:
                self.made.append(layer(self.made[-1]))
            return torch.cat(self.made, 1)


@wrong("a BatchNorm stands in front of the block")
class BatchNorm_before_the_block:
    class OneShotBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            self.norm = nn.BatchNorm2d(in_channels)

        def forward(self, maps):
            return super().forward(self.norm(maps))


@wrong("in each layer: this is the absolute value (abs)")
class absolute_values:
    class Absolute(nn.Module):
        def forward(self, maps):
            return maps.abs()

    class OneShotBlock(Base):
        layer = staticmethod(lambda c, k: nn.Sequential(
            nn.BatchNorm2d(c), absolute_values.Absolute(), conv(c, k)))


@wrong("Are the maps of the layers added?")
class maps_added_up:
    class OneShotBlock(Base):
        def forward(self, maps):
            made = [maps]
            for layer in self.layers:
                made.append(layer(made[-1]))
            return sum(made[1:])


@wrong("no 1×1 convolution follows")
class a_1x1_at_the_end_as_in_VoVNet:
    class OneShotBlock(Base):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__(num_layers, in_channels, growth_rate)
            channels = in_channels + num_layers * growth_rate
            self.mix = nn.Conv2d(channels, channels, 1, bias=False)

        def forward(self, maps):
            return self.mix(super().forward(maps))


@right
class a_Sequential_of_named_layers:
    class OneShotBlock(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.layers, width = nn.Sequential(), in_channels
            for i in range(num_layers):
                self.layers.add_module(f"layer{i}", block(width, growth_rate))
                width = growth_rate

        def forward(self, maps):
            made = newest = maps
            for layer in self.layers:
                newest = layer(newest)
                made = torch.concat((made, newest), dim=-3)
            return made
