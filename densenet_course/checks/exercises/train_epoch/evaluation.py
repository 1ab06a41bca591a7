"""The findings of train_epoch about evaluate."""

import torch
import torch.nn.functional as F

from densenet_course.checks.engine.explain import LOOP, expect_no_error
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.train_epoch.classifier import Classifier, evaluate
from densenet_course.checks.exercises.train_epoch.mistakes import (
    KEPT,
    case,
    draw_images,
    expect_number,
    mean_over_samples,
    same_number,
)


def labelled(draw, *, square=False):
    """Draw a model and batches whose shares of right predictions differ: most, one, most, and all of the last.

    Args:
        draw: fresh numbers.
        square: three batches with as many images as classes; then argmax over the wrong axis does not raise.
    """
    while True:
        start, batches, _ = case(draw)
        channels, classes = len(start["norm.bias"]), len(start["head.bias"])
        if square:
            batches = [(draw_images(draw, classes, channels), None) for _ in range(3)]
        logits = [z for training in (True, False) for z in _logits(start, batches, training)]
        top = torch.cat(logits).topk(2).values
        if (top[:, 0] - top[:, 1]).min() < 1e-3:  # a tie could go either way
            continue
        logits = logits[len(batches):]
        sizes = [len(z) for z in logits]
        hits = [classes - 1, classes - 2, classes - 2] if square else [sizes[0] - 2, 1, sizes[2] - 2, sizes[3]]
        rows = [(images, _labels(draw, z, n)) for (images, _), z, n in zip(batches, logits, hits, strict=True)]
        if not square or _hits_over_images(logits, rows) not in (sum(hits), sum(sizes) - sum(hits)):
            return start, rows


def _hits_over_images(logits, batches):
    """Count what argmax over the wrong axis hits."""
    return sum((z.argmax(0) == labels).sum().item() for z, (_, labels) in zip(logits, batches, strict=True))


def _labels(draw, logits, hits):
    """Draw labels that exactly ``hits`` predictions meet."""
    count, classes = logits.shape
    order = torch.tensor(draw.sample(0, count - 1, count))
    miss = torch.tensor([draw.integer(1, classes - 1) for _ in range(count)])
    return torch.where(order < hits, logits.argmax(1), (logits.argmax(1) + miss) % classes)


def accuracy(answer, draw):
    """The share of samples whose largest logit is at the label; batches may be a generator."""
    for square, one_shot in ((True, False), (False, False), (False, True)):
        start, batches = labelled(draw, square=square)
        request = {"start": start, "batches": batches, "one_shot": one_shot, "training": False}
        _expect_accuracy(lambda request=request: answer.ask(evaluate, name="evaluate", **request), start, batches)


def _expect_accuracy(ask, start, batches):
    reply = ask()
    expect_no_error(reply["raised"], LOOP)
    if reply["problem"]:
        raise Wrong("returned accuracy", cause=f"{reply['problem']}")
    mode = {call["norm mode"] for call in reply["calls"]} == {"train"}  # a wrong mode is the next finding
    logits = _logits(start, batches, mode)
    hits = [(z.argmax(1) == labels).sum().item() for z, (_, labels) in zip(logits, batches, strict=True)]
    sizes = [len(labels) for _, labels in batches]
    expected, suspects = sum(hits) / sum(sizes), accuracy_suspects(hits, sizes, logits, batches)
    if not same_number(expected, reply["returned"]) and ask()["returned"] != reply["returned"]:
        suspects.insert(0, (reply["returned"], KEPT))
    expect_number(f"accuracy over {sum(sizes)} images", expected, reply["returned"], suspects)


def _logits(start, batches, training):
    model = Classifier(start).train(training)
    return [model(images).detach() for images, _ in batches]


def accuracy_suspects(hits, sizes, logits, batches):
    """List the values that known mistakes return, from the hits in each batch, its size and its logits."""
    samples, count = sum(sizes), len(sizes)
    shares = [hit / size for hit, size in zip(hits, sizes, strict=True)]
    pairs = [(z, labels) for z, (_, labels) in zip(logits, batches, strict=True)]
    suspects = [
        (100 * sum(hits) / samples, "this is a percentage. Return a fraction, 0 … 1."),
        (float(sum(hits)), "this is the number of hits. Divide by the number of images."),
        (1 - sum(hits) / samples, "this is the share of errors; expected that of hits."),
        (mean_over_samples([F.cross_entropy(z, labels).item() for z, labels in pairs], sizes), "this is the loss."),
    ]
    if len(set(sizes)) == 1 and sizes[0] == logits[0].shape[1]:
        columns = _hits_over_images(logits, batches) / samples
        suspects.append((columns, "argmax is taken over the images. The classes are axis 1 of (N, classes)."))
    if count > 1:
        suspects += [
            (sum(shares) / count, "this is the mean over batches. The last batch is smaller: count hits and images."),
            (shares[-1], "this is the accuracy of the last batch only."),
            (shares[0], "this is the accuracy of the first batch only. Is there a return inside the loop?"),
            (sum(shares), "this is the sum of the batches' accuracies."),
            (sum(hits[:-1]) / sum(sizes[:-1]), "the last, smaller batch is left out."),
            (sum(hits) / (sizes[0] * count), "the last batch is smaller than the first. Count the images of each."),
            (sum(hits) / count, "this is divided by the number of batches; expected the number of images."),
        ]
    return suspects


def no_traces(answer, draw):
    """evaluate runs in eval mode without gradients, and leaves the model as it was."""
    start, batches = labelled(draw, square=True)
    for training in (True, False):
        reply = answer.ask(
            evaluate, name="evaluate", start=start, batches=batches, one_shot=False, training=training,
        )
        expect_no_error(reply["raised"], LOOP)
        _expect_quiet(reply)
        _expect_restored(reply, training)
        _expect_state(reply["after"], start)


def _expect_quiet(reply):
    if not reply["calls"]:
        raise Wrong("evaluate never called the model.")
    if {call["mode"] for call in reply["calls"]} != {"eval"}:
        raise Wrong("evaluate ran the model in train mode",
                    cause="BatchNorm then measures each batch, and remembers it. "
                          "Call model.eval() first.")
    if any(call["gradients"] for call in reply["calls"]):
        raise Wrong("evaluate recorded gradients, which costs memory and time. Use torch.no_grad().")
    if not reply["grad mode"]:
        raise Wrong("after evaluate no gradients are recorded any more, so training would fail. "
                    "Use `with torch.no_grad():`, which ends by itself.")


def _expect_restored(reply, training):
    words = {"train": "train mode", "eval": "eval mode", "mixed": "train mode in some of its parts only"}
    before = "train" if training else "eval"
    if reply["mode"] != before:
        raise Wrong(f"the model came in {words[before]} and was left in {words[reply['mode']]}. "
                    "Remember model.training and put it back.")


def _same(value, other):
    return other is not None and torch.equal(value, other)


def _expect_state(after, start):
    if after["frozen"]:
        raise Wrong(f"evaluate left {after['frozen'][0]} with requires_grad=False, so it would not train any more.")
    changed = [name for name, value in start.items() if not _same(value, after["state"].get(name))]
    if changed:
        raise Wrong(f"evaluate changed {', '.join(changed[:3])} of the model. It only measures.")
