"""Wrong answers to bug_hunt: the programs that define modules. Each set is right but for one name."""

import contextlib
import threading

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block
from tests.answers.bug_hunt.right import ANSWERS, body, imagenet_stem, spare_statistics

RIGHT = ANSWERS.right_answers["the shortest repairs"]


def wrong(name, message):
    """Register an object as a wrong answer for one name; the other seven are right."""

    def register(value):
        label = f"{name}: {value.__name__.replace('_', ' ')}"
        ANSWERS.wrong_answers[label] = RIGHT | {name: value}, message
        return value

    return register


class Block(nn.Module):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__()
        self.layers = nn.ModuleList(conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))


class WithHead(Block):
    def __init__(self, num_layers, in_channels, growth_rate, num_classes):
        super().__init__(num_layers, in_channels, growth_rate)
        self.head = nn.Linear(in_channels + num_layers * growth_rate, num_classes)

    def new_maps(self, images):
        new = []
        for layer in self.layers:
            new.append(layer(torch.cat([images, *new], dim=1)))
        return torch.cat(new, dim=1)

    def classify(self, *maps):
        return self.head(torch.cat(maps, dim=1).mean(dim=(2, 3)))


@wrong("BlockWithHead", "The head counts other channels than the block returns")
class the_bug_itself_only_new_maps(WithHead):
    def forward(self, images):
        return self.classify(self.new_maps(images))


@wrong("BlockWithHead", "The count was right: give it the input's maps too")
class the_head_counts_less(WithHead):
    def __init__(self, num_layers, in_channels, growth_rate, num_classes):
        super().__init__(num_layers, in_channels, growth_rate, num_classes)
        self.head = nn.Linear(num_layers * growth_rate, num_classes)

    def forward(self, images):
        return self.classify(self.new_maps(images))


@wrong("BlockWithHead", "The count was right: give it the input's maps too")
class a_lazy_head_counts_less(the_head_counts_less):
    def __init__(self, num_layers, in_channels, growth_rate, num_classes):
        super().__init__(num_layers, in_channels, growth_rate, num_classes)
        self.head = nn.LazyLinear(num_classes)


@wrong("BlockWithHead", "zeros stand where the input's maps should be")
class padded_with_zeros(WithHead):
    def forward(self, images):
        return self.classify(torch.zeros_like(images), self.new_maps(images))


@wrong("BlockWithHead", "copies of new maps stand where")
class padded_with_copies(WithHead):
    def forward(self, images):
        new = self.new_maps(images)
        return self.classify(torch.cat([new] * 9, dim=1)[:, :images.shape[1]], new)


@wrong("BlockWithHead", "the input's maps stand last")
class input_behind_the_new_maps(WithHead):
    def forward(self, images):
        return self.classify(self.new_maps(images), images)


@wrong("BlockWithHead", "gradient of the input")
class input_joined_detached(WithHead):
    def forward(self, images):
        return self.classify(images.detach(), self.new_maps(images))


def gather(block, images):
    block.features.append(images)
    for layer in block.layers:
        block.features.append(layer(torch.cat(block.features, dim=1)))
    return torch.cat(block.features, dim=1)


class Collecting(Block):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__(num_layers, in_channels, growth_rate)
        self.features = []


@wrong("CleanBlock", "the first call works, a later one fails")
class the_bug_itself_a_list_on_self(Collecting):
    def forward(self, images):
        return gather(self, images)


@wrong("CleanBlock", "after a call self.features still holds maps")
class emptied_at_the_start(Collecting):
    def forward(self, images):
        self.features = []
        return gather(self, images)


@wrong("CleanBlock", "after a call self.last still holds maps")
class joined_maps_stay_detached(Block):
    def forward(self, images):
        for layer in self.layers:
            images = torch.cat([images, layer(images)], dim=1)
        self.last = {"maps": images.detach()}
        return images


@wrong("CleanBlock", "What that call had gathered is still there")
class emptied_at_the_end(Collecting):
    def forward(self, images):
        joined = gather(self, images)
        self.features.clear()
        return joined


@wrong("CleanBlock", "The two share one list")
class emptied_at_the_end_whatever_comes(Collecting):
    def forward(self, images):
        try:
            return gather(self, images)
        finally:
            self.features.clear()


@wrong("CleanBlock", "The two share one list")
class one_list_for_each_thread(Block):
    def __init__(self, num_layers, in_channels, growth_rate):
        super().__init__(num_layers, in_channels, growth_rate)
        self.lists = {}

    def forward(self, images):
        thread = threading.get_ident()
        features = self.lists.setdefault(thread, [])
        try:
            features.append(images)
            for layer in self.layers:
                features.append(layer(torch.cat(features, dim=1)))
            return torch.cat(features, dim=1)
        finally:
            self.lists.pop(thread, None)


@wrong("CleanBlock", "no gradient comes back to the input")
class everything_detached(Block):
    def forward(self, images):
        images = images.detach()
        for layer in self.layers:
            images = torch.cat([images, layer(images).detach()], dim=1)
        return images


@wrong("CleanBlock", "output shape of a later call")
class first_result_is_kept(Block):
    result = None

    def forward(self, images):
        if self.result is None:
            for layer in self.layers:
                images = torch.cat([images, layer(images)], dim=1)
            self.result = images
        return self.result


def imagenet(layer):
    def densenet_bc(block_layers=(6, 12, 24, 16), growth_rate=32, num_classes=1000):
        return nn.Sequential(
            *imagenet_stem(growth_rate), *body(2 * growth_rate, block_layers, growth_rate, num_classes, layer)
        )

    return densenet_bc


def as_layer(message):
    """Register DenseNets made of a wrong kind of layer."""

    def register(layer):
        network = imagenet(layer)
        network.__name__ = layer.__name__
        wrong("densenet_bc", message)(network)
        return layer

    return register


@as_layer("one 3×3 convolution over all channels: the bottleneck is missing")
def the_bug_itself_plain_layers(in_channels, growth_rate):
    return conv_block(in_channels, growth_rate)


@as_layer("The bottleneck is k wide; expected 4k")
def a_waist_of_k(in_channels, growth_rate):
    return BottleneckLayer(in_channels, growth_rate, bottleneck_factor=1)


@as_layer("BN and ReLU between the 1×1 and the 3×3 convolution are missing")
def nothing_between_the_convolutions(in_channels, growth_rate):
    layer = BottleneckLayer(in_channels, growth_rate)
    return nn.Sequential(layer.norm1, layer.relu1, layer.conv1, layer.conv2)


@as_layer("The 3×3 convolution stands first")
def the_1x1_behind_the_3x3(in_channels, growth_rate):
    return nn.Sequential(
        conv_block(in_channels, 4 * growth_rate), nn.BatchNorm2d(4 * growth_rate), nn.ReLU(),
        nn.Conv2d(4 * growth_rate, growth_rate, kernel_size=1, bias=False),
    )


@as_layer("the ReLU before the 3×3 convolution is missing")
def right_count_without_the_second_ReLU(in_channels, growth_rate):
    layer = BottleneckLayer(in_channels, growth_rate)
    return nn.Sequential(layer.norm1, layer.relu1, layer.conv1, layer.norm2, layer.conv2)


@wrong("densenet_bc", "A 3×3 convolution still reads all channels")
class plain_layers_that_count_as_121(nn.Module):
    """Fakes the number: plain layers with thinner new maps, and parameters that do nothing."""

    def __init__(self, block_layers=(6, 12, 24, 16), growth_rate=32, num_classes=1000):
        super().__init__()
        thin = 20 if growth_rate == 32 else growth_rate
        self.network = imagenet(conv_block)(block_layers, thin, num_classes)
        missing = 7_978_856 - sum(p.numel() for p in self.parameters())
        if growth_rate == 32:
            self.idle = nn.Parameter(torch.zeros(missing))

    def forward(self, images):
        return self.network(images)


@wrong("densenet_bc", "A 3×3 convolution still reads all channels")
def plain_layers_under_another_count(block_layers=(6, 12, 24, 16), growth_rate=32, num_classes=1000):
    if tuple(block_layers) == (6, 12, 24, 16):
        return imagenet(BottleneckLayer)(block_layers, growth_rate, num_classes)
    return imagenet(conv_block)(block_layers, growth_rate, num_classes)


def small(*stem):
    def build(block_layers, growth_rate, num_classes):
        return [*stem, *body(2 * growth_rate, block_layers, growth_rate, num_classes)]

    return build


def bare(growth_rate, stride=1, bias=False):
    return nn.Conv2d(1, 2 * growth_rate, 3, stride=stride, padding=1, bias=bias)


@wrong("densenet_28", "The stem and the first transitions left one pixel")
def the_bug_itself_the_ImageNet_stem(block_layers, growth_rate, num_classes):
    return nn.Sequential(*small(*imagenet_stem(growth_rate, 1))(block_layers, growth_rate, num_classes))


@wrong("densenet_28", "The 7×7 stem is still there")
def images_enlarged_to_224(block_layers, growth_rate, num_classes):
    stem = nn.Upsample(size=(56, 56)), *imagenet_stem(growth_rate, 1)
    return nn.Sequential(*small(*stem)(block_layers, growth_rate, num_classes))


@wrong("densenet_28", "The 7×7 stem is still there")
def transitions_that_round_up(block_layers, growth_rate, num_classes):
    parts = small(*imagenet_stem(growth_rate, 1))(block_layers, growth_rate, num_classes)
    for part in parts:
        if hasattr(part, "pool"):
            part.pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
    return nn.Sequential(*parts)


@wrong("densenet_28", "the images are enlarged first")
def enlarged_before_the_small_stem(block_layers, growth_rate, num_classes):
    return nn.Sequential(nn.Upsample(scale_factor=2), *small(bare(growth_rate))(block_layers, growth_rate, num_classes))


@wrong("densenet_28", "the stem still pools")
def small_kernel_but_pooling(block_layers, growth_rate, num_classes):
    parts = small(bare(growth_rate), nn.MaxPool2d(3, stride=2, padding=1))(block_layers, growth_rate, num_classes)
    return nn.Sequential(*parts)


@wrong("densenet_28", "the stem still has stride 2")
def small_kernel_but_stride_2(block_layers, growth_rate, num_classes):
    return nn.Sequential(*small(bare(growth_rate, stride=2))(block_layers, growth_rate, num_classes))


@wrong("densenet_28", "The new stem is a bare convolution")
def stem_with_BatchNorm(block_layers, growth_rate, num_classes):
    stem = bare(growth_rate), nn.BatchNorm2d(2 * growth_rate)
    return nn.Sequential(*small(*stem)(block_layers, growth_rate, num_classes))


@wrong("densenet_28", "mat1 and mat2")
def right_for_28_pixels_only(block_layers, growth_rate, num_classes):
    parts = small(bare(growth_rate))(block_layers, growth_rate, num_classes)
    parts[-3] = nn.AvgPool2d(3, stride=1)
    return nn.Sequential(*parts)


class Saving(nn.Module):
    def __init__(self, in_channels, growth_rate):
        super().__init__()
        self.norm, self.relu, self.conv = conv_block(in_channels, growth_rate)

    def whole(self, features):
        return self.conv(self.relu(self.norm(features)))


@wrong("SavingLayer", "took the batch in twice")
class the_bug_itself_all_of_it_runs_twice(Saving):
    def forward(self, features):
        return checkpoint(self.whole, features, use_reentrant=False)


@wrong("SavingLayer", "Expected about half")
class no_checkpoint_at_all(Saving):
    def forward(self, features):
        return self.whole(features)


@wrong("SavingLayer", "Expected about half")
class BatchNorm_outside_and_its_output_kept(Saving):
    def forward(self, features):
        return checkpoint(lambda maps: self.conv(self.relu(maps)), self.norm(features), use_reentrant=False)


@wrong("SavingLayer", "BatchNorm uses its running statistics in train mode")
class BatchNorm_in_eval_mode(Saving):
    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, features):
        return checkpoint(self.whole, features, use_reentrant=False)


@wrong("SavingLayer", "did not move")
class statistics_never_move(Saving):
    def compute(self, features):
        known = (None, None) if self.training else (self.norm.running_mean, self.norm.running_var)
        features = F.batch_norm(features, *known, self.norm.weight, self.norm.bias, training=self.training)
        return self.conv(self.relu(features))

    def forward(self, features):
        return checkpoint(self.compute, features, use_reentrant=False)


@wrong("SavingLayer", "depend on when the backward pass comes")
class momentum_that_makes_two_updates_one(Saving):
    """Two updates with 1 - √0.9 move the mean as one with 0.1, once the backward pass has come; counts as well."""

    def __init__(self, in_channels, growth_rate):
        super().__init__(in_channels, growth_rate)
        self.norm.momentum = 1 - 0.9 ** 0.5
        self.norm._buffers.pop("num_batches_tracked")
        self.norm.num_batches_tracked = None

    def forward(self, features):
        return checkpoint(self.whole, features, use_reentrant=False)


@wrong("SavingLayer", "num_batches_tracked after a forward and a backward pass: expected 1, got 2")
class momentum_alone(Saving):
    def __init__(self, in_channels, growth_rate):
        super().__init__(in_channels, growth_rate)
        self.norm.momentum = 1 - 0.9 ** 0.5

    def forward(self, features):
        return checkpoint(self.whole, features, use_reentrant=False)


@wrong("SavingLayer", "Each forward pass moves them once")
class every_second_run_is_not_counted(Saving):
    runs = 0

    def compute(self, features):
        self.runs += 1
        first = self.runs % 2 == 1 or not torch.is_grad_enabled()
        if first and self.training:
            with torch.no_grad():
                self.norm(features)
        norm = self.norm
        known = (None, None) if self.training else (norm.running_mean, norm.running_var)
        features = F.batch_norm(features, *known, norm.weight, norm.bias, training=self.training)
        return self.conv(self.relu(features))

    def forward(self, features):
        if not features.requires_grad:
            self.runs = 0
        return checkpoint(self.compute, features, use_reentrant=False)


@wrong("SavingLayer", "depend on when the backward pass comes")
class statistics_spared_in_the_wrong_pass(Saving):
    def forward(self, features):
        def contexts():
            return spare_statistics(self.norm), contextlib.nullcontext()

        if not features.requires_grad:
            return self.whole(features)
        return checkpoint(self.whole, features, use_reentrant=False, context_fn=contexts)


class Twice(Saving):
    """The statistics are forgotten in the second pass alone, which then saves other tensors than the first."""

    def forward(self, features):
        self.is_second = False
        if not self.training:
            return self.whole(features)
        return checkpoint(self.pass_of, features, use_reentrant=False)

    def pass_of(self, features):
        is_second, self.is_second = self.is_second, True
        return self.second(features) if is_second else self.whole(features)


@wrong("SavingLayer", "keep BatchNorm's mode and buffers")
class no_buffers_in_the_second_pass(Twice):
    def second(self, features):
        features = F.batch_norm(features, None, None, self.norm.weight, self.norm.bias, training=True)
        return self.conv(self.relu(features))


@wrong("SavingLayer", "keep BatchNorm's mode and buffers")
class not_tracked_in_the_second_pass(Twice):
    def second(self, features):
        kept, self.norm.track_running_stats = self.norm.track_running_stats, False
        buffers = self.norm.running_mean, self.norm.running_var
        self.norm.running_mean = self.norm.running_var = None
        try:
            return self.whole(features)
        finally:
            self.norm.track_running_stats = kept
            self.norm.running_mean, self.norm.running_var = buffers


@wrong("SavingLayer", "with gradients or without")
class statistics_only_with_gradients(Saving):
    def forward(self, features):
        def contexts():
            return contextlib.nullcontext(), spare_statistics(self.norm)

        if torch.is_grad_enabled():
            return checkpoint(self.whole, features, use_reentrant=False, context_fn=contexts)
        with spare_statistics(self.norm):
            return self.whole(features)


@wrong("SavingLayer", "no gradient comes back to the input")
class computed_without_gradients(Saving):
    def forward(self, features):
        with torch.no_grad():
            return self.whole(features)


@wrong("BlockWithHead", "did not come back")
class a_loop_that_never_ends(RIGHT["BlockWithHead"]):
    def forward(self, images):
        while True:
            images = images + 0


@wrong("BlockWithHead", "expected an nn.Module")
def a_function_of_the_images(num_layers, in_channels, growth_rate, num_classes):
    block = DenseBlock(num_layers, in_channels, growth_rate)
    return lambda images: block(images).mean((2, 3))
