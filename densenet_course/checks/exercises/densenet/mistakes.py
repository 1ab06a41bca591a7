"""The judge's network of exercise densenet, and known wrong forms of it."""

import torch
from torch import nn

from densenet_course.checks.kinds.networks import BATCH, MISFIT, RUNNING, always
from densenet_course.config import DenseNetConfig
from densenet_course.models import DenseNet


def config(block_layers, growth_rate, init_channels, num_classes, in_channels=1, compression=0.5, **options):
    """Describe the network that the learner's arguments ask for."""
    return DenseNetConfig(
        block_layers=block_layers, growth_rate=growth_rate, init_channels=init_channels, num_classes=num_classes,
        in_channels=in_channels, compression=compression, **{"stem": "cifar"} | options
    )


def network(*arguments, **options):
    """Build the judge's network."""
    return DenseNet(config(*arguments, **options))


class Headed(nn.Module):
    """The judge's network with a body changed by ``change``, and a head of its own: a suspect."""

    def __init__(self, *arguments, change=lambda features: None, head=None):
        super().__init__()
        self.model = network(*arguments)
        change(self.model.features)
        self.head = head

    def forward(self, images):
        return self.head(self.model, images) if self.head else self.model(images)


def body(change):
    """Make a builder of networks whose features are changed."""
    return lambda *arguments: Headed(*arguments, change=change)


def head(forward):
    """Make a builder of networks with another head: (model, images) → logits."""
    return lambda *arguments: Headed(*arguments, head=forward)


def each(name, make):
    """Change the part of this name in every layer or transition."""

    def change(features):
        for module in list(features.modules()):
            if hasattr(module, name):
                setattr(module, name, make(getattr(module, name)))

    return change


def attributes(kind, **values):
    """Change attributes of all modules of a kind."""

    def change(features):
        for module in features.modules():
            if isinstance(module, kind):
                vars(module).update(values)

    return change


def _stem_norm(features):
    features.conv0 = nn.Sequential(features.conv0, nn.BatchNorm2d(features.conv0.out_channels), nn.ReLU())


def _joined_in_front(features):
    def forward(block, maps):
        for layer in block.children():
            maps = torch.cat([layer(maps), maps], dim=1)
        return maps

    for name, block in features.named_children():
        if name.startswith("denseblock"):
            block.forward = lambda maps, block=block: forward(block, maps)


def _pooled(model, images):
    return model.features(images).relu().mean((2, 3))


NO_LAST_RELU = "the ReLU after the last BatchNorm is missing."
LATE_LAST_RELU = "the last ReLU stands after the average; expected BN → ReLU → average."
SLIPS = (
    (head(lambda model, images: model(images) * 0), MISFIT),
    (always(network, training=False), RUNNING),
    (always(network, training=True), BATCH),
    (body(each("pool", lambda pool: nn.MaxPool2d(2))),
     "the transitions take the maximum; expected 2×2 average pooling."),
    (head(lambda model, images: model(images).softmax(1)), "there is a softmax at the end; expected logits."),
    (head(lambda model, images: model(images).log_softmax(1)), "there is a log-softmax at the end; expected logits."),
    (head(lambda model, images: model(images).sigmoid()), "there is a sigmoid at the end; expected logits."),
    (head(lambda model, images: model(images).relu()), "there is a ReLU after the classifier; expected logits."),
    (head(lambda model, images: model.classifier(model.features(images).mean((2, 3)))), NO_LAST_RELU),
    (head(lambda model, images: model.classifier(model.features[:-1](images).relu().mean((2, 3)))),
     "the last BatchNorm is missing."),
    (head(lambda model, images: model.classifier(model.features[:-1](images).mean((2, 3)))),
     "BN and ReLU after the last block are missing."),
    (head(lambda model, images: model.classifier(model.features[-1](model.features[:-1](images).relu()).mean((2, 3)))),
     "after the last block the ReLU stands before BatchNorm; expected BN → ReLU."),
    (head(lambda model, images: model.classifier(model.features(images).mean((2, 3)).relu())), LATE_LAST_RELU),
    (head(lambda model, images: model.classifier(model.features(images).relu().amax((2, 3)))),
     "the head takes the maximum of each map; expected the average."),
    (head(lambda model, images: model.classifier(model.features(images).relu().sum((2, 3)))),
     "the head takes the sum of each map; expected the average."),
    (head(lambda model, images: _pooled(model, images)), "The classifier is missing: these are the averaged maps."),
    (head(lambda model, images: model.features(images).relu()), "Average and classifier are missing: these are maps."),
    (head(lambda model, images: model(images)[..., None, None]), "Flatten the logits to (N, num_classes)."),
    (body(_stem_norm), "BN and ReLU stand in the stem; expected a bare convolution."),
    (body(lambda features: setattr(features, "conv0", nn.Sequential(features.conv0, nn.ReLU()))),
     "a ReLU stands in the stem; expected a bare convolution."),
    (body(lambda features: setattr(features.conv0, "stride", (2, 2))), "the stem has stride 2; expected 1."),
    (body(lambda features: setattr(features.conv0, "padding", (0, 0))), "the stem has no padding; expected padding=1."),
    (body(lambda features: setattr(features, "conv0", nn.Sequential(features.conv0, nn.MaxPool2d(3, 2, 1)))),
     "the stem pools; expected a bare convolution."),
    (body(each("relu", lambda relu: nn.Identity())), "the ReLU in the transitions is missing."),
    (body(each("norm", lambda norm: nn.Identity())), "BatchNorm in the transitions is missing."),
    (body(each("relu1", lambda relu: nn.Identity())), "the ReLU before the layers' 1×1 convolution is missing."),
    (body(each("relu2", lambda relu: nn.Identity())), "the ReLU before the layers' 3×3 convolution is missing."),
    (body(each("norm2", lambda norm: nn.Identity())), "BatchNorm in the layers' waist is missing."),
    (body(_joined_in_front), "the new maps are joined in front; expected behind: cat([features, new_maps], dim=1)."),
    (body(attributes(nn.BatchNorm2d, eps=1e-3)), "BatchNorm's eps is 1e-3 (Keras's); expected PyTorch's, 1e-5."),
    (body(attributes(nn.BatchNorm2d, momentum=0.01)),
     "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
    (body(attributes(nn.BatchNorm2d, momentum=0.99)),
     "BatchNorm's momentum is 0.99, as Keras counts it; expected PyTorch's, 0.1."),
    (body(attributes(nn.BatchNorm2d, momentum=0.9)), "BatchNorm's momentum is 0.9; expected PyTorch's, 0.1."),
    (body(attributes(nn.BatchNorm2d, momentum=None)),
     "BatchNorm's running statistics are a mean over all batches (momentum=None); expected PyTorch's momentum, 0.1."),
)
# In train mode the average of a map behind BatchNorm is its β, here above 0: with a ReLU behind the average or with
# none, the logits are the same.
EITHER = "the ReLU after the last BatchNorm is missing, or stands after the average; expected BN → ReLU → average."
TRAINING_SLIPS = tuple(
    (build, EITHER if message in (NO_LAST_RELU, LATE_LAST_RELU) else message) for build, message in SLIPS
)
