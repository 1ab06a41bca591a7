"""Exercise train_epoch: one epoch of training, and the accuracy."""

import torch

from densenet_course.checks.engine.expect import close
from densenet_course.checks.engine.explain import LOOP, expect_no_error
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.probes import prepare
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.train_epoch.classifier import Classifier, train
from densenet_course.checks.exercises.train_epoch.evaluation import accuracy, no_traces
from densenet_course.checks.exercises.train_epoch.mistakes import (
    ACCUMULATED,
    KEPT,
    LOSSES,
    STALE,
    STEPS,
    UNMOVED,
    case,
    expect_number,
    loss_suspects,
    mean_over_samples,
    same_number,
    stale,
    train_epochs,
)

EXERCISE = Exercise(
    "train_epoch", names=["train_one_epoch", "evaluate"], title="Train and evaluate", lesson="07_train_fashion_mnist",
)
TRAIN, EVALUATE = EXERCISE.names
SAME = 1e-3  # of the largest movement; two orders of the same float32 sums differ by some 1e-6


# --- what came --------------------------------------------------------------------------------------------------------


def ask_training(answer, start, batches, settings, **options):
    """Let the answer train, and add to its reply the batches it trained on ("seen") and in which "mode"."""
    prepare(answer)
    reply = answer.ask(train, name=TRAIN, start=start, batches=batches, settings=settings, **options)
    calls = [call for call in reply["calls"] if call["gradients"]]
    seen = [call["batch"] for call in calls]
    known = seen and -1 not in seen and len(seen) <= 4 * len(batches)
    modes, norm_modes = ({call[key] for call in calls} for key in ("mode", "norm mode"))
    return reply | {"seen": seen if known else list(range(len(batches))), "known": known,
                    "mode": "eval" if norm_modes == {"eval"} else "train", "modes": modes, "gradient calls": calls}


def moved(start, after):
    """Return what was added to the parameters, in one vector."""
    names = [name for name in start if "running" not in name and "tracked" not in name]
    if any(name not in after or after[name].shape != start[name].shape for name in names):
        raise Wrong("the model has other parameters after the call. Train the model that is given.")
    return torch.cat([(after[name] - start[name]).flatten() for name in names])


def rehearse(data, reply, **options):
    """Train the judge's own copy, on the batches that the answer saw and in its mode: one mistake costs once."""
    start, batches, settings = data
    sequence = [batches[i] for i in reply["seen"]]
    return train_epochs(start, sequence, settings, **{"mode": reply["mode"]} | options)


# --- findings: train_one_epoch ----------------------------------------------------------------------------------------


@EXERCISE.finding("every batch once", points=1, of=TRAIN)
def batches_once(answer, draw):
    """Each batch is used once, in order, the last one too; batches may be a generator or a list."""
    for one_shot in (True, False):
        start, batches, settings = case(draw)
        reply = ask_training(answer, start, batches, settings, one_shot=one_shot)
        expect_no_error(reply["raised"], LOOP)
        calls, wanted = reply["gradient calls"], list(range(len(batches)))
        got = [call["batch"] for call in calls]
        if got != wanted:
            what = f"{len(batches)} batches in a {'generator' if one_shot else 'list'}"
            raise Wrong(what, cause=f"{_batch_mistake(got, wanted, calls, batches)}")


def _batch_mistake(got, wanted, calls, batches):
    if not got:
        return ("the model was never called to train. Is batches gone through twice? A generator gives its batches "
                "once only.")
    if -1 in got:
        shape = tuple(calls[got.index(-1)]["shape"])
        return f"the model got images of shape {shape} that are no batch as it came."
    if got == wanted[:-1]:
        return f"the last one is left out. It has {len(batches[-1][1])} images and counts too."
    if got == wanted[:1]:
        return "only the first was used. Is there a return inside the loop?"
    if got == wanted[1:]:
        return "the first is left out. Is it taken by next() before the loop?"
    if got == wanted * 2 or got == sorted(wanted * 2):
        return "every batch was used twice. One epoch uses each once."
    return f"expected the order {wanted}, got {got}."


@EXERCISE.finding("train mode", points=1, of=TRAIN)
def train_mode(answer, draw):
    """The model is in train mode, whatever it was before, and each batch passes through it once."""
    for training in (False, True):
        start, batches, settings = case(draw)
        reply = ask_training(answer, start, batches, settings, training=training)
        expect_no_error(reply["raised"], LOOP)
        if not reply["modes"]:
            raise Wrong("the model was never called to train.")
        if reply["modes"] != {"train"}:
            mode = "eval mode" if reply["modes"] == {"eval"} else "train mode for some of its parts only"
            before = "train" if training else "eval"
            raise Wrong(f"the model came in {before} mode and was trained in {mode}. Call model.train() first.")
        if not reply["known"]:  # other images than those sent: that is the finding above
            continue
        expected, _ = rehearse((start, batches, settings), reply | {"mode": "train"})
        for name in ("norm.running_mean", "norm.running_var"):
            if not close(expected[name], reply["after"][name], tolerance=SAME):
                raise Wrong(f"BatchNorm's running statistics saw {_count(reply, start)} batches, expected "
                            f"{len(reply['seen'])}. Is the model called again for the same images?")


def _count(reply, start):
    return int(reply["after"]["norm.num_batches_tracked"] - start["norm.num_batches_tracked"])


@EXERCISE.finding("update", points=2, of=TRAIN)
def update(answer, draw):
    """Two epochs from clean gradients move the weights as the optimizer says."""
    data = case(draw)
    reply = ask_training(answer, *data, epochs=2)
    expect_no_error(reply["raised"], LOOP)
    half = len(reply["seen"]) // 2
    first = reply | {"seen": reply["seen"][:half]} if reply["known"] else reply
    got = moved(data[0], reply["after"])
    for zero in ("before", "never", "once"):  # whether old gradients count is the next finding
        if close(moved(data[0], rehearse(data, first, epochs=2, zero=zero)[0]), got, tolerance=SAME):
            return
    expected = moved(data[0], rehearse(data, first, epochs=2)[0])
    raise Wrong("weights after two epochs", cause=f"{_update_mistake(data, first, expected, got)}")


def _update_mistake(data, reply, expected, got):
    if not torch.isfinite(got).all():
        return "some are NaN or infinite."
    if not got.any():
        return UNMOVED
    flaws = [*STEPS, *(({"criterion": criterion}, message) for criterion, message in LOSSES)]
    for options, message in flaws:
        if close(moved(data[0], rehearse(data, reply, epochs=2, **options)[0]), got, tolerance=SAME):
            return message
    return (f"they moved by {got.norm():.4g} in all, expected {expected.norm():.4g}, or the other way. "
            "Is it cross-entropy of the logits, and one zero_grad(), backward(), step() per batch?")


@EXERCISE.finding("old gradients", points=1.5, of=TRAIN)
def old_gradients(answer, draw):
    """Neither gradients from before the call nor those of earlier batches count."""
    data = case(draw)
    garbage = stale(draw, data[0])
    reply = ask_training(answer, *data, stale=garbage)
    expect_no_error(reply["raised"], LOOP)
    got = moved(data[0], reply["after"])
    if close(moved(data[0], rehearse(data, reply)[0]), got, tolerance=SAME):
        return
    if not got.any() or not torch.isfinite(got).all():
        raise Wrong("weights", cause=f"{UNMOVED if not got.any() else 'some are NaN or infinite.'}")
    for zero, message in (("between", UNMOVED), ("never", ACCUMULATED), ("once", ACCUMULATED), ("after", STALE)):
        if close(moved(data[0], rehearse(data, reply, zero=zero, stale=garbage)[0]), got, tolerance=SAME):
            raise Wrong("weights", cause=message)
    _compare_with_itself(answer, data, garbage, got)


def _compare_with_itself(answer, data, garbage, got):
    """Look for old gradients where the update is wrong for another reason: the answer is held against itself."""
    start, batches, settings = data
    clean = ask_training(answer, start, batches, settings)
    expect_no_error(clean["raised"], LOOP)
    if not close(moved(start, clean["after"]), got, tolerance=SAME):
        raise Wrong("weights", cause=STALE)
    apart = ask_training(answer, start, batches, settings, apart=True)
    expect_no_error(apart["raised"], LOOP)
    if not close(moved(start, apart["after"]), got, tolerance=SAME):
        raise Wrong("weights", cause="an epoch of several batches ends elsewhere than the same batches one by one. "
                    "Is there one zero_grad(), backward(), step() for every batch, by the optimizer that is given?")


@EXERCISE.finding("loss", points=1.5, of=TRAIN)
def loss(answer, draw):
    """The mean over samples of the losses before each update is returned, and nothing is kept from call to call."""
    start, batches, settings = case(draw, rate=0.0)
    model = Classifier(start)
    batches[-1] = (batches[-1][0], model(batches[-1][0]).argmin(1))  # a bad last batch tells the means apart
    reply = ask_training(answer, start, batches, settings)
    _expect_loss(answer, (start, batches, settings), reply)
    data = case(draw)
    reply = ask_training(answer, *data, epochs=2)
    _returned(reply)
    half = len(reply["seen"]) // 2
    reply |= {"seen": reply["seen"][:half]} if reply["known"] else {}
    after, losses = rehearse(data, reply, epochs=2)
    if close(moved(data[0], after), moved(data[0], reply["after"]), tolerance=SAME):  # else the update is to blame
        _expect_moving_loss(data, reply, losses)


def _returned(reply):
    expect_no_error(reply["raised"], LOOP)
    if reply["problem"]:
        raise Wrong("returned loss", cause=f"{reply['problem']}")
    return reply["returned"]


def _expect_loss(answer, data, reply):
    got = _returned(reply)[0]
    if moved(data[0], reply["after"]).any():
        raise Wrong("returned loss", cause="with learning rate 0 the weights moved. Use the optimizer that is given.")
    sizes = [len(data[1][i][1]) for i in reply["seen"]]
    losses = rehearse(data, reply)[1][0]
    suspects = loss_suspects(losses, sizes)
    for criterion, message in LOSSES:
        wrong = rehearse(data, reply, criterion=criterion)[1][0]
        suspects += [(mean_over_samples(wrong, sizes), message), (sum(wrong) / sum(sizes), message),
                     (sum(wrong) / len(wrong), message)]
    expected = mean_over_samples(losses, sizes)
    if not same_number(expected, got) and ask_training(answer, *data)["returned"][0] != got:
        suspects.insert(0, (got, KEPT))
    expect_number("returned loss", expected, got, suspects)


def _expect_moving_loss(data, reply, losses):
    sizes = [len(data[1][i][1]) for i in reply["seen"]]
    expected = [mean_over_samples(epoch, sizes) for epoch in losses]
    later = rehearse(data, reply, epochs=2, measure="after update")[1]
    at_end = rehearse(data, reply, epochs=2, measure="at the end")[1]
    after = "this is the loss after the update. Take the loss that backward() was called on."
    suspects = [(mean_over_samples(later[0], sizes), after), (mean_over_samples(at_end[0], sizes), after)]
    expect_number("returned loss", expected[0], reply["returned"][0], suspects)
    expect_number("returned loss of the second epoch", expected[1], reply["returned"][1], [
        (sum(expected) / 2, KEPT), (sum(expected), KEPT), (expected[0], KEPT),
    ])


# --- findings: evaluate -----------------------------------------------------------------------------------------------

EXERCISE.finding("accuracy", points=1.5, of=EVALUATE)(accuracy)
EXERCISE.finding("evaluate changes nothing", points=1.5, of=EVALUATE)(no_traces)
