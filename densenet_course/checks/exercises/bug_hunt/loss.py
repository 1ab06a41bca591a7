"""Bug hunt, bug 5: one-hot labels and the wrong loss."""

import math

import torch
import torch.nn.functional as F

from densenet_course.checks.engine.answer import AnswerError, kind_of, probe
from densenet_course.checks.engine.expect import expect_close
from densenet_course.checks.engine.explain import Explaining, returned_nothing
from densenet_course.checks.engine.wrong import Wrong

LOSSES = (
    (lambda logits, y: F.binary_cross_entropy_with_logits(logits, y),
     "this is binary cross-entropy: one yes-or-no question per class. Here exactly one class is right."),
    (lambda logits, y: F.binary_cross_entropy(logits.softmax(1), y),
     "this is binary cross-entropy of the softmax: one yes-or-no question per class."),
    (lambda logits, y: F.mse_loss(logits, y), "this is the squared error of the logits; expected cross-entropy."),
    (lambda logits, y: F.mse_loss(logits.softmax(1), y),
     "this is the squared error of the probabilities; expected cross-entropy."),
    (lambda logits, y: F.cross_entropy(logits.softmax(1), y),
     "softmax is taken twice: cross_entropy takes it already. Give it the logits."),
    (lambda logits, y: F.cross_entropy(logits, y, reduction="sum"),
     "this is the sum over the batch; expected the mean."),
    (lambda logits, y: F.cross_entropy(logits, y) / y.shape[1],
     "this is the mean over images and classes; expected the mean over images."),
    (lambda logits, y: -(logits * y).sum(1).mean(), "log_softmax is missing: nll_loss takes log probabilities."),
    (lambda logits, y: F.cross_entropy(logits, y, label_smoothing=0.1), "labels are smoothed; expected as they are."),
)


CAPPED = ("the loss of an image that the network gets badly wrong is too small, and its gradient is 0. Is a number "
          "added inside the logarithm, or a clamp? Take log_softmax, which needs neither.")


def _suspected(logits, labels):
    return [(loss(logits, labels), message) for loss, message in LOSSES]


def _one_hot(draw, batch, classes):
    return F.one_hot(torch.tensor([draw.integer(0, classes - 1) for _ in range(batch)]), classes)


def untrained_loss(answer, draw):
    """An untrained network's loss is near log(classes)."""
    for classes in draw.sample(5, 20, 2):
        batch = draw.integer(21, 30)
        logits, labels = draw.normal(batch, classes, scale=1e-3), _one_hot(draw, batch, classes).float()
        got = answer.ask(loss_and_gradient, name="one_hot_loss", logits=logits, labels=labels)
        expect_close(f"loss of an untrained network, {classes} classes", torch.tensor(math.log(classes)), got["loss"],
                     suspects=_suspected(logits, labels), tolerance=0.02)


def loss_is_cross_entropy(answer, draw):
    """The loss is cross-entropy with its gradient, for labels of either kind and logits of any size."""
    cases = [("floats", 200.0), ("floats", 3.0), ("whole numbers", 3.0)]  # in large logits a capped loss shows best
    for kind, scale in cases:
        batch, classes = draw.integer(21, 30), draw.integer(5, 12)
        logits, labels = draw.normal(batch, classes, scale=scale), _one_hot(draw, batch, classes)
        labels = labels.float() if kind == "floats" else labels
        asked = Explaining(answer, what=f"one-hot labels as {kind}")
        got = asked.ask(loss_and_gradient, name="one_hot_loss", logits=logits, labels=labels)
        what = f"loss, one-hot {kind}" + (", logits of some hundreds" if scale > 100 else "")
        if got["loss"].numel() == 1 and not torch.isfinite(got["loss"]).all():
            raise Wrong(what, cause=f"it is {got['loss'].item()}. A softmax that rounds to 0 has no logarithm.")
        suspects = _suspected(logits, labels.float())
        if _is_capped(logits, labels, got):
            suspects.append((got["loss"], CAPPED))
        expect_close(what, F.cross_entropy(logits, labels.argmax(1)), got["loss"], suspects=suspects)
        if got["gradient"] is None:
            raise Wrong("gradient", cause="none reaches the logits. Is there a detach(), or an argmax of the logits?")
        expect_close(f"gradient, {what}", (logits.softmax(1) - labels) / batch, got["gradient"])


def _is_capped(logits, labels, got):
    """Tell whether the images to whose class softmax gives nothing, not even in float32, have no gradient."""
    lost = (logits.double().softmax(1) * labels).sum(1) < 1e-50
    return bool(lost.any()) and got["gradient"] is not None and bool((got["gradient"][lost].abs() < 1e-6).all())


@probe
def loss_and_gradient(objects, name, logits, labels):
    """Compute the loss, and its gradient for the logits (None where there is none)."""
    leaf = logits.clone().requires_grad_()
    loss = objects[name](leaf, labels.clone())
    if not isinstance(loss, torch.Tensor):
        cause = "A plain number carries no gradient." if isinstance(loss, int | float) else returned_nothing(loss)
        raise AnswerError(f"what {name} gave", "a tensor with one number", kind_of(loss), cause)
    if loss.numel() == 1 and loss.requires_grad:
        loss.sum().backward()
    return {"loss": loss, "gradient": leaf.grad}
