"""train_epoch solved, and the mistakes that are known: a training loop and an evaluation."""

import copy

import torch
import torch.nn.functional as F

from densenet_course.checks.engine.mistakes import Mistake, Solution

BATCHES, MODE, UPDATE, OLD, LOSS = "every batch once", "train mode", "update", "old gradients", "loss"
ACCURACY, TRACES = "accuracy", "evaluate changes nothing"


def mean(values, sizes):
    """Return the mean over all images of the batches' means."""
    return sum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes)


@torch.no_grad()
def again(model, images, labels):
    """Measure a loss once more without touching the running statistics."""
    return F.cross_entropy(copy.deepcopy(model)(images), labels).item()


def one_hot(labels, logits):
    """Return labels as rows of 0 and 1."""
    return F.one_hot(labels, logits.shape[1]).float()


# --- train_one_epoch --------------------------------------------------------------------------------------------------

TRAINING = """
def train_one_epoch(model, batches, optimizer):
    model.train()
    losses, sizes = [], []
    for images, labels in batches:
        optimizer.zero_grad()
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        sizes.append(len(labels))
    return mean(losses, sizes)
"""
HEAD, START = "def train_one_epoch", "    model.train()\n"
ZERO, BACKWARD, STEP = "        optimizer.zero_grad()\n", "        loss.backward()\n", "        optimizer.step()\n"
FORWARD, CRITERION = "        logits = model(images)\n", "        loss = F.cross_entropy(logits, labels)\n"
RETURN, RESULT = "    return", "mean(losses, sizes)"
LOOP = "in batches:"

NO_GRADIENTS = "is the forward pass inside no_grad()? Then there is nothing to go backward through."
LENGTH = "batches may be a generator, which has no length. Count the images as they come."
THROUGH = "is batches gone through twice? A generator gives its batches once only."
TWICE = "every batch was used twice. One epoch uses each once."
EVAL = "the model was trained in eval mode. Call model.train() first."
PARTLY = "the model was trained in train mode for some of its parts only. Call model.train(): it reaches all of them."
EXTRA = ("BatchNorm's running statistics saw each batch twice. Is the model called again for the same images? Take "
         "loss and logits from the one forward pass.")
UNMOVED = ("the weights did not move by the gradients. The order is zero_grad(), backward(), step(). In any other "
           "order there is nothing to step by.")
BETWEEN = "Is step() called between the forward pass and backward()? It changes the weights that backward() needs."
BEFORE = "each update uses the gradients of the batch before. Is step() called before backward()?"
AT_THE_END = "there is one update at the end. Call optimizer.step() once for every batch."
OWN = "these are plain gradient steps without momentum. Use the optimizer that is given."
SMOOTHED = "the labels are smoothed. The task wants plain cross-entropy, without label_smoothing."
CLIPPED = "the gradients are clipped. The task wants the update by the gradients as they are."
AUTOCAST = "the forward pass runs under autocast, with fewer digits. The task wants plain float32."
LR, DECAY = 'optimizer.param_groups[0]["lr"]', 'optimizer.param_groups[0]["weight_decay"]'
ACCUMULATED = "the gradients of earlier batches are still there. Call optimizer.zero_grad() before every backward()."
STALE = "gradients from before the call still count. Call zero_grad() before the first backward(), not after step()."
AFTER = "this is the loss after the update. Take the loss that backward() was called on."


def criterion(message, expression):
    """Make a mistake of another loss."""
    return Mistake(UPDATE, message, "F.cross_entropy(logits, labels)", expression)


def returned(message, expression):
    """Make a mistake in what is returned."""
    return Mistake(LOSS, message, RESULT, expression)


def under_autocast(kind, lines):
    """Make a mistake of some lines that run under autocast."""
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return Mistake(UPDATE, AUTOCAST, lines, f'        with torch.autocast("cpu", torch.{kind}):\n{indented}')


def clipped(call):
    """Make a mistake of clipped gradients."""
    return Mistake(UPDATE, CLIPPED, STEP, f"        torch.nn.utils.{call}\n{STEP}")


TRAINING_MISTAKES = [
    Mistake(BATCHES, NO_GRADIENTS, HEAD, f"@torch.no_grad()\n{HEAD}"),
    Mistake(BATCHES, LENGTH, START, f"    count = len(batches)\n{START}"),
    Mistake(BATCHES, THROUGH, START, f"    count = sum(len(labels) for _, labels in batches)\n{START}", RESULT,
            "sum(a * b for a, b in zip(losses, sizes)) / count"),
    Mistake(BATCHES, "the last one is left out. It is smaller, and counts too.", LOOP, "in list(batches)[:-1]:"),
    Mistake(BATCHES, "the first is left out. Is it taken by next() before the loop?", LOOP, "in list(batches)[1:]:"),
    Mistake(BATCHES, "only the first was used. Is there a return inside the loop?", RETURN, "        return"),
    Mistake(BATCHES, TWICE, LOOP, "in list(batches) * 2:"),
    Mistake(BATCHES, TWICE, LOOP, "in [pair for pair in batches for _ in range(2)]:"),
    Mistake(BATCHES, "they were used in another order than they came in.", LOOP, "in list(batches)[::-1]:"),
    Mistake(BATCHES, "they were sorted. Use them in the order in which they come.", LOOP,
            "in sorted(batches, key=lambda pair: len(pair[1])):"),
    Mistake(MODE, EVAL, START, ""),
    Mistake(MODE, EVAL, START, "    model.eval()\n"),
    Mistake(MODE, PARTLY, START, "    model.training = True\n"),
    Mistake(MODE, PARTLY, START, f"{START}    model.norm.eval()\n"),
    Mistake(MODE, PARTLY, START, f"{START}    model.dropout.eval()\n"),
    Mistake(MODE, EXTRA, FORWARD, f"{FORWARD}        with torch.no_grad():\n            model(images)\n"),
    Mistake(UPDATE, UNMOVED, STEP, ""),
    Mistake(UPDATE, UNMOVED, ZERO, "", BACKWARD, f"{BACKWARD}        optimizer.zero_grad(set_to_none=False)\n"),
    Mistake(UPDATE, UNMOVED, ZERO, "", STEP, "", BACKWARD, ZERO + STEP + BACKWARD),
    Mistake(UPDATE, UNMOVED, STEP, "", BACKWARD, STEP + BACKWARD),  # steps by the zeros of zero_grad()
    Mistake(UPDATE, BETWEEN, STEP, "", ZERO, "", BACKWARD, STEP + ZERO + BACKWARD),
    Mistake(UPDATE, BEFORE, STEP, "", ZERO, STEP + ZERO),
    Mistake(UPDATE, AT_THE_END, STEP, "", ZERO, "", RETURN, f"    optimizer.step()\n{RETURN}", START,
            f"{START}    optimizer.zero_grad()\n"),
    Mistake(UPDATE, AT_THE_END, STEP, "", RETURN, f"    optimizer.step()\n{RETURN}"),
    Mistake(UPDATE, "step() is called twice for each batch.", STEP, STEP * 2),
    Mistake(UPDATE, OWN, STEP, "        with torch.no_grad():\n            for weight in model.parameters():\n"
                               f"                weight -= {LR} * (weight.grad + {DECAY} * weight)\n"),
    Mistake(UPDATE, f"{OWN} It has weight decay, too.", STEP, "        with torch.no_grad():\n"
            f"            for weight in model.parameters():\n                weight -= {LR} * weight.grad\n"),
    Mistake(UPDATE, "the momentum starts anew in every epoch. Use the optimizer that is given; build none.", START,
            f"{START}    optimizer.state.clear()\n"),
    criterion("softmax comes before cross_entropy, which has one inside. Give it the logits.",
              "F.cross_entropy(logits.softmax(1), labels)"),
    criterion("the losses of a batch are summed. Use their mean, cross_entropy's default.",
              'F.cross_entropy(logits, labels, reduction="sum")'),
    Mistake(UPDATE, "the losses of a batch are summed. Use their mean, cross_entropy's default.", "labels)\n",
            'labels, reduction="sum")\n', "loss.item()", "loss.item() / len(labels)"),
    criterion("this is nll_loss of the raw logits. It wants log_softmax; cross_entropy takes logits.",
              "F.nll_loss(logits, labels)"),
    criterion("this is nll_loss of softmax, without the logarithm. Use cross_entropy of the logits.",
              "F.nll_loss(logits.softmax(1), labels)"),
    criterion("this is the squared error to one-hot labels. Use cross-entropy.",
              "F.mse_loss(logits, one_hot(labels, logits))"),
    criterion("this is the squared error of softmax to one-hot labels. Use cross-entropy.",
              "F.mse_loss(logits.softmax(1), one_hot(labels, logits))"),
    criterion("this is a yes-or-no question for each class. Use cross_entropy: exactly one class is right.",
              "F.binary_cross_entropy_with_logits(logits, one_hot(labels, logits))"),
    criterion("this is the multi-margin loss. Use cross-entropy.", "F.multi_margin_loss(logits, labels)"),
    *(criterion(SMOOTHED, f"F.cross_entropy(logits, labels, label_smoothing={share})") for share in (0.1, 0.05, 0.2)),
    *(clipped(f"clip_grad_norm_(model.parameters(), {norm})") for norm in (1.0, 0.1, 0.5, 2.0, 5.0, 10.0)),
    *(clipped(f"clip_grad_value_(model.parameters(), {value})") for value in (1.0, 0.1, 0.5, 5.0)),
    *(under_autocast(kind, lines) for kind in ("bfloat16", "float16") for lines in (FORWARD + CRITERION, FORWARD)),
    Mistake(OLD, ACCUMULATED, ZERO, ""),
    Mistake(OLD, ACCUMULATED, ZERO, "", START, f"{START}    optimizer.zero_grad()\n"),
    Mistake(OLD, STALE, ZERO, "", STEP, STEP + ZERO),
    Mistake(OLD, STALE, ZERO, "", RETURN, f"    optimizer.zero_grad()\n{RETURN}", STEP, STEP + ZERO),
    returned("this is the mean over batches. The last batch is smaller: weight each loss by its number of images.",
             "sum(losses) / len(losses)"),
    returned("this is the loss of the last batch only.", "losses[-1]"),
    returned("this is the loss of the first batch only.", "losses[0]"),
    returned("this is the sum of the batches' losses. Divide by the number of images.", "sum(losses)"),
    returned("this is the sum over all images. Divide by their number.", f"{RESULT} * sum(sizes)"),
    returned("each batch's loss is a mean already. Multiply it by the batch's number of images before you divide by "
             "all.", "sum(losses) / sum(sizes)"),
    returned("this is divided by the number of batches; expected the number of images.",
             f"{RESULT} * sum(sizes) / len(sizes)"),
    returned("the last batch is smaller than the first. Count the images of each batch.",
             f"{RESULT} * sum(sizes) / (sizes[0] * len(sizes))"),
    returned("the last batch is smaller than the others. Count the images of each batch.",
             f"{RESULT} * sum(sizes) / (sizes[-1] * len(sizes))"),
    returned("the last batch is left out of the mean.", "mean(losses[:-1], sizes[:-1])"),
    returned("this is the median of the batches' losses.",
             "float(torch.tensor(losses, dtype=torch.float64).quantile(0.5))"),
    returned("the sign is turned around.", f"-{RESULT}"),
    Mistake(LOSS, AFTER, "loss.item()", "again(model, images, labels)"),
    Mistake(LOSS, AFTER, LOOP, "in (batches := list(batches)):", RESULT,
            "mean([again(model, *pair) for pair in batches], sizes)"),
]
TRAIN = Solution(TRAINING, TRAINING_MISTAKES, F=F, torch=torch, mean=mean, again=again, one_hot=one_hot)

# --- evaluate ---------------------------------------------------------------------------------------------------------

EVALUATION = """
def evaluate(model, batches):
    before = [(part, part.training) for part in model.modules()]
    model.eval()
    hits, sizes = [], []
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            hits.append((logits.argmax(1) == labels).sum().item())
            sizes.append(len(labels))
    for part, mode in before:
        part.training = mode
    return sum(hits) / sum(sizes)
"""
FRONT, SILENT, SET = "    before =", "    with torch.no_grad():\n", "    model.eval()\n"
RESTORE, SHARE = "    for part, mode in before:\n        part.training = mode\n", "sum(hits) / sum(sizes)"
HIT = "(logits.argmax(1) == labels)"
IN_TRAIN_MODE = ("evaluate ran the model in train mode. BatchNorm then measures each batch, and remembers it. Call "
                 "model.eval() first.")
NOT_BACK = "the model came in train mode and was left in eval mode. Remember model.training and put it back."
ALWAYS = "the model came in eval mode and was left in train mode. Remember model.training and put it back."
MIXED = ("some parts came in another mode than the model itself. model.train(mode) sets all of them, model.training "
         "only the outermost: remember each part's own mode.")


def answered(message, expression):
    """Make a mistake in the accuracy."""
    return Mistake(ACCURACY, message, SHARE, expression)


def after(message, line):
    """Make a mistake by a line before the return."""
    return Mistake(TRACES, message, f"return {SHARE}", f"{line}\n    return {SHARE}")


EVALUATION_MISTAKES = [
    Mistake(ACCURACY, LENGTH, FRONT, f"    count = len(batches)\n{FRONT}"),
    Mistake(ACCURACY, LENGTH, FRONT, f"    count = len(batches.dataset)\n{FRONT}"),
    Mistake(ACCURACY, "argmax is taken over the images. The classes are axis 1 of (N, classes).", "argmax(1)",
            "argmax(0)"),
    answered("this is a percentage. Return a fraction, 0 … 1.", f"100 * {SHARE}"),
    answered("this is the number of hits. Divide by the number of images.", "sum(hits)"),
    answered("this is the share of errors; expected that of hits.", f"1 - {SHARE}"),
    Mistake(ACCURACY, "this is the loss.", HIT, 'F.cross_entropy(logits, labels, reduction="none")'),
    answered("this is the mean over batches. The last batch is smaller: count hits and images.",
             "sum(a / b for a, b in zip(hits, sizes)) / len(hits)"),
    answered("this is the accuracy of the last batch only.", "hits[-1] / sizes[-1]"),
    answered("this is the accuracy of the first batch only. Is there a return inside the loop?", "hits[0] / sizes[0]"),
    answered("this is the sum of the batches' accuracies.", "sum(a / b for a, b in zip(hits, sizes))"),
    answered("the last, smaller batch is left out.", "sum(hits[:-1]) / sum(sizes[:-1])"),
    answered("the last batch is smaller than the first. Count the images of each.",
             "sum(hits) / (sizes[0] * len(sizes))"),
    answered("this is divided by the number of batches; expected the number of images.", "sum(hits) / len(sizes)"),
    answered("the accuracy is rounded down. Divide with /.", "sum(hits) // sum(sizes)"),
    Mistake(ACCURACY, "a hit is counted where the label is among the two largest logits; expected the largest.", HIT,
            "(logits.topk(2).indices == labels[:, None]).any(1)"),
    Mistake(ACCURACY, "the smallest logit is taken. Use argmax.", "argmax(1)", "argmin(1)"),
    Mistake(TRACES, IN_TRAIN_MODE, SET, ""),
    Mistake(TRACES, IN_TRAIN_MODE, SET, "    model.train()\n"),
    Mistake(TRACES, "evaluate recorded gradients, which costs memory and time. Use torch.no_grad().", SILENT,
            "    if True:\n"),
    Mistake(TRACES, "after evaluate no gradients are recorded any more, so training would fail. Use `with "
            "torch.no_grad():`, which ends by itself.", SILENT, "    torch.set_grad_enabled(False)\n    if True:\n"),
    Mistake(TRACES, NOT_BACK, RESTORE, ""),
    Mistake(TRACES, ALWAYS, RESTORE, "    model.train()\n"),
    Mistake(TRACES, MIXED, RESTORE, "    model.train(before[0][1])\n"),
    Mistake(TRACES, MIXED, RESTORE, "    model.training = before[0][1]\n"),
    Mistake(TRACES, MIXED, RESTORE, "    if before[0][1]:\n        model.train()\n"),
    after("evaluate cleared the gradients. A caller may be collecting them: leave out zero_grad().",
          "model.zero_grad()"),
    after("evaluate cleared the gradients. A caller may be collecting them: leave out zero_grad().",
          "model.zero_grad(set_to_none=False)"),
    after("evaluate left the parameters with requires_grad=False, so they would not train any more.",
          "model.requires_grad_(False)"),
    after("evaluate reset BatchNorm's running statistics. It only measures.", "model.norm.reset_running_stats()"),
]
EVALUATE = Solution(EVALUATION, EVALUATION_MISTAKES, F=F, torch=torch)
