"""Exercise capstone: a DenseNet under a budget of parameters and CPU seconds."""

import functools
import math
import weakref

import torch

from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.probes import prepare
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.capstone.training import BATCH_SIZE, count, examine, train_and_predict

EXERCISE = Exercise(
    "capstone", names=["build_model"], title="Capstone: a DenseNet under a budget", lesson="14_capstone",
)
NAME, CLASSES = "build_model", 10
MAX_PARAMETERS = 100_000
CPU_SECONDS = 20.0  # of the training
MAX_IMAGES = 180_000  # three epochs of the full set: a fast machine gets no more
TRAINING_IMAGES, HELD_BACK = 60_000, 5_000  # at most
LEVELS = 0.60, 0.75, 0.80
KNOWS = 0.5  # accuracy of a network with fresh weights that has seen the data before; chance gives 0.1
TRIED, FEW = 300, 5_000  # images: to try a fresh network on, and so few that a training has hardly begun
LAST_RESULT = {}  # of the last check in this process, for the leaderboard; empty when nothing was trained

_MEMO = weakref.WeakKeyDictionary()


def once(function):
    """Let a function (answer, draw) ask once in each check; the findings share what comes, or why nothing comes."""

    @functools.wraps(function)
    def remembered(answer, draw):
        memo = _MEMO.setdefault(draw, {})
        if function not in memo:
            try:
                memo[function] = function(answer, draw), None, ""
            except (Wrong, AnswerError) as error:
                memo[function] = None, type(error), str(error)
        value, kind, message = memo[function]
        if kind is not None:
            raise kind(message)
        return value

    return remembered


# --- what came --------------------------------------------------------------------------------------------------------


@once
def split(answer, draw):
    """Read FashionMNIST, or its sample, without the network: ((images, labels), fresh held-back images and labels)."""
    from densenet_course import data

    location = data.prepare(download=False)
    train, test = data.load("train", location), data.load("test", location)
    chosen = torch.randperm(len(test[1]), generator=draw.generator)[:HELD_BACK]
    return tuple(part[:TRAINING_IMAGES] for part in train), tuple(part[chosen] for part in test), location.is_sample


@once
def numbers(answer, draw):
    """Count what a fresh network holds, by kind; BatchNorm's statistics are left out."""
    LAST_RESULT.clear()
    prepare(answer)
    return by_kind(answer.ask(count, name=NAME))


def by_kind(holdings):
    """Add up the numbers of an answer's tensors: kind → how many."""
    sums = dict.fromkeys(("trained", "frozen", "buffer", "lost", "hidden"), 0)
    for kind, shape in holdings:
        if kind != "statistics":
            sums[kind] += math.prod(shape)
    return sums


@once
def affordable(answer, draw):
    """Refuse a network that is over the budget; return the number of its parameters."""
    sums = numbers(answer, draw)
    total = sum(sums.values())
    if total > MAX_PARAMETERS:
        parts = [f" {sums[kind]:,} of them {words}" for kind, words in OVER.items() if sums[kind]]
        raise Wrong("parameters", cause=f"expected at most {MAX_PARAMETERS:,}, got {total:,}.{''.join(parts)}")
    if not sums["trained"]:
        raise Wrong("parameters", cause="expected some that are trained, got none.")
    return total


OVER = {
    "frozen": "are frozen: they count too.",
    "buffer": "lie in buffers: all but BatchNorm's statistics count.",
    "lost": "lie in layers that are in a plain list or dict: they count, and are not even trained.",
    "hidden": "lie outside parameters() and buffers(): they count too.",
}


@once
def tried(answer, draw):
    """Refuse a network whose outputs cannot be trained; return what a short trial gave."""
    (images, labels), held_back, _ = split(answer, draw)
    unseen, targets = (part[:TRIED] for part in held_back)
    reply = answer.ask(examine, name=NAME, images=images[:64], labels=labels[:64], unseen=unseen,
                       seed=draw.integer(0, 10**6))
    expect_logits(reply["logits"], len(unseen))
    expect_logits(reply["single"], 1)
    known = accuracy_of(reply["logits"], targets)
    if known >= KNOWS:
        raise Wrong(f"before any training the network is right for {known:.0%} of the images. Return fresh weights: "
                    "the training is the judge's.")
    if reply["shared"]:
        raise Wrong(f"two calls of {NAME}() share their weights. Build new layers in each call, not once outside.")
    if "later" not in reply:
        raise Wrong("no gradient comes back from the output. Is there a detach(), no_grad() or argmax in forward?")
    if _is_constant(reply["later"]):
        raise Wrong("the output is the same for all images. Does forward use its input up to the end?")
    return reply


def expect_logits(output, images):
    """Raise ``Wrong`` unless an output is a row of ten finite numbers for each image."""
    if output.shape != (images, CLASSES):
        cause = ""
        if output.ndim == 4:
            cause = " Maps must be averaged, and classified by a Linear layer."
        elif output.ndim == 2 and len(output) == images:
            cause = f" FashionMNIST has {CLASSES} classes."
        raise Wrong(f"output for {images} image{'s' * (images > 1)}", cause=f"expected shape {(images, CLASSES)}, "
                    f"got {tuple(output.shape)}.{cause}")
    if not output.is_floating_point():
        raise Wrong("output", cause=f"expected floating-point logits, got {output.dtype}. Leave out the argmax.")
    if not torch.isfinite(output).all():
        raise Wrong("output", cause="some logits of the fresh network are NaN or infinite.")


def _is_constant(logits):
    spread = (logits - logits.mean(0)).abs().max()
    return bool(spread <= 1e-6 * logits.abs().max())  # false for NaN: the training tells that


def accuracy_of(logits, labels):
    """Return the share of images whose largest logit is that of their class."""
    return (logits.argmax(1) == labels).double().mean().item()


@once
def trained(answer, draw):
    """Train once; return the result: accuracy, parameters, seconds, images seen, and why the accuracy may be low."""
    parameters = affordable(answer, draw)
    tried(answer, draw)
    (images, labels), (unseen, targets), is_sample = split(answer, draw)
    reply = answer.ask(
        train_and_predict, name=NAME, images=images, labels=labels, held_back=unseen, seconds=CPU_SECONDS,
        max_images=MAX_IMAGES, seed=draw.integer(0, 10**6),
        cpu_seconds=3 * CPU_SECONDS + 30,  # far above the budget, for the prediction takes time as well
    )
    logits, seconds = reply["logits"], reply["seconds"]
    if logits.shape != (len(unseen), CLASSES) or not torch.isfinite(logits).all():
        raise Wrong("after the training",
                    cause=f"expected {len(unseen):,} rows of {CLASSES} finite logits; some are NaN, "
                          "infinite or missing.")
    grown = sum(by_kind(reply["holdings"]).values())
    if grown > MAX_PARAMETERS:
        raise Wrong("after the training",
                    cause=f"the network holds {grown:,} numbers, before it held {parameters:,}. Keep "
                          "nothing on self between calls.")
    if seconds > 1.5 * CPU_SECONDS:
        raise Wrong("training",
                    cause=f"it took {seconds:.0f} CPU seconds instead of {CPU_SECONDS:g}, because one step is so "
                          "long. The network needs fewer multiply-adds.")
    accuracy = accuracy_of(logits, targets)
    LAST_RESULT.update(accuracy=accuracy, parameters=grown, cpu_seconds=seconds, images_seen=reply["images_seen"],
                       held_back=len(unseen), sample=is_sample)
    return LAST_RESULT | {"because": _because(reply, accuracy)}


def _because(reply, accuracy):
    """Say why an accuracy may be low, from what was seen."""
    steps, most = reply["images_seen"] // BATCH_SIZE, torch.bincount(reply["logits"].argmax(1)).double()
    if reply["accuracy"] - accuracy > 0.15:
        return (f" While training it was right for {reply['accuracy']:.0%}: does the network compute something else in "
                "eval mode?")
    if reply["images_seen"] < FEW:
        return (f" Only {steps} steps of {BATCH_SIZE} images fitted in: a network with fewer multiply-adds sees more "
                "images.")
    if most.max() / most.sum() > 0.9:
        return f" Nearly all images get class {int(most.argmax())}: the network has not learnt anything."
    return f" It had {steps} steps of {BATCH_SIZE} images."


# --- findings ---------------------------------------------------------------------------------------------------------


@EXERCISE.finding("parameters", points=2)
def budget(answer, draw):
    """At most so many numbers, wherever they are kept; BatchNorm's statistics do not count."""
    affordable(answer, draw)
    lost = numbers(answer, draw)["lost"]
    if lost:
        raise Wrong("parameters",
                    cause=f"{lost:,} of them lie in layers in a plain list or dict, where no optimizer finds "
                          "them. Use nn.ModuleList or nn.ModuleDict.")


@EXERCISE.finding("logits", points=2)
def logits(answer, draw):
    """(N, 1, 28, 28) → (N, 10) logits that depend on the image and can be trained."""
    reply = tried(answer, draw)
    output = reply["logits"]
    if output.min() >= 0 and (output.sum(1) - 1).abs().max() < 1e-3:
        raise Wrong("output",
                    cause="these are probabilities. Return logits: cross-entropy takes the softmax itself, and "
                          "learns slowly from a second one.")
    if reply["reached"] < 0.5:
        raise Wrong(f"gradients reach only {reply['reached']:.0%} of the parameters. Is there a detach() or no_grad() "
                    "on the way, or are layers not used?")
    if reply["input_changed"]:
        raise Wrong("input",
                    cause="the call changed the caller's images. Is there an in-place operation on the input itself?")


def _reach(level, answer, draw):
    result = trained(answer, draw)
    if result["accuracy"] < LEVELS[level]:
        first = level == 0 or result["accuracy"] >= LEVELS[level - 1]
        raise Wrong(f"accuracy on {result['held_back']:,} held-back images",
                    cause=f"expected at least {LEVELS[level]:.0%}, got "
                          f"{result['accuracy']:.1%}.{result['because'] if first else ''}")


for number, percent in enumerate(LEVELS):
    EXERCISE.finding(f"accuracy {percent:.0%}", points=2)(functools.partial(_reach, number))
