"""Exercise train_epoch: one epoch of training, and the accuracy."""

import torch

from densenet_course.checks.engine.expect import expect
from densenet_course.checks.engine.explain import LOOP, Explaining
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.probes import prepare
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.train_epoch.classifier import Classifier, evaluation, train
from densenet_course.checks.exercises.train_epoch.mistakes import (
    ACCURACY,
    BATCHES,
    EVALUATE,
    LOSS,
    MODE,
    OLD,
    TRACES,
    TRAIN,
    UPDATE,
)

EXERCISE = Exercise(
    "train_epoch", names=["train_one_epoch", "evaluate"], title="Train and evaluate", lesson="07_train_fashion_mnist",
)
TRAINING, MEASURING = EXERCISE.names
STEEPER, SHARED = 100.0, 2.0
SAME = 1e-3  # of the largest movement; two orders of the same float32 sums differ by some 1e-6


# --- what is tried ----------------------------------------------------------------------------------------------------


def model_and_batches(draw, sizes=None):
    """Draw the start values of a small classifier and batches whose last one is smaller, images of 4×5 pixels."""
    channels, width, classes = draw.integer(2, 3), draw.integer(4, 6), draw.integer(4, 5)
    start = {
        "norm.weight": 0.5 + draw.normal(channels).abs(), "norm.bias": draw.normal(channels, scale=0.3),
        "norm.running_mean": draw.normal(channels), "norm.running_var": 0.5 + draw.normal(channels).abs(),
        "norm.num_batches_tracked": torch.tensor(draw.integer(2, 9)),
        "conv.weight": draw.normal(width, channels, 3, 3, scale=0.5),
        "head.weight": draw.normal(classes, width), "head.bias": draw.normal(classes, scale=0.3),
    }
    sizes = sizes(classes) if sizes else [draw.integer(6, 8)] * 3 + [draw.integer(2, 4)]
    return start, [(draw.maps(size, channels, 4, 5, each_image=True), draw_labels(draw, size, classes))
                   for size in sizes]


def draw_labels(draw, size, classes):
    """Draw labels of shape (size,)."""
    return torch.tensor([draw.integer(0, classes - 1) for _ in range(size)])


def draw_gradients(draw, start):
    """Draw gradients that may lie in .grad before a call."""
    return {name: draw.normal(*value.shape, scale=2.0) for name, value in start.items() if is_parameter(name)}


def is_parameter(name):
    """Tell whether a name in a state is a parameter's."""
    return "running" not in name and "tracked" not in name


def request(draw, **options):
    """Draw what ``train`` is asked for."""
    start, batches = model_and_batches(draw)
    settings = {"lr": draw.integer(10, 20) / 100, "momentum": draw.integer(5, 8) / 10,
                "weight_decay": draw.integer(1, 5) / 1000}
    return {"name": TRAINING, "start": start, "batches": batches, "settings": settings} | options


def steep_request(draw, **options):
    """Draw what ``train`` is asked for, such that gradients are longer than anybody clips them to.

    Maps are a hundred times as large and the classifier's weights as much smaller, so logits and loss stay as they are,
    and gradients grow a hundredfold. A number that all classes share cancels in the loss, and costs half precision its
    digits.
    """
    asked = request(draw, **options)
    start, settings = asked["start"], asked["settings"]
    steep = {"conv.weight": start["conv.weight"] * STEEPER, "head.weight": start["head.weight"] / STEEPER + SHARED}
    return asked | {"start": start | steep, "settings": settings | {"lr": settings["lr"] / STEEPER**2}}


def moved(start, after):
    """Return what was added to the parameters, in one vector."""
    names = [name for name in start if is_parameter(name)]
    if any(name not in after or after[name].shape != start[name].shape for name in names):
        raise Wrong("the model has other parameters after the call. Train the model that is given.")
    return torch.cat([(after[name] - start[name]).flatten() for name in names])


def apart(expected, got):
    """Say how far weights ended from where they should."""
    where = "some are NaN or infinite"
    if torch.isfinite(got).all():
        where = f"they end {100 * (got - expected).norm() / expected.norm():.2g} % of their way from where they should"
    return Wrong("weights", cause=f"{where}. Is it cross-entropy of the logits, one zero_grad(), backward() and step() "
                                  "for every batch, and nothing else?")


def hold_training(answer, draw, asked, look, **options):
    """Hold train_one_epoch against the solution; ``look`` says what is compared."""
    prepare(answer)
    TRAIN.hold(Explaining(answer, LOOP), draw, train, asked, view=look, tolerance=SAME, **options)


def hold_weights(answer, draw, asked):
    """Compare where the weights went."""
    hold_training(answer, draw, asked, lambda reply: {"weights": moved(asked["start"], reply["after"])},
                  told=lambda expected, got: apart(expected["weights"], got["weights"]))


# --- findings: train_one_epoch ----------------------------------------------------------------------------------------


@EXERCISE.finding(BATCHES, points=1, of=TRAINING)
def batches_once(answer, draw):
    """Each batch is used once, in order, the last one too; batches may be a generator or a list."""
    for one_shot, kind in ((True, "generator"), (False, "list")):
        asked = request(draw, one_shot=one_shot)
        hold_training(answer, draw, asked, lambda reply, kind=kind: {
            f"batches of a {kind} by number": [call["batch"] for call in reply["calls"]]
        })


@EXERCISE.finding(MODE, points=1, of=TRAINING)
def train_mode(answer, draw):
    """The model is in train mode, whatever it was before, and each batch passes through it once."""
    for training in (False, True):
        asked = request(draw, training=training)
        hold_training(answer, draw, asked, lambda reply: {
            "the model's mode in training": ", ".join(sorted({call["modes"] for call in reply["calls"]})),
            "BatchNorm's running mean": reply["after"]["norm.running_mean"],
            "BatchNorm's running variance": reply["after"]["norm.running_var"],
        })


@EXERCISE.finding(UPDATE, points=2, of=TRAINING)
def update(answer, draw):
    """Two epochs from clean gradients move the weights as the optimizer says."""
    asked = request(draw, epochs=2)
    prepare(answer)
    after = Explaining(answer, LOOP).ask(train, **asked)["settings"]
    changed = [key for key, value in asked["settings"].items() if after[key] != value]
    for key in changed:
        expect(f"the optimizer's {key} after two epochs", asked["settings"][key], after[key],
               cause="leave its settings to the caller. Is there a scheduler inside?")
    still = asked | {"settings": asked["settings"] | {"lr": 0.0}}
    if moved(asked["start"], Explaining(answer, LOOP).ask(train, **still)["after"]).any():
        raise Wrong("weights", cause="they moved with learning rate 0. Use the optimizer that is given, and no other.")
    hold_weights(answer, draw, asked)
    hold_weights(answer, draw, steep_request(draw, epochs=2))


@EXERCISE.finding(OLD, points=1.5, of=TRAINING)
def old_gradients(answer, draw):
    """Neither gradients from before the call nor those of earlier batches count."""
    asked = request(draw)
    hold_weights(answer, draw, asked | {"gradients": draw_gradients(draw, asked["start"])})


@EXERCISE.finding(LOSS, points=1.5, of=TRAINING)
def loss(answer, draw):
    """The mean over samples of the losses before each update is returned, and nothing is kept from call to call."""
    still = request(draw, loss=True)
    still["settings"]["lr"] = 0.0
    images, _ = still["batches"][-1]
    still["batches"][-1] = images, Classifier(still["start"])(images).argmin(1)  # tells the means apart
    for asked in (still, request(draw, loss=True, epochs=2)):
        hold_training(answer, draw, asked, lambda reply: {
            f"returned loss{f' of epoch {i + 1}' if i else ''}": value for i, value in enumerate(reply["losses"])
        })


# --- findings: evaluate -----------------------------------------------------------------------------------------------


def labelled(draw, *, square=False):
    """Draw a model and batches whose shares of right predictions differ: most, one, most, and all of the last.

    Args:
        draw: fresh numbers.
        square: three batches with as many images as classes; then argmax over the wrong axis does not raise.
    """
    while True:
        start, batches = model_and_batches(draw, (lambda classes: [classes] * 3) if square else None)
        logits = [Classifier(start).train(training)(images).detach() for training in (True, False)
                  for images, _ in batches]
        top = torch.cat(logits).topk(2).values
        if (top[:, 0] - top[:, 1]).min() < 1e-3:  # a tie could go either way
            continue
        logits = logits[len(batches):]
        sizes = [len(z) for z in logits]
        hits = [sizes[0] - 1, sizes[1] - 2, sizes[2] - 2] if square else [sizes[0] - 2, 1, sizes[2] - 2, sizes[3]]
        return start, [(images, _labels(draw, z, n)) for (images, _), z, n in zip(batches, logits, hits, strict=True)]


def _labels(draw, logits, hits):
    """Draw labels that exactly ``hits`` predictions meet; where none is met, the second-largest logit is or is not."""
    count, classes = logits.shape
    order = torch.tensor(draw.sample(0, count - 1, count))
    miss = torch.tensor([draw.integer(1, classes - 1) for _ in range(count)])
    return torch.where(order < hits, logits.argmax(1), (logits.argmax(1) + miss) % classes)


def hold_evaluation(answer, draw, look, *, square=False, **options):
    """Hold evaluate against the solution; ``look`` says what is compared."""
    start, batches = labelled(draw, square=square)
    asked = {"name": MEASURING, "start": start, "batches": batches} | options
    EVALUATE.hold(Explaining(answer, LOOP), draw, evaluation, asked, view=look)


@EXERCISE.finding(ACCURACY, points=1.5, of=MEASURING)
def accuracy(answer, draw):
    """The share of samples whose largest logit is at the label; batches may be a generator."""
    for square, one_shot in ((True, False), (False, False), (False, True), (False, True)):
        hold_evaluation(answer, draw, lambda reply: {"accuracy": reply["accuracy"]}, square=square, one_shot=one_shot)


def _quiet(reply):
    if not reply["calls"]:
        raise Wrong("evaluate never called the model.")
    return {
        "the model's mode in evaluate": ", ".join(sorted({call["modes"] for call in reply["calls"]})),
        "gradients recorded in evaluate": any(call["gradients"] for call in reply["calls"]),
        "gradients recorded afterwards": reply["records"],
        "after the call, train mode of ": reply["modes"],
        "parameters that are trained no more": reply["frozen"],
        "after the call ": reply["after"],
        "gradients after the call, of ": reply["gradients"],
    }


@EXERCISE.finding(TRACES, points=1.5, of=MEASURING)
def no_traces(answer, draw):
    """evaluate runs in eval mode without gradients, and leaves the model as it was."""
    for training in (True, False, None):
        start, batches = labelled(draw)
        asked = {"name": MEASURING, "start": start, "batches": batches, "training": training,
                 "gradients": draw_gradients(draw, start)}
        EVALUATE.hold(Explaining(answer, LOOP), draw, evaluation, asked, view=_quiet)
