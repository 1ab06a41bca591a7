"""The answer's side of train_epoch: a small classifier that notes how it is called, and two probes."""

import torch
from torch import nn

from densenet_course.checks.engine.answer import probe
from densenet_course.checks.engine.numbers import as_float


class Log:
    """Notes of every forward pass; copies of the model write into the same one.

    Args:
        batches: the images of each batch.
    """

    def __init__(self, batches=()):
        self.batches, self.calls = list(batches), []

    def __deepcopy__(self, memo):
        return self

    def note(self, model, images, logits):
        """Note which batch came, in which mode, and whether gradients are recorded."""
        same = (i for i, batch in enumerate(self.batches) if batch.shape == images.shape and torch.equal(batch, images))
        self.calls.append({"batch": next(same, -1), "modes": modes_of(model), "gradients": logits.requires_grad})


def modes_of(model):
    """Return the modes of a model and its parts: "train", "eval", or both in one text."""
    modes = {part.training for part in model.modules()}
    return "train in some parts, eval in others" if len(modes) > 1 else "train" if modes == {True} else "eval"


class Classifier(nn.Module):
    """BN → ReLU → 3×3 convolution → ReLU → mean → Linear: (N, C, H, W) → (N, classes).

    BatchNorm reads the images themselves, so its statistics tell how often it ran and nothing about the weights.

    Args:
        start: the state to begin with; its shapes say how large the model is.
        log: where forward passes are noted.
    """

    def __init__(self, start, log=None):
        super().__init__()
        width, channels = start["conv.weight"].shape[:2]
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(0.0)  # random numbers could not be compared; its mode is noted
        self.head = nn.Linear(width, len(start["head.bias"]))
        self.load_state_dict(start)
        self.log = log or Log()

    def forward(self, images):
        """Return the logits."""
        maps = self.conv(self.norm(images).relu()).relu()
        logits = self.head(self.dropout(maps.mean((2, 3))))
        self.log.note(self, images, logits)
        return logits


def _prepare(start, batches, gradients):
    model = Classifier(start, Log(images.clone() for images, _ in batches))
    for key, gradient in (gradients or {}).items():
        model.get_parameter(key).grad = gradient.clone()
    return model


def _fresh(batches, one_shot):
    copies = [[images.clone(), labels.clone()] for images, labels in batches]
    return (pair for pair in copies) if one_shot else copies


@probe
def train(objects, name, start, batches, settings, training=False, one_shot=False, epochs=1, gradients=None,
          loss=False):
    """Train a new classifier with the learner's function.

    Args:
        objects: the learner's objects.
        name: which of them.
        start: the classifier's state at the beginning.
        batches: list of (images, labels).
        settings: of the optimizer, SGD.
        training: the classifier's mode before the call.
        one_shot: give the batches as a generator.
        epochs: number of calls.
        gradients: what lies in .grad before the first call, by parameter name.
        loss: read the numbers that the calls return.

    Returns:
        {"losses": one for each call, "calls": notes of the forward passes that recorded gradients, "after": the state,
        "settings": of the optimizer after the calls}
    """
    model = _prepare(start, batches, gradients).train(training)
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    returned = [objects[name](model, _fresh(batches, one_shot), optimizer) for _ in range(epochs)]
    after = {key: optimizer.param_groups[0][key] for key in settings}
    return {"losses": [as_float(value) for value in returned] if loss else [],
            "calls": [call for call in model.log.calls if call["gradients"]], "after": state_of(model),
            "settings": after}


@probe
def evaluation(objects, name, start, batches, training=False, one_shot=False, gradients=None):
    """Evaluate a new classifier with the learner's function.

    Args:
        objects: the learner's objects.
        name: which of them.
        start: the classifier's state.
        batches: list of (images, labels).
        training: the classifier's mode before the call; None: train mode, with BatchNorm in eval mode.
        one_shot: give the batches as a generator.
        gradients: what lies in .grad before the call, by parameter name.

    Returns:
        {"accuracy", "calls": notes of the forward passes, "modes" of all parts after the call, "records": whether
        gradients are recorded after the call, "after": the state, "frozen": names of parameters that are no longer
        trained, "gradients": what lies in .grad after the call}
    """
    model = _prepare(start, batches, gradients).train(training is not False)
    model.norm.train(bool(training))
    value = objects[name](model, _fresh(batches, one_shot))
    return {
        "accuracy": as_float(value), "calls": model.log.calls,
        "modes": {key or "the model": part.training for key, part in model.named_modules()},
        "records": torch.is_grad_enabled(), "after": state_of(model),
        "frozen": [key for key, parameter in model.named_parameters() if not parameter.requires_grad],
        "gradients": {key: parameter.grad for key, parameter in model.named_parameters()},
    }


def state_of(model):
    """Return a copy of a model's state."""
    return {key: value.detach().clone() for key, value in model.state_dict().items()}
