"""The answer's side of train_epoch: a small classifier that notes how it is called, and two probes."""

import torch
from torch import nn

from densenet_course.checks.engine.answer import AnswerError, probe, raised
from densenet_course.checks.engine.probes import as_float


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
        self.calls.append({
            "batch": next(same, -1), "shape": tuple(images.shape), "mode": mode_of(model),
            "norm mode": "train" if model.norm.training else "eval", "gradients": logits.requires_grad,
        })


def mode_of(model):
    """Return "train", "eval", or "mixed" when the parts differ."""
    modes = {part.training for part in model.modules()}
    return "mixed" if len(modes) > 1 else "train" if modes == {True} else "eval"


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


def _build(start, batches, training):
    return Classifier(start, Log(images.clone() for images, _ in batches)).train(training)


def _fresh(batches, one_shot):
    copies = [[images.clone(), labels.clone()] for images, labels in batches]
    return (pair for pair in copies) if one_shot else copies


def _attempt(function, convert):
    """Call, and convert what comes back: (value, what is wrong with it, what was raised)."""
    try:
        value = function()
    except Exception as error:
        return None, None, raised(error)
    try:
        return convert(value), None, None
    except AnswerError as error:
        return None, str(error), None


@probe
def train(objects, name, start, batches, settings, training=False, one_shot=False, epochs=1, stale=None, apart=False):
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
        stale: gradients that lie there before the first call, by parameter name.
        apart: call once for each batch, with the gradients cleared in between.

    Returns:
        {"returned": the losses, "problem": of the kind of what was returned, "raised", "calls": notes of the forward
        passes that recorded gradients or not, "after": the state}
    """
    model = _build(start, batches, training)
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    for key, gradient in (stale or {}).items():
        model.get_parameter(key).grad = gradient.clone()
    reply = {"returned": [], "problem": None, "raised": None}
    for part in [[pair] for pair in batches] if apart else [batches] * epochs:
        given = _fresh(part, one_shot)
        value, problem, raised = _attempt(lambda given=given: objects[name](model, given, optimizer), as_float)
        reply["returned"].append(value)
        reply["problem"], reply["raised"] = reply["problem"] or problem, raised
        if raised:
            break
        if apart:
            model.zero_grad()
    return reply | {"calls": model.log.calls, "after": state_of(model)}


@probe
def evaluate(objects, name, start, batches, training, one_shot):
    """Evaluate a new classifier with the learner's function.

    Returns:
        {"returned": the accuracy, "problem", "raised", "calls", "mode": after the call, "grad mode": after the call,
        "after": {"state", "frozen": names of parameters that are no longer trained}}
    """
    model = _build(start, batches, training)
    value, problem, raised = _attempt(lambda: objects[name](model, _fresh(batches, one_shot)), as_float)
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    return {
        "returned": value, "problem": problem, "raised": raised, "calls": model.log.calls, "mode": mode_of(model),
        "grad mode": torch.is_grad_enabled(), "after": {"state": state_of(model), "frozen": frozen},
    }


def state_of(model):
    return {key: value.detach().clone() for key, value in model.state_dict().items()}
