"""Every choice that makes one training, checked; without torch, so that the command line can show the defaults."""

import math
from dataclasses import dataclass
from numbers import Integral, Real


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are those of lesson 07, but for its epochs: it takes three.

    Args:
        epochs: passes over the data.
        peak_rate: highest learning rate.
        momentum: Nesterov momentum.
        weight_decay: on convolutions and linear weights only.
        schedule: a name in ``training.schedules.SCHEDULES``: "one_cycle", "step", "imagenet" or "constant".
        label_smoothing: share of the target spread over all classes.
        optimizer: a name in ``training.optimizers.OPTIMIZERS``: "sgd", "muon" or "adam".
        orthogonal_momentum: of Muon's orthogonal steps. In a training of few steps less of it learns faster.

    Raises:
        ValueError: a number is out of range.
    """

    epochs: int = 6
    peak_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    label_smoothing: float = 0.0
    optimizer: str = "sgd"
    orthogonal_momentum: float = 0.95

    def __post_init__(self):
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, Integral) or self.epochs < 1:
            raise ValueError(f"epochs: expected a whole number of at least 1, got {self.epochs!r}")
        object.__setattr__(self, "epochs", int(self.epochs))
        self._check("peak_rate", "a finite number above 0", lambda rate: 0 < rate < math.inf)
        self._check("momentum", "0 ≤ momentum < 1", lambda momentum: 0 <= momentum < 1)
        self._check("orthogonal_momentum", "0 ≤ momentum < 1", lambda momentum: 0 <= momentum < 1)
        self._check("weight_decay", "a finite number of at least 0", lambda decay: 0 <= decay < math.inf)
        self._check("label_smoothing", "0 ≤ label_smoothing ≤ 1", lambda share: 0 <= share <= 1)

    def _check(self, name, expected, holds):
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, Real) or not holds(value):  # NaN holds nothing
            raise ValueError(f"{name}: expected {expected}, got {value!r}")
        object.__setattr__(self, name, float(value))  # NumPy's numbers would make a checkpoint that cannot be read


# How the paper trains on ImageNet. Source: Huang et al. 2017, section 4.2.
IMAGENET = Recipe(epochs=90, peak_rate=0.1, weight_decay=1e-4, schedule="imagenet")
