"""DenseNetConfig: every choice that makes one DenseNet, checked."""

from dataclasses import dataclass, field

STEM_STRIDES = {"imagenet": 4, "cifar": 1, "class": 2}


@dataclass(frozen=True, kw_only=True)
class DenseNetConfig:
    """Describe a DenseNet completely; bad values are refused here, with the numbers in the message.

    Args:
        block_layers: layers in each dense block, at least one block.
        growth_rate: new maps k of each layer.
        init_channels: channels k0 that leave the stem.
        num_classes: outputs of the classifier.
        in_channels: channels of the images (1 grey, 3 RGB).
        compression: θ, the share of channels a transition keeps, 0 < θ ≤ 1.
        bottleneck_factor: width of a bottleneck in multiples of k; None for plain conv blocks.
        stem: "imagenet" (7×7 stride 2, then max pooling), "cifar" (3×3 stride 1) or "class" (3×3 stride 2).
        drop_rate: probability of dropout after each layer, 0 ≤ p < 1.
        conv_bias: True gives every convolution a bias, as d2l's network has; the paper's have none.
        efficient: True computes the same with fewer bytes (``densenet_course.efficient``); "native" does so with
            kernels that are compiled at the first use, and falls back to True where no compiler works. It is no part
            of what the network is: configurations that differ in it are equal, and checkpoints fit both.

    Raises:
        ValueError: a value is out of range.

    Source: Huang et al. 2017, sections 3 and 4.
    """

    block_layers: tuple[int, ...]
    growth_rate: int
    init_channels: int
    num_classes: int = 1000
    in_channels: int = 3
    compression: float = 0.5
    bottleneck_factor: int | None = 4
    stem: str = "imagenet"
    drop_rate: float = 0.0
    conv_bias: bool = False
    efficient: bool | str = field(default=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "block_layers", tuple(self.block_layers))
        if not self.block_layers:
            raise ValueError("block_layers: expected at least one block, for instance (6, 12, 24, 16), got none")
        counts = {f"block_layers[{i}]": n for i, n in enumerate(self.block_layers)}
        counts |= {n: getattr(self, n) for n in ("growth_rate", "init_channels", "num_classes", "in_channels")}
        if self.bottleneck_factor is not None:
            counts["bottleneck_factor"] = self.bottleneck_factor
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
        if not 0 < self.compression <= 1:
            raise ValueError(f"compression: expected 0 < θ ≤ 1, got {self.compression!r}")
        if not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate: expected 0 ≤ p < 1, got {self.drop_rate!r}")
        if self.efficient not in (False, True, "native"):
            raise ValueError(f'efficient: expected False, True or "native", got {self.efficient!r}')
        if self.stem not in STEM_STRIDES:
            raise ValueError(f"stem: expected one of {', '.join(STEM_STRIDES)}, got {self.stem!r}")
        self._check_transitions()

    def _check_transitions(self):
        channels = self.init_channels
        for i, num_layers in enumerate(self.block_layers[:-1], start=1):
            before = channels + num_layers * self.growth_rate
            channels = int(self.compression * before)
            if channels < 1:
                raise ValueError(f"compression: {self.compression} of {before} channels leaves none at transition {i}")

    @property
    def kernels(self):
        """What the efficient blocks compute with, "operators" or "native"; None for plain blocks."""
        return {False: None, True: "operators"}.get(self.efficient, self.efficient)

    @property
    def min_image_size(self):
        """Smallest height and width that every transition can still halve, in pixels."""
        after_stem = 2 ** (len(self.block_layers) - 1)
        return STEM_STRIDES[self.stem] * (after_stem - 1) + 1
