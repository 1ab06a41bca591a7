"""The judge's side of train_epoch: the training loop, right and with known mistakes, and what these return."""

import copy

import torch
import torch.nn.functional as F

from densenet_course.checks.engine.expect import close
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.train_epoch.classifier import Classifier, state_of


def case(draw, *, full=3, rate=None):
    """Draw the start values of a small classifier, batches whose last one is smaller, and the optimizer's settings."""
    channels, width, classes = draw.integer(2, 3), draw.integer(4, 6), draw.integer(4, 5)
    start = {
        "norm.weight": 0.5 + draw.normal(channels).abs(), "norm.bias": draw.normal(channels, scale=0.3),
        "norm.running_mean": draw.normal(channels), "norm.running_var": 0.5 + draw.normal(channels).abs(),
        "norm.num_batches_tracked": torch.tensor(draw.integer(2, 9)),
        "conv.weight": draw.normal(width, channels, 3, 3, scale=0.5),
        "head.weight": draw.normal(classes, width), "head.bias": draw.normal(classes, scale=0.3),
    }
    sizes = [draw.integer(6, 8)] * full + [draw.integer(2, 4)]
    batches = [(draw_images(draw, size, channels), draw_labels(draw, size, classes)) for size in sizes]
    settings = {
        "lr": draw.integer(10, 20) / 100 if rate is None else rate,
        "momentum": draw.integer(5, 8) / 10, "weight_decay": draw.integer(1, 5) / 1000,
    }
    return start, batches, settings


def draw_images(draw, size, channels):
    """Draw images of shape (size, channels, 4, 5) that differ in mean and contrast."""
    mean, contrast = draw.normal(size, channels, 1, 1), draw.normal(size, channels, 1, 1).exp()
    return draw.normal(size, channels, 4, 5) * contrast + mean


def draw_labels(draw, size, classes):
    """Draw labels of shape (size,)."""
    return torch.tensor([draw.integer(0, classes - 1) for _ in range(size)])


def stale(draw, start):
    """Draw gradients that may lie in .grad before the call."""
    return {
        name: draw.normal(*value.shape, scale=2.0)
        for name, value in start.items() if "running" not in name and "tracked" not in name
    }


def train_epochs(
    start, batches, settings, *, epochs=1, mode="train", criterion=F.cross_entropy, zero="before", step="each",
    measure="before update", stale=None,
):
    """Train the judge's own classifier, rightly or with one mistake.

    Args:
        start: the state at the beginning.
        batches: list of (images, labels).
        settings: of the optimizer, SGD.
        epochs: how often.
        mode: "train" or "eval".
        criterion: (logits, labels) → loss.
        zero: when gradients are cleared: "before" each backward, "between" backward and step, "once" per epoch,
            "after" each step, or "never".
        step: when the weights are updated: "each" batch, "first" (before the forward pass), "last" (once, at the end),
            "own" (without the optimizer's momentum), "twice", or "reset" (a new optimizer in every epoch).
        measure: which losses are returned: "before update", "after update" or those "at the end".
        stale: gradients that lie there at the beginning.

    Returns:
        (the state afterwards, a list of the batches' losses for each epoch)
    """
    model = Classifier(start).train(mode == "train")
    own = settings | {"momentum": 0.0} if step == "own" else settings
    optimizer = torch.optim.SGD(model.parameters(), **own)
    for key, gradient in (stale or {}).items():
        model.get_parameter(key).grad = gradient.clone()
    losses = []
    for _ in range(epochs):
        if step == "reset":
            optimizer = torch.optim.SGD(model.parameters(), **settings)
        losses.append(_epoch(model, batches, optimizer, criterion, zero, step, measure))
    return state_of(model), losses


def _epoch(model, batches, optimizer, criterion, zero, step, measure):
    losses = []
    if zero == "once" or step == "last":
        optimizer.zero_grad()
    for images, labels in batches:
        if step == "first":
            optimizer.step()
        value = criterion(model(images), labels)
        if zero == "before" and step != "last":
            optimizer.zero_grad()
        value.backward()
        if zero == "between":
            optimizer.zero_grad(set_to_none=False)
        for _ in range({"first": 0, "last": 0, "twice": 2}.get(step, 1)):
            optimizer.step()
        if zero == "after":
            optimizer.zero_grad()
        losses.append(_again(model, images, labels) if measure == "after update" else value.item())
    if step == "last":
        optimizer.step()
    return [_again(model, *batch) for batch in batches] if measure == "at the end" else losses


@torch.no_grad()
def _again(model, images, labels):
    """Measure a loss once more without touching the running statistics."""
    return F.cross_entropy(copy.deepcopy(model)(images), labels).item()


def _softmax_first(logits, labels):
    return F.cross_entropy(logits.softmax(1), labels)


def _summed(logits, labels):
    return F.cross_entropy(logits, labels, reduction="sum")


def _squared(logits, labels):
    return F.mse_loss(logits, F.one_hot(labels, logits.shape[1]).float())


def _softmax_twice(logits, labels):
    return F.nll_loss(logits.softmax(1), labels)


LOSSES = (
    (_softmax_first, "softmax comes before cross_entropy, which has one inside. Give it the logits."),
    (_summed, "the losses of a batch are summed. Use their mean, cross_entropy's default."),
    (F.nll_loss, "this is nll_loss of the raw logits. It wants log_softmax; cross_entropy takes logits."),
    (_softmax_twice, "this is nll_loss of softmax, without the logarithm. Use cross_entropy of the logits."),
    (_squared, "this is the squared error to one-hot labels. Use cross-entropy."),
)
UNMOVED = (
    "the weights did not move by the gradients. The order is zero_grad(), backward(), step(). In any other order there "
    "is nothing to step by."
)
STEPS = (
    ({"zero": "between"}, UNMOVED),
    ({"step": "first"}, "each update uses the gradients of the batch before. Is step() called before backward()?"),
    ({"step": "last"}, "there is one update at the end. Call optimizer.step() once for every batch."),
    ({"step": "last", "criterion": _summed}, "there is one update at the end. Call optimizer.step() for every batch."),
    ({"step": "own"}, "these are plain gradient steps without momentum. Use the optimizer that is given."),
    ({"step": "twice"}, "step() is called twice for each batch."),
    ({"step": "reset"}, "the momentum starts anew in every epoch. Use the optimizer that is given; build none."),
)
ACCUMULATED = "the gradients of earlier batches are still there. Call optimizer.zero_grad() before every backward()."
KEPT = "something is kept between calls. Start sums, counts and lists inside the function."
STALE = "gradients from before the call still count. Call zero_grad() before the first backward(), not after step()."


def mean_over_samples(losses, sizes):
    """Return the mean over all images of the batches' mean losses."""
    return sum(a * n for a, n in zip(losses, sizes, strict=True)) / sum(sizes)


def loss_suspects(losses, sizes):
    """List the values that known mistakes return, from the losses of the batches and their sizes."""
    samples, count = sum(sizes), len(sizes)
    total = sum(a * n for a, n in zip(losses, sizes, strict=True))
    return [
        (sum(losses) / count, "this is the mean over batches. The last batch is smaller: weight each loss by its "
                              "number of images."),
        (losses[-1], "this is the loss of the last batch only."),
        (losses[0], "this is the loss of the first batch only. Is there a return inside the loop?"),
        (sum(losses), "this is the sum of the batches' losses. Divide by the number of images."),
        (total, "this is the sum over all images. Divide by their number."),
        (sum(losses) / samples, "each batch's loss is a mean already. Multiply it by the batch's number of images "
                                "before you divide by all."),
        (total / count, "this is divided by the number of batches; expected the number of images."),
        (total / (sizes[0] * count), "the last batch is smaller than the first. Count the images of each batch."),
        (sum(sorted(losses)[count // 2 - 1:count // 2 + 1]) / 2, "this is the median of the batches' losses."),
    ]


def same_number(expected, got):
    """Tell whether two numbers agree up to rounding."""
    return close(torch.tensor(expected, dtype=torch.float64), torch.tensor(got, dtype=torch.float64))


def expect_number(what, expected, got, suspects):
    """Compare two numbers; unlike expect_close it always says both."""
    if same_number(expected, got):
        return
    cause = next((f" {m[0].upper()}{m[1:]}" for value, m in suspects if same_number(value, got)), "")
    raise Wrong(what, cause=f"expected {expected:.5g}, got {got:.5g}.{cause}")
