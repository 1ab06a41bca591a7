"""Exercise transfer: a trained network, frozen, with a new classifier."""

import torch
import torch.nn.functional as F

from densenet_course.checks.engine.expect import close, expect_close
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.transfer.prepared import NAME, Trial
from densenet_course.checks.kinds import given

EXERCISE = Exercise("transfer", names=[NAME], title="A new classifier on frozen features",
                    lesson="11_transfer_learning")
LIBRARIES = ("torchvision", "course")
NO_CLASSIFIER = "there is no Linear of the right size, so this could not be tried."


def same(first, other):
    """Tell whether two outputs agree up to rounding."""
    return first.shape == other.shape and close(first, other)


@EXERCISE.finding("classifier", points=1.5)
def classifier(answer, draw):
    """There is one new Linear of the right size, new even for the same number of classes."""
    for library, same in zip(draw.random.sample(LIBRARIES * 2, 4), (False, True, False, True), strict=True):
        trial = Trial(draw, library, same=same)
        (tensors,) = trial.ask(answer, ("tensors",))
        trial.expect_classifier(tensors)
        old = trial.recipe["weights"]
        weights, _ = trial.weights_of(tensors["parameters"])
        if same and all(torch.equal(tensors["parameters"][key], old["classifier.weight"]) for key in weights):
            raise Wrong("classifier",
                        cause=f"for {trial.old} classes, as many as before, the old weights are still there. "
                              "Make a new Linear in any case: the classes are others.")


@EXERCISE.finding("values", points=2)
def values(answer, draw):
    """In eval mode the new classifier reads the given network's features."""
    for library in LIBRARIES:
        trial = Trial(draw, library)
        tensors, _, _, got = trial.ask(answer, ("tensors",), trial.load(), ("mode", False), ("run", trial.images))
        weights, biases = trial.weights_of(tensors["parameters"])
        if not weights:
            raise Wrong("output in eval mode", cause=NO_CLASSIFIER)
        if not biases:  # told by the finding before
            trial.bias = None
        maps, batch = trial.maps(), trial.maps(train=True)
        with torch.no_grad():
            old_logits = given.network(trial.recipe).eval()(trial.images)
        suspects = [
            (trial.classify(maps.mean((2, 3))),
             "the ReLU after the last BatchNorm is missing. It is a call in forward, not a part of model.features."),
            (trial.classify(F.relu(maps.mean((2, 3)))), "the ReLU stands after the pooling; expected before it."),
            (trial.classify(F.relu(maps).amax((2, 3))), "this is max pooling; the given network takes the average."),
            (trial.classify(F.relu(batch).mean((2, 3))), "BatchNorm uses the batch's statistics in eval mode."),
            (trial.classify(maps.new_zeros(len(maps), trial.channels)), "the classifier sees no features at all."),
            (old_logits, "The old classifier is still at work; in a DenseNet it is called classifier, not fc."),
        ]
        expected = trial.classify(F.relu(maps).mean((2, 3)))
        suspects += [(expected.softmax(1), "there is a softmax at the end; expected logits."),
                     (expected.log_softmax(1), "there is a log-softmax at the end; expected logits.")]
        lost = trial.lost(tensors)
        if lost and not any(same(value, got) for value, _ in [(expected, ""), *suspects]):
            raise Wrong("output in eval mode",
                        cause=f"the features are not those of the given network: its {lost[0]} is gone. "
                              "Keep its weights and its running statistics.")
        expect_close("output in eval mode", expected, got, suspects=suspects)


def moved(before, after):
    """Return the names of tensors that changed or are gone."""
    return [key for key, value in before.items()
            if key not in after or value.shape != after[key].shape or not torch.equal(value, after[key])]


def fit(answer, draw, library):
    """Train a prepared network for some steps; return (trial, tensors before, whether it could be trained, after)."""
    trial = Trial(draw, library)
    batches = [draw.normal(*trial.images.shape) for _ in range(3)]
    _, output, before, _, trainable, after = trial.ask(
        answer, trial.load(), ("run", trial.images), ("tensors",), ("mode", True), ("fit", *batches), ("tensors",)
    )
    trial.expect_logits(output)
    return trial, before, trainable, after


def fits(answer, draw):
    """Train a prepared network of each library, see ``fit``."""
    return [fit(answer, draw, library) for library in LIBRARIES]


@EXERCISE.finding("frozen", points=2)
def frozen(answer, draw):
    """Training on all parameters moves nothing but the classifier."""
    for _, before, _, after in draw.once(fits, answer):
        heads = {key.rpartition(".")[0]: len(value) for key, value in before["parameters"].items() if value.ndim == 2}
        wrong = [key for key in moved(before["parameters"], after["parameters"])
                 if not _is_of_a_head(key, before["parameters"][key].shape, heads)]
        if wrong:
            norms = all("norm" in key for key in wrong)
            cause = ("γ and β of BatchNorm are parameters too." if norms
                     else "Set requires_grad to False for all parameters, then make the classifier.")
            raise Wrong("frozen",
                        cause=f"{len(wrong)} of {len(before['parameters'])} parameters moved in training, for "
                              f"instance {wrong[0]}. {cause}")


def _is_of_a_head(key, shape, heads):
    """Tell whether a parameter is a Linear's weight or bias; another one's may have a place in the same part."""
    return len(shape) in (1, 2) and heads.get(key.rpartition(".")[0]) == shape[0]


@EXERCISE.finding("learns", points=1)
def learns(answer, draw):
    """Training moves the classifier."""
    for trial, before, trainable, after in draw.once(fits, answer):
        if not trainable:
            raise Wrong("learns",
                        cause="no gradient leads from the output to any parameter. Is the new classifier frozen with "
                              "the rest, or not used?")
        changed, found = moved(before["parameters"], after["parameters"]), trial.weights_of(before["parameters"])
        if not found[0]:
            raise Wrong("learns", cause=NO_CLASSIFIER)
        for what, keys in zip(("weight", "bias"), found, strict=True):
            if keys and not set(keys) & set(changed):
                raise Wrong("learns",
                            cause=f"the classifier's {what} ({keys[0]}) stays as it is in training. Is it frozen?")


@EXERCISE.finding("batch statistics", points=1.5)
def batch_statistics(answer, draw):
    """In train mode too, BatchNorm uses what it learnt before: outputs agree in both modes."""
    for library in LIBRARIES:
        trial = Trial(draw, library)
        run, one = ("run", trial.images), ("run", trial.images[:1])
        _, _, wanted, _, _, trained, again, tensors = trial.ask(
            answer, trial.load(), ("mode", False), run, ("mode", True), ("mode", True), run, run, ("tensors",)
        )
        trial.expect_logits(wanted)
        if not same(trained, again):
            raise Wrong("train mode", cause="the same images gave two different outputs. Is there a Dropout?")
        _, at_once, _, alone = trial.ask(answer, trial.load(), run, ("mode", True), one, train=True)
        _hold_modes(wanted, trained, at_once, tensors, trial)
        if not same(wanted[:1], alone):
            raise Wrong("train mode", cause="an image alone gives other outputs than beside others. BatchNorm uses the "
                        "batch's statistics.")


def _hold_modes(wanted, trained, at_once, tensors, trial):
    if not same(wanted, trained):
        before, after = trial.recipe["weights"], tensors["buffers"]
        kept = [key for key in after if key.endswith("running_mean") and key in before]
        still = kept and all(torch.equal(after[key], before[key]) for key in kept)
        cause = "Frozen parameters do not stop BatchNorm."
        if same(wanted, at_once):
            cause = "train() switches BatchNorm on again: eval() once is not enough."
        elif still:
            cause = "momentum=0 or track_running_stats=False stops the running averages only."
        raise Wrong("train mode: the outputs are others than in eval mode, so BatchNorm uses the batch's statistics. "
                    + cause)
    if not same(wanted, at_once):
        raise Wrong("right after the call",
                    cause="a network given in train mode still uses the batch's statistics until "
                          "train() is called. Put BatchNorm into eval mode yourself as well.")


@EXERCISE.finding("running statistics", points=1)
def running_statistics(answer, draw):
    """BatchNorm's buffers stay, whatever runs in train mode."""
    for library in LIBRARIES:
        trial = Trial(draw, library)
        other = ("run", given.draw_images(draw))
        _, before, output, *_, after = trial.ask(
            answer, trial.load(), ("tensors",), ("run", trial.images), ("mode", True), other, ("mode", False),
            ("mode", True), other, ("tensors",), train=True,
        )
        trial.expect_logits(output)
        wrong = moved(before["buffers"], after["buffers"])
        if wrong:
            only = all(key.endswith("num_batches_tracked") for key in wrong)
            cause = "momentum=0 does not stop this counter." if only else "BatchNorm still learns in train mode."
            raise Wrong("buffers", cause=f"a forward pass in train mode changed {wrong[0]}. {cause}")
        _, _, first, _, _, _, last = trial.ask(answer, trial.load(), ("mode", False), ("run", trial.images),
                                               ("mode", True), other, ("mode", False), ("run", trial.images))
        if not same(first, last):
            raise Wrong("buffers",
                        cause="a forward pass in train mode changed the outputs of eval mode. Something still "
                              "learns in train mode.")


@EXERCISE.finding("train() and eval()", points=1)
def modes(answer, draw):
    """model.training follows train() and eval(), and both return the network."""
    for library in LIBRARIES:
        trial = Trial(draw, library)
        asked = [True, False, True, True, False, False, True]
        replies = trial.ask(answer, *(("mode", mode) for mode in asked))
        for mode, reply in zip(asked, replies, strict=True):
            call = "train()" if mode else "eval()"
            if reply["training"] is not mode:
                raise Wrong(f"after {call}",
                            cause=f"expected model.training {mode}, got {reply['training']}. Only BatchNorm "
                                  "stays in eval mode: let your train(mode) call super().train(mode) first.")
            if reply["returned"]:
                raise Wrong(call,
                            cause=f"expected the network itself, got {reply['returned']}. End your own train(mode) "
                                  "with return self, as nn.Module's does.")
