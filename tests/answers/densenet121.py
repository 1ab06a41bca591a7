"""Answers to exercise densenet121."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong
BLOCKS = (6, 12, 24, 16)


class Block(nn.ModuleList):
    def forward(self, x):
        for layer in self:
            x = torch.cat([x, layer(x)], 1)
        return x


class Base(nn.Module):
    """The right network; wrong answers replace one of its methods."""

    blocks, last, growth_rate = BLOCKS, False, 32

    def __init__(self, num_classes=1000):
        super().__init__()
        self.stem, self.parts, c = self.make_stem(), nn.ModuleList(), 64
        for i, n in enumerate(self.blocks):
            self.parts.append(self.make_block(n, c))
            c += self.growth_rate * n
            if self.last or i < len(self.blocks) - 1:
                self.parts.append(self.make_transition(c, c // 2))
                c //= 2
        self.norm = nn.BatchNorm2d(c)
        self.classifier = nn.Linear(c, num_classes)

    def conv(self, c, out, size, **options):
        return nn.Conv2d(c, out, size, bias=False, **options)

    def make_stem(self):
        conv = self.conv(3, 64, 7, stride=2, padding=3)
        return nn.Sequential(conv, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))

    def make_transition(self, c, out):
        return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), self.conv(c, out, 1), nn.AvgPool2d(2))

    def make_block(self, n, c):
        return Block(self.make_layer(c + self.growth_rate * i) for i in range(n))

    def make_layer(self, c):
        k = self.growth_rate
        return nn.Sequential(
            nn.BatchNorm2d(c), nn.ReLU(), self.conv(c, 4 * k, 1),
            nn.BatchNorm2d(4 * k), nn.ReLU(), self.conv(4 * k, k, 3, padding=1),
        )

    def head(self, x):
        return self.classifier(F.relu(self.norm(x)).mean((2, 3)))

    def forward(self, x):
        x = self.stem(x)
        for part in self.parts:
            x = part(x)
        return self.head(x)


@right
class a_class:
    densenet121 = Base


@right
class a_function_that_returns_a_Sequential:
    def densenet121(num_classes=1000):
        one = Base(num_classes)
        parts = [*one.stem, *one.parts, one.norm, nn.ReLU(inplace=True)]
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), one.classifier)


@right
class a_list_of_maps_and_pooling_before_the_convolution:
    class densenet121(Base):
        def make_block(self, n, c):
            class Maps(nn.ModuleList):
                def forward(self, x):
                    maps = [x]
                    for layer in self:
                        maps.append(layer(torch.cat(maps, 1)))
                    return torch.cat(maps, 1)

            return Maps(self.make_layer(c + self.growth_rate * i) for i in range(n))

        def make_transition(self, c, out):
            return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.AvgPool2d(2), self.conv(c, out, 1))


@right
class lazy_layers_registered_convolution_first:
    class densenet121(nn.Module):
        def __init__(self, num_classes=1000):
            super().__init__()
            self.stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.stem_norm = nn.BatchNorm2d(64)
            for b, n in enumerate(BLOCKS):
                for i in range(n):
                    self.add_module(f"b{b}l{i}", self.layer())
                if b < 3:
                    self.add_module(f"t{b}", self.transition((128, 256, 512)[b]))
            self.norm, self.classifier = nn.LazyBatchNorm2d(), nn.LazyLinear(num_classes)

        def layer(self):
            return nn.ModuleDict({
                "conv1": nn.LazyConv2d(128, 1, bias=False), "norm1": nn.LazyBatchNorm2d(),
                "conv2": nn.LazyConv2d(32, 3, padding=1, bias=False), "norm2": nn.LazyBatchNorm2d(),
            })

        def transition(self, out):
            return nn.ModuleDict({"norm": nn.LazyBatchNorm2d(), "conv": nn.LazyConv2d(out, 1, bias=False)})

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.stem_norm(self.stem(x))), 3, 2, 1)
            for b, n in enumerate(BLOCKS):
                for i in range(n):
                    layer = getattr(self, f"b{b}l{i}")
                    y = layer["conv1"](F.relu(layer["norm1"](x), inplace=True))
                    y = layer["conv2"](F.relu(layer["norm2"](y), inplace=True))
                    x = torch.cat([x, y], 1)
                if b < 3:
                    step = getattr(self, f"t{b}")
                    x = F.avg_pool2d(step["conv"](F.relu(step["norm"](x))), 2)
            return self.classifier(self.norm(x).relu().flatten(2).mean(2))


@wrong("your answer holds torchvision.models.densenet121. It is a good one")
class the_network_of_torchvision:
    def densenet121(num_classes=1000):
        from torchvision.models import densenet121

        return densenet121(num_classes=num_classes)


@wrong("your answer holds torchvision.models.densenet121")
class the_network_of_torchvision_inside_another:
    class densenet121(nn.Module):
        def __init__(self, num_classes=1000):
            super().__init__()
            from torchvision.models import densenet121

            self.net = densenet121(num_classes=num_classes)

        def forward(self, x):
            return self.net(x)


@wrong("your answer holds densenet_course.models.densenet121")
class the_network_of_this_course:
    def densenet121(num_classes=1000):
        from densenet_course.models import densenet121

        return densenet121(num_classes)


@wrong("your answer holds densenet_course.layers.BottleneckLayer")
class the_layers_of_this_course:
    class densenet121(Base):
        def make_layer(self, c):
            from densenet_course.layers import BottleneckLayer

            return BottleneckLayer(c, 32)


@wrong("your answer holds torch.fx.symbolic_trace")
class a_traced_copy:
    def densenet121(num_classes=1000):
        from torch.fx import symbolic_trace
        from torchvision.models import densenet121

        return symbolic_trace(densenet121(num_classes=num_classes))


@wrong("This is without bottlenecks")
class no_bottleneck:
    class densenet121(Base):
        def make_layer(self, c):
            return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), self.conv(c, 32, 3, padding=1))


@wrong("These are DenseNet-169's blocks")
class the_blocks_of_169:
    class densenet121(Base):
        blocks = (6, 12, 32, 32)


@wrong("There is a transition after the last block")
class a_transition_at_the_end:
    class densenet121(Base):
        last = True


@wrong("set bias=False")
class biases_everywhere:
    class densenet121(Base):
        def conv(self, c, out, size, **options):
            return nn.Conv2d(c, out, size, **options)


@wrong("There are biases in the stem")
class a_stem_with_bias:
    class densenet121(Base):
        def make_stem(self):
            conv = nn.Conv2d(3, 64, 7, stride=2, padding=3)
            return nn.Sequential(conv, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


@wrong("BatchNorm after the last block is missing")
class no_BatchNorm_at_the_end:
    class densenet121(Base):
        def __init__(self, num_classes=1000):
            super().__init__(num_classes)
            self.norm = nn.Identity()


@wrong("num_classes is not used")
class always_1000_classes:
    class densenet121(Base):
        def __init__(self, num_classes=1000):
            super().__init__()


@wrong("the order of ResNet")
class post_activation:
    class densenet121(Base):
        def make_layer(self, c):
            return nn.Sequential(
                self.conv(c, 128, 1), nn.BatchNorm2d(128), nn.ReLU(),
                self.conv(128, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            )


@wrong("the stem's max pooling has no padding")
class a_stem_without_padding_in_its_pooling:
    class densenet121(Base):
        def make_stem(self):
            return super().make_stem()[:3].append(nn.MaxPool2d(3, 2))


@wrong("the ReLU after the last BatchNorm is missing")
class no_ReLU_at_the_end:
    class densenet121(Base):
        def head(self, x):
            return self.classifier(self.norm(x).mean((2, 3)))


@wrong("the transitions take the maximum")
class max_pooling_in_the_transitions:
    class densenet121(Base):
        def make_transition(self, c, out):
            return super().make_transition(c, out)[:3].append(nn.MaxPool2d(2))


@wrong("joined in front")
class new_maps_in_front:
    class densenet121(Base):
        def make_block(self, n, c):
            class Front(Block):
                def forward(self, x):
                    for layer in self:
                        x = torch.cat([layer(x), x], 1)
                    return x

            return Front(self.make_layer(c + self.growth_rate * i) for i in range(n))


@wrong("the stem takes the average")
class average_pooling_in_the_stem:
    class densenet121(Base):
        def make_stem(self):
            return super().make_stem()[:3].append(nn.AvgPool2d(3, 2, 1))


@wrong("This fits growth rate 24 and 64 channels")
class growth_rate_24:
    class densenet121(Base):
        growth_rate = 24


@wrong("Make the parts in the forward's order")
class blocks_registered_backwards:
    class densenet121(Base):
        def make_block(self, n, c):
            class Backwards(nn.ModuleList):
                def forward(self, x):
                    for layer in reversed(self):
                        x = torch.cat([x, layer(x)], 1)
                    return x

            return Backwards(self.make_layer(c + 32 * i) for i in reversed(range(n)))


@wrong("momentum is 0.01")
class Keras_momentum:
    class densenet121(Base):
        def __init__(self, num_classes=1000):
            super().__init__(num_classes)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 0.01


@wrong("Is a Dropout left in?")
class dropout_left_in:
    class densenet121(Base):
        def make_layer(self, c):
            return super().make_layer(c).append(nn.Dropout(0.1))


@wrong("Average every map to one number")
class flattened_7x7_maps:
    class densenet121(Base):
        def __init__(self, num_classes=1000):
            super().__init__(num_classes)
            self.classifier = nn.Linear(1024 * 49, num_classes)

        def head(self, x):
            return self.classifier(F.relu(self.norm(x)).flatten(1))


@wrong("none comes back to the images")
class no_gradients:
    class densenet121(Base):
        def forward(self, x):
            with torch.no_grad():
                x = self.stem(x)
            for part in self.parts:
                x = part(x)
            return self.head(x)


@wrong("Is there a detach()")
class one_layer_reads_detached_maps:
    class densenet121(Base):
        def make_block(self, n, c):
            class Cut(Block):
                def forward(self, x):
                    for i, layer in enumerate(self):
                        x = torch.cat([x, layer(x.detach() if i == 5 else x)], 1)
                    return x

            return (Cut if n == 24 else Block)(self.make_layer(c + 32 * i) for i in range(n))


@wrong("start with equal weights")
class a_seed_inside:
    class densenet121(Base):
        def __init__(self, num_classes=1000):
            torch.manual_seed(0)
            super().__init__(num_classes)


@wrong("is a module already")
class a_module_in_place_of_a_function:
    densenet121 = nn.Sequential(nn.Conv2d(3, 64, 7))


@wrong("round odd sizes up")
class transitions_with_ceil_mode:
    class densenet121(Base):
        def make_transition(self, c, out):
            pool = nn.AvgPool2d(2, ceil_mode=True)
            return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), self.conv(c, out, 1), pool)


class Halved(nn.Module):
    def __init__(self, rounded):
        super().__init__()
        self.rounded = rounded

    def forward(self, x):
        return F.adaptive_avg_pool2d(x, [self.rounded(side) for side in x.shape[2:]])


@wrong("half of the size rounded up")
class adaptive_pooling_to_half_rounded_up:
    class densenet121(Base):
        def make_transition(self, c, out):
            pool = Halved(lambda side: (side + 1) // 2)
            return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), self.conv(c, out, 1), pool)


@wrong("pool adaptively")
class adaptive_pooling_to_half_rounded_down:
    class densenet121(Base):
        def make_transition(self, c, out):
            pool = Halved(lambda side: side // 2)
            return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), self.conv(c, out, 1), pool)


@wrong("computed again there")
class layers_checkpointed_without_care:
    class densenet121(Base):
        def make_block(self, n, c):
            return Again(self.make_layer(c + self.growth_rate * i) for i in range(n))


class Again(nn.ModuleList):
    def forward(self, x):
        for layer in self:
            x = torch.cat([x, checkpoint(layer, x, use_reentrant=False)], 1)
        return x


@wrong("momentum is 0.99")
class momentum_of_Keras:
    class densenet121(Base):
        def __init__(self, num_classes=1000):
            super().__init__(num_classes)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 0.99
