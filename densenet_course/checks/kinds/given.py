"""Networks that a check hands to an answer, described by plain values: both sides build the same one from them."""

import torch


def draw_network(draw, library, *, num_classes=None):
    """Describe a small DenseNet with fresh sizes and weights.

    Args:
        draw: fresh numbers.
        library: "torchvision", or "course" for ``densenet_course.models``.
        num_classes: by default another number than that of any of its maps.

    Returns:
        A recipe for ``network``: plain values. BatchNorm's buffers look as after training.
    """
    growth_rate, init_channels = draw.integer(3, 5), 2 * draw.integer(4, 6)
    sizes = {"growth_rate": growth_rate, "num_classes": num_classes or odd_classes(draw)}
    if library == "torchvision":
        sizes |= {"num_init_features": init_channels, "block_config": draw.random.choice([(2, 2), (2, 1), (3, 2)])}
    else:
        layers, stem = draw.random.choice([((2, 2), "cifar"), ((1, 2), "class"), ((2, 1), "imagenet")])
        sizes |= {"init_channels": init_channels, "block_layers": layers, "stem": stem, "in_channels": 3}
    recipe = {"library": library, "sizes": sizes, "weights": None}
    weights = {key: _weight(draw, key, value) for key, value in network(recipe).state_dict().items()}
    return recipe | {"weights": weights}


def odd_classes(draw):
    """Draw a number of classes that no layer of these networks has as its number of maps."""
    return draw.random.choice([61, 67, 71, 73])


def _weight(draw, key, value):
    if not value.is_floating_point():  # num_batches_tracked
        return torch.tensor(draw.integer(3, 99))
    noise = draw.normal(*value.shape)
    if value.ndim > 1:
        return noise * (2 / value[0].numel()) ** 0.5
    return 0.5 + noise.abs() if key.endswith(("weight", "running_var")) else noise


def network(recipe):
    """Build the network that a recipe of ``draw_network`` describes, in train mode."""
    if recipe["library"] == "torchvision":
        from torchvision.models import DenseNet

        model = DenseNet(**recipe["sizes"])
    else:
        from densenet_course.config import DenseNetConfig
        from densenet_course.models import DenseNet

        model = DenseNet(DenseNetConfig(**recipe["sizes"]))
    if recipe["weights"] is not None:
        model.load_state_dict(recipe["weights"])
    return model


def draw_images(draw, count=None):
    """Draw images (N, 3, H, W), H ≠ W, large enough for every network of ``draw_network`` in train mode."""
    return draw.normal(count or draw.integer(2, 4), 3, 8 * draw.integer(4, 5), 8 * draw.integer(6, 7))
