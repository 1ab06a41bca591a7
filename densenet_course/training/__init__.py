"""Train a network and evaluate it: the loop, and what it is told.

The room: ``loop`` (epochs, checkpoint, evaluation), ``optimizers`` (SGD and Muon), ``schedules`` (the learning rate of
every step), ``precision`` (device and number format), ``resolution`` (smaller images first), ``checkpoint`` (stop and
go on), ``distributed`` (several processes, started by torchrun).
"""

from densenet_course.recipe import Recipe
from densenet_course.training.loop import evaluate, fit, make_scheduler, predict, train_one_epoch
from densenet_course.training.optimizers import make_optimizer, orthogonalise
from densenet_course.training.precision import (
    BF16,
    FP32,
    FP32_CHANNELS_LAST,
    Precision,
    choose_device,
    choose_precision,
    has_bf16,
)
from densenet_course.training.resolution import SmallFirst
from densenet_course.training.schedules import constant, one_cycle, step_decay

__all__ = [
    "BF16", "FP32", "FP32_CHANNELS_LAST", "Precision", "Recipe", "SmallFirst", "choose_device", "choose_precision",
    "constant", "evaluate", "fit", "has_bf16", "make_optimizer", "make_scheduler", "one_cycle", "orthogonalise",
    "predict", "step_decay", "train_one_epoch",
]
