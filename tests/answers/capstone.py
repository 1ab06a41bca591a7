"""Answers to exercise capstone."""

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.config import DenseNetConfig
from densenet_course.layers import DenseBlock, conv_block, transition
from densenet_course.models import DenseNet, class_densenet
from tests.answers import Answers

ANSWERS = Answers()
right, wrong = ANSWERS.right, ANSWERS.wrong


def small(**options):
    return class_densenet(**{"growth_rate": 8, "init_channels": 16, "block_layers": (2, 2, 2)} | options)


class Changed(nn.Module):
    """A small DenseNet whose logits are changed."""

    def __init__(self, change):
        super().__init__()
        self.net, self.change = small(), change

    def forward(self, images):
        return self.change(self, images)


@right
class a_DenseNetConfig:
    def build_model():
        return DenseNet(DenseNetConfig(block_layers=(2, 4, 4), growth_rate=12, init_channels=24, num_classes=10,
                                       in_channels=1, stem="class"))


@right
class the_blocks_in_a_Sequential:
    def build_model():
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
            DenseBlock(3, 16, 8), transition(40), DenseBlock(4, 20, 8), nn.BatchNorm2d(52), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(52, 10),
        )


@right
class own_classes_with_lazy_layers_that_keep_their_maps:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.LazyConv2d(16, 3, stride=2, padding=1)
            self.layers = nn.ModuleList(
                nn.Sequential(nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(8, 3, padding=1)) for _ in range(4))
            self.head = nn.LazyLinear(10)
            self.scale = torch.tensor([0.5, 1.0])

        def forward(self, x):
            self.maps = [self.stem(x) * self.scale[1]]
            for i, layer in enumerate(self.layers):
                self.maps.append(layer(torch.cat(self.maps, 1)))
                self.maps = [F.avg_pool2d(m, 2) for m in self.maps] if i == 1 else self.maps
            return self.head(torch.cat(self.maps, 1).mean((2, 3)))


@right
class torchvisions_network_with_another_stem:
    def build_model():
        from torchvision.models import DenseNet

        model = DenseNet(growth_rate=8, block_config=(2, 3, 3), num_init_features=16, num_classes=10)
        model.features.conv0 = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        model.features.pool0 = nn.Identity()
        return model


@right
class a_classifier_that_starts_at_zero_behind_a_frozen_stem:
    def build_model():
        torch.manual_seed(3)
        model = class_densenet(growth_rate=10, init_channels=20, block_layers=(2, 3, 3), drop_rate=0.05)
        model.features.conv0.requires_grad_(False)
        nn.init.zeros_(model.classifier.weight)
        return model


@wrong("expected at most 100,000, got 141,130")
class over_the_budget:
    def build_model():
        return class_densenet()


@wrong("of them are frozen: they count too")
class over_the_budget_with_a_frozen_part:
    def build_model():
        model = class_densenet()
        model.features.denseblock3.requires_grad_(False)
        return model


@wrong("lie in buffers: all but BatchNorm's statistics count")
class weights_hidden_in_a_buffer:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("projection", torch.randn(784, 200) / 28)
            self.head = nn.Linear(200, 10)

        def forward(self, x):
            return self.head((x.flatten(1) @ self.projection).relu())


@wrong("they count, and are not even trained")
class a_large_block_in_a_plain_list:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.Linear(32 + 6 * 32, 10)
            self.layers = [conv_block(32 + 32 * i, 32) for i in range(6)]

        def forward(self, x):
            x = self.stem(x)
            for layer in self.layers:
                x = torch.cat([x, layer(x)], 1)
            return self.head(x.mean((2, 3)))


@wrong("Use nn.ModuleList or nn.ModuleDict")
class a_small_block_in_a_plain_dict:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = {"stem": nn.Conv2d(1, 16, 3, stride=2, padding=1), "block": conv_block(16, 8)}
            self.head = small(in_channels=24, stem="cifar")

        def forward(self, x):
            x = self.layers["stem"](x)
            return self.head(torch.cat([x, self.layers["block"](x)], 1))


SECRET = torch.randn(784, 200) / 28


@wrong("lie outside parameters() and buffers(): they count too")
class weights_hidden_in_a_global:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(200, 10)

        def forward(self, x):
            return self.head((x.flatten(1) @ SECRET).relu())


@wrong("lie outside parameters() and buffers(): they count too")
class weights_hidden_in_a_closure:
    def build_model():
        secret = SECRET.numpy().copy()
        return Changed(lambda self, x: self.net(x) + 0 * (x.flatten(1) @ torch.from_numpy(secret))[:, :10])


@wrong("expected some that are trained, got none")
class everything_frozen:
    def build_model():
        return small().requires_grad_(False)


@wrong("FashionMNIST has 10 classes")
class a_thousand_classes:
    def build_model():
        return small(num_classes=1000)


@wrong("Maps must be averaged")
class maps_instead_of_logits:
    def build_model():
        return nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), DenseBlock(2, 16, 8))


@wrong("these are probabilities")
class a_softmax_at_the_end:
    def build_model():
        return nn.Sequential(small(), nn.Softmax(1))


@wrong("expected an nn.Module, got a DenseNetConfig")
class the_configuration_only:
    def build_model():
        return DenseNetConfig(block_layers=(2, 4, 4), growth_rate=12, init_channels=24)


@wrong("brackets that make an instance")
class a_class_instead_of_an_instance:
    def build_model():
        return Changed


@wrong("Is there a return?")
class nothing_returned:
    def build_model():
        small()


@wrong("is a module already")
class a_module_instead_of_a_function:
    build_model = small()


@wrong("expected shape (N, 3, H, W), got")
class three_input_channels:
    def build_model():
        return small(in_channels=3)


@wrong("are too small: the imagenet stem")
class a_stem_for_larger_images:
    def build_model():
        return small(stem="imagenet", block_layers=(1, 1, 1, 1))


@wrong("the output is the same for all images")
class the_input_is_ignored:
    def build_model():
        return Changed(lambda self, x: self.net(torch.ones_like(x)))


@wrong("some logits of the fresh network are NaN")
class NaN_from_the_start:
    def build_model():
        return Changed(lambda self, x: self.net(x).sub(50).log())


@wrong("this is no DenseNet: none of its layers makes maps of several pixels")
class logistic_regression:
    def build_model():
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10))


@wrong("this is no DenseNet: none of its layers makes maps of several pixels")
class a_perceptron:
    def build_model():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 120), nn.BatchNorm1d(120), nn.ReLU(), nn.Linear(120, 10))


@wrong("this is no DenseNet: each of its layers reads what the layer before it made")
class a_plain_convolutional_network:
    def build_model():
        layers = [nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), conv_block(16, 24), conv_block(24, 32)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


@wrong("the maps of earlier layers are added, as in a ResNet")
class a_ResNet:
    def build_model():
        from densenet_course.studies.relatives import resnet

        return resnet(8)


@wrong("this is no DenseNet: each of its layers reads what the layer before it made")
class a_dense_block_that_nobody_reads:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block, self.head = nn.Conv2d(1, 16, 3, stride=2), DenseBlock(3, 16, 8), nn.Linear(16, 10)

        def forward(self, x):
            maps = self.stem(x)
            return self.head(maps.mean((2, 3))) + 0 * self.block(maps).mean()


@wrong("the loss is no longer a number after 20 steps")
class logits_far_too_large:
    def build_model():
        return Changed(lambda self, x: self.net(x) * 1e8)


MADE_ONCE = small()


@wrong("share their weights")
class one_model_for_all_calls:
    def build_model():
        return MADE_ONCE


@wrong("before any training the network is right for")
class weights_from_an_earlier_training:
    def build_model():
        from densenet_course import data

        images, labels = (part[:6000] for part in data.load("train", data.prepare(download=False)))
        images = data.normalise(images).flatten(1)
        means = torch.stack([images[labels == i].mean(0) for i in range(10)])
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        with torch.no_grad():
            model[1].weight.copy_(means)
            model[1].bias.copy_(-means.square().sum(1) / 2)
        return model


@wrong("gradients reach only")
class a_detached_body:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = small(num_classes=32), nn.Linear(32, 10)

        def forward(self, x):
            return self.head(self.body(x).detach())


@wrong("no gradient comes back from the output")
class no_gradients_at_all:
    def build_model():
        return Changed(lambda self, x: self.net(x).detach())


@wrong("Keep nothing on self between calls")
class the_images_are_remembered:
    class build_model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.memory = small(), []

        def forward(self, x):
            self.memory.append(x.detach())
            return self.net(x)


@wrong("does the network compute something else in eval mode?")
class right_in_training_only:
    def build_model():
        return Changed(lambda self, x: self.net(x) if self.training else -self.net(x))


@wrong("the forward pass: expected a tensor, got a tuple")
class logits_and_maps_together:
    def build_model():
        return Changed(lambda self, x: (self.net(x), x))


@wrong("output for 1 image: expected shape (1, 10), got (10,)")
class squeezed_for_one_image:
    def build_model():
        return Changed(lambda self, x: self.net(x).squeeze())


@wrong("the call changed the caller's images")
class an_in_place_operation_on_the_input:
    def build_model():
        return Changed(lambda self, x: self.net(x.sub_(0.1)))
