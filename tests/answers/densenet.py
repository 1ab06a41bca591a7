"""Answers to exercise densenet."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def layer(c, k):
    return nn.Sequential(
        nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 4 * k, 1, bias=False),
        nn.BatchNorm2d(4 * k), nn.ReLU(), nn.Conv2d(4 * k, k, 3, padding=1, bias=False),
    )


def plain_layer(c, k):
    return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, k, 3, padding=1, bias=False))


def transition(c, out):
    return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, out, 1, bias=False), nn.AvgPool2d(2))


class Block(nn.ModuleList):
    def forward(self, x):
        for one in self:
            x = torch.cat([x, one(x)], 1)
        return x


class Base(nn.Module):
    """The right network; wrong answers replace one of its methods."""

    def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
        super().__init__()
        self.stem = self.make_stem(in_channels, init_channels)
        self.parts, c = nn.ModuleList(), init_channels
        for i, n in enumerate(block_layers):
            if i:
                out = self.rounded(c * compression)
                self.parts.append(self.make_transition(c, out))
                c = out
            self.parts.append(self.make_block(n, c, growth_rate))
            c += n * growth_rate
        self.norm = nn.BatchNorm2d(c)
        self.classifier = nn.Linear(c, num_classes)

    rounded = int

    def make_stem(self, c, k0):
        return nn.Conv2d(c, k0, 3, padding=1, bias=False)

    def make_transition(self, c, out):
        return transition(c, out)

    def make_block(self, n, c, k):
        return Block(self.make_layer(c + i * k, k) for i in range(n))

    def make_layer(self, c, k):
        return layer(c, k)

    def body(self, x):
        x = self.stem(x)
        for part in self.parts:
            x = part(x)
        return x

    def head(self, x):
        return self.classifier(F.relu(self.norm(x)).mean((2, 3)))

    def forward(self, x):
        return self.head(self.body(x))


@right
class a_module_with_lists:
    DenseNet = Base


@right
class a_function_that_returns_a_Sequential:
    def DenseNet(block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
        parts, c = [nn.Conv2d(in_channels, init_channels, 3, 1, "same", bias=False)], init_channels
        for i, n in enumerate(block_layers):
            parts.append(Block(layer(c + j * growth_rate, growth_rate) for j in range(n)))
            c += n * growth_rate
            if i != len(block_layers) - 1:
                parts.append(transition(c, c := int(compression * c)))
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, num_classes)
        return nn.Sequential(*parts, nn.BatchNorm2d(c), nn.ReLU(inplace=True), *head)


@right
class lazy_layers:
    class DenseNet(nn.Module):
        def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
            super().__init__()
            self.classifier = nn.LazyLinear(num_classes)
            self.stem = nn.LazyConv2d(init_channels, 3, padding=1, bias=False)
            self.norm, self.blocks, self.steps = nn.LazyBatchNorm2d(), nn.ModuleList(), nn.ModuleList()
            c = init_channels
            for i, n in enumerate(block_layers):
                self.blocks.append(nn.ModuleList(self.layer(growth_rate) for _ in range(n)))
                c += n * growth_rate
                if i < len(block_layers) - 1:
                    c = int(c * compression)
                    step = nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(c, 1, bias=False), nn.AvgPool2d(2)
                    self.steps.append(nn.Sequential(*step))

        def layer(self, k):
            return nn.Sequential(
                nn.LazyBatchNorm2d(), nn.ReLU(True), nn.LazyConv2d(4 * k, 1, bias=False),
                nn.LazyBatchNorm2d(), nn.ReLU(True), nn.LazyConv2d(k, 3, padding=1, bias=False),
            )

        def forward(self, x):
            x = self.stem(x)
            for i, block in enumerate(self.blocks):
                if i:
                    x = self.steps[i - 1](x)
                for one in block:
                    x = torch.cat((x, one(x)), dim=1)
            x = self.norm(x).relu_()
            return self.classifier(x.flatten(2).mean(-1))


@right
class a_list_of_maps_and_pooling_before_the_convolution:
    class DenseNet(Base):
        def make_block(self, n, c, k):
            class Maps(nn.Module):
                def __init__(self):
                    super().__init__()
                    for i in reversed(range(n)):
                        self.add_module(f"layer{i}", layer(c + i * k, k))

                def forward(self, x):
                    maps = [x]
                    for i in range(n):
                        maps.append(getattr(self, f"layer{i}")(torch.cat(maps, 1)))
                    return torch.cat(maps, 1)

            return Maps()

        def make_transition(self, c, out):
            return nn.Sequential(
                nn.BatchNorm2d(c), nn.ReLU(), nn.AvgPool2d(2, 2), nn.Dropout(0.0), nn.Conv2d(c, out, 1, bias=False)
            )

        def head(self, x):
            return self.classifier(F.adaptive_avg_pool2d(self.norm(x).relu(), (1, 1))[:, :, 0, 0])


@wrong("Layers without 1×1")
class no_bottleneck:
    class DenseNet(Base):
        def make_layer(self, c, k):
            return plain_layer(c, k)


@wrong("Every layer begins with BN")
class the_order_of_ResNet:
    class DenseNet(Base):
        def make_layer(self, c, k):
            _, relu, conv1, bn2, _, conv2 = layer(c, k)
            return nn.Sequential(conv1, bn2, relu, conv2, nn.BatchNorm2d(k), nn.ReLU())


@wrong("A transition begins with BN")
class transitions_without_BatchNorm:
    class DenseNet(Base):
        def make_transition(self, c, out):
            return transition(c, out)[1:]


@wrong("Is there a transition after the last block?")
class a_transition_at_the_end:
    class DenseNet(Base):
        def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
            super().__init__(block_layers, growth_rate, init_channels, num_classes, in_channels, compression)
            c = self.norm.num_features
            out = int(compression * c)
            self.last, self.norm, self.classifier = transition(c, out), nn.BatchNorm2d(out), nn.Linear(out, num_classes)

        def head(self, x):
            x = self.norm(self.last(x) if min(x.shape[2:]) > 1 else self.last[:3](x))
            return self.classifier(F.relu(x).mean((2, 3)))


@wrong("expected 2×2 average pooling")
class max_pooling:
    class DenseNet(Base):
        def make_transition(self, c, out):
            return transition(c, out)[:3].append(nn.MaxPool2d(2))


@wrong("BN → ReLU stands after the last block")
class no_BatchNorm_at_the_end:
    class DenseNet(Base):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            self.norm = nn.Identity()


@wrong("the ReLU after the last BatchNorm is missing")
class no_ReLU_at_the_end:
    class DenseNet(Base):
        def head(self, x):
            return self.classifier(self.norm(x).mean((2, 3)))


@wrong("no bias (set bias=False), no BatchNorm")
class a_stem_with_BatchNorm_and_ReLU:
    class DenseNet(Base):
        def make_stem(self, c, k0):
            return nn.Sequential(super().make_stem(c, k0), nn.BatchNorm2d(k0), nn.ReLU())


@wrong("The stem is a bare convolution")
class a_stem_with_bias:
    class DenseNet(Base):
        def make_stem(self, c, k0):
            return nn.Conv2d(c, k0, 3, padding=1)


@wrong("the stem has stride 2")
class a_stem_with_stride_2:
    class DenseNet(Base):
        def make_stem(self, c, k0):
            return nn.Conv2d(c, k0, 3, stride=2, padding=1, bias=False)


@wrong("The stem's kernel is 7×7")
class the_stem_for_ImageNet:
    class DenseNet(Base):
        def make_stem(self, c, k0):
            conv = nn.Conv2d(c, k0, 7, 2, 3, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(k0), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


@wrong("a softmax at the end")
class softmax_at_the_end:
    class DenseNet(Base):
        def forward(self, x):
            return super().forward(x).softmax(dim=1)


@wrong("A transition keeps all channels")
class channels_not_halved:
    class DenseNet(Base):
        def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
            super().__init__(block_layers, growth_rate, init_channels, num_classes, in_channels, 1.0)


@wrong("is the count updated after a block")
class channels_not_updated_after_the_transition:
    class DenseNet(Base):
        def make_transition(self, c, out):
            return transition(c, c // 2 + 1)


@wrong("compression is not used")
class compression_ignored:
    class DenseNet(Base):
        def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
            super().__init__(block_layers, growth_rate, init_channels, num_classes, in_channels)


@wrong("rounded down")
class compression_rounded_up:
    class DenseNet(Base):
        rounded = math.ceil


@wrong("in_channels is not used")
class grey_images_only:
    class DenseNet(Base):
        def make_stem(self, c, k0):
            return super().make_stem(1, k0)


@wrong("num_classes is not used")
class ten_classes_only:
    class DenseNet(Base):
        def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
            super().__init__(block_layers, growth_rate, init_channels, 10, in_channels, compression)


@wrong("does each layer join its new maps")
class returns_only_the_new_maps:
    class DenseNet(Base):
        def make_block(self, n, c, k):
            return nn.Sequential(*super().make_block(n, c, k))


@wrong("The last block gives only its new maps")
class the_input_of_each_block_dropped:
    class DenseNet(nn.Module):
        def __init__(self, block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5):
            super().__init__()
            self.stem = nn.Conv2d(in_channels, init_channels, 3, padding=1, bias=False)
            self.blocks, self.steps, c = nn.ModuleList(), nn.ModuleList(), init_channels
            for i, n in enumerate(block_layers):
                self.blocks.append(Block(layer(c + j * growth_rate, growth_rate) for j in range(n)))
                self.blocks[-1].drop, c = c, n * growth_rate
                if i < len(block_layers) - 1:
                    self.steps.append(transition(c, int(compression * c)))
                    c = int(compression * c)
            self.norm, self.classifier = nn.BatchNorm2d(c), nn.Linear(c, num_classes)

        def forward(self, x):
            x = self.stem(x)
            for i, block in enumerate(self.blocks):
                x = block(x)[:, block.drop:]
                x = self.steps[i](x) if i < len(self.steps) else x
            return self.classifier(self.norm(x).relu().mean((2, 3)))


@wrong("Average every map to one number")
class flattened_8x8_maps:
    class DenseNet(Base):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            self.classifier = nn.Linear(self.norm.num_features * 64, self.classifier.out_features)

        def head(self, x):
            return self.classifier(F.relu(self.norm(x)).flatten(1))


@wrong("use nn.ModuleList")
class a_plain_list_of_layers:
    class DenseNet(Base):
        def make_block(self, n, c, k):
            class Plain(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = [layer(c + i * k, k) for i in range(n)]

                def forward(self, x):
                    for one in self.layers:
                        x = torch.cat([x, one(x)], 1)
                    return x

            return Plain()


@wrong("none used twice")
class one_3x3_convolution_for_a_whole_block:
    class DenseNet(Base):
        def make_block(self, n, c, k):
            block = super().make_block(n, c, k)
            for one in block:
                one[5] = block[0][5]
            return block


@wrong("Is a Dropout left in?")
class dropout_left_in:
    class DenseNet(Base):
        def make_layer(self, c, k):
            return layer(c, k).append(nn.Dropout(0.2))


@wrong("The classifier has a bias")
class a_classifier_without_bias:
    class DenseNet(Base):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            self.classifier = nn.Linear(self.norm.num_features, self.classifier.out_features, bias=False)


@wrong("set bias=False")
class biases_everywhere:
    class DenseNet(Base):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.bias = nn.Parameter(torch.randn(module.out_channels))


@wrong("joined in front")
class new_maps_in_front:
    class DenseNet(Base):
        def make_block(self, n, c, k):
            class Front(Block):
                def forward(self, x):
                    for one in self:
                        x = torch.cat([one(x), x], 1)
                    return x

            return Front(layer(c + i * k, k) for i in range(n))


@wrong("the ReLU before the layers' 3×3 convolution is missing")
class no_ReLU_in_the_waist:
    class DenseNet(Base):
        def make_layer(self, c, k):
            whole = layer(c, k)
            return nn.Sequential(*whole[:4], whole[5])


@wrong("momentum is 0.01")
class Keras_momentum:
    class DenseNet(Base):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 0.01


@wrong("no gradient comes back to the input")
class detached_in_the_blocks:
    class DenseNet(Base):
        def make_block(self, n, c, k):
            class Detached(Block):
                def forward(self, x):
                    return super().forward(x.detach())

            return Detached(layer(c + i * k, k) for i in range(n))


@wrong("kept on self between calls")
class features_kept_on_self:
    class DenseNet(Base):
        def head(self, x):
            logits = super().head(x)
            if self.training:
                return logits
            self.kept = [*getattr(self, "kept", []), logits.detach().mean()]
            return logits + sum(self.kept[:-1])


@wrong("start with equal weights")
class a_seed_inside:
    class DenseNet(Base):
        def __init__(self, *arguments, **keywords):
            torch.manual_seed(0)
            super().__init__(*arguments, **keywords)


@wrong("The classifier is missing")
class maps_in_place_of_logits:
    class DenseNet(Base):
        def head(self, x):
            return F.relu(self.norm(x)).mean((2, 3))


@wrong("the brackets that make an instance")
class the_class_itself:
    def DenseNet(*arguments, **keywords):
        return Base


@wrong("computed again there")
class blocks_checkpointed_without_care:
    class DenseNet(Base):
        def body(self, x):
            x = self.stem(x)
            for part in self.parts:
                x = checkpoint(part, x, use_reentrant=False) if isinstance(part, Block) else part(x)
            return x


@wrong("loses its batch axis")
class logits_squeezed:
    class DenseNet(Base):
        def forward(self, x):
            return super().forward(x).squeeze()


@wrong("momentum is 0.99")
class momentum_of_Keras:
    class DenseNet(Base):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 0.99


@wrong("or stands after the average")
class the_last_ReLU_missing_in_train_mode_only:
    class DenseNet(Base):
        def head(self, x):
            maps = self.norm(x)
            return self.classifier((maps if self.training else F.relu(maps)).mean((2, 3)))


@wrong("this is GELU; expected a plain ReLU")
class GELU_in_place_of_ReLU:
    class DenseNet(Base):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            for module in list(self.modules()):
                for name, part in module.named_children():
                    if isinstance(part, nn.ReLU):
                        setattr(module, name, nn.GELU())

        def head(self, x):
            return self.classifier(F.gelu(self.norm(x)).mean((2, 3)))


@wrong("BatchNorm in the layers' waist is missing")
class no_BatchNorm_in_the_waist:
    class DenseNet(Base):
        def make_layer(self, c, k):
            whole = layer(c, k)
            return nn.Sequential(*whole[:3], *whole[4:])


@wrong("The classifier has a bias")
class a_classifier_without_bias_behind_max_pooling:
    class DenseNet(Base):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.classifier = nn.Linear(self.norm.num_features, self.classifier.out_features, bias=False)

        def make_transition(self, c, out):
            return transition(c, out)[:3].append(nn.MaxPool2d(2))


@wrong("There are 2 linear layers. Expected: 1.")
class a_hidden_layer_in_the_head:
    class DenseNet(Base):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            channels, classes = self.classifier.in_features, self.classifier.out_features
            self.classifier = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, classes))


@wrong("everywhere this is a transposed convolution")
class transposed_convolutions:
    class DenseNet(Base):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            for module in list(self.modules()):
                for name, part in list(module.named_children()):
                    if isinstance(part, nn.Conv2d):
                        setattr(module, name, nn.ConvTranspose2d(part.in_channels, part.out_channels, part.kernel_size,
                                                                 padding=part.padding, bias=False))


@wrong("The transitions have a second BatchNorm")
class BatchNorm_behind_the_transitions:
    class DenseNet(Base):
        def make_transition(self, c, out):
            return nn.Sequential(*transition(c, out), nn.BatchNorm2d(out))


@wrong("The layers have a third BatchNorm")
class BatchNorm_behind_the_layers:
    class DenseNet(Base):
        def make_layer(self, c, k):
            return nn.Sequential(*layer(c, k), nn.BatchNorm2d(k))
