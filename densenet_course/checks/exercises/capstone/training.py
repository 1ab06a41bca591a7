"""The answer's side of capstone: count what a network holds, try it out, and train it under a budget."""

import time

import torch
import torch.nn.functional as F

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, probe
from densenet_course.checks.exercises.capstone.clock import BATCH_SIZE, PEAK_RATE, Clock, Reference
from densenet_course.checks.exercises.capstone.holdings import holdings
from densenet_course.checks.exercises.capstone.joining import JOINED, joining
from densenet_course.data import ResidentBatches, normalise
from densenet_course.training import make_optimizer, predict, train_one_epoch
from densenet_course.training.precision import choose_precision

STEPS = 3  # of a trial: a classifier that starts at zero lets gradients through from the second on
CPU = torch.device("cpu")


@probe
def count(objects, name):
    """Build a network and report what it holds, see ``holdings``."""
    return holdings(probes.build(objects, name, ()))


@probe
def examine(objects, name, images, labels, unseen, seed):
    """Build two networks, and train one for a few steps.

    Args:
        objects: the learner's objects.
        name: which of them.
        images: uint8 (N, 1, 28, 28), to train on.
        labels: int64 (N,).
        unseen: uint8 (M, 1, 28, 28).
        seed: of the start values.

    Returns:
        {"shared": whether both are made of the same tensors, "logits": of the fresh network for ``unseen`` in eval
        mode, "single": for the first of them alone, "input_changed"} and, when the logits can be trained, {"reached":
        the share of the trained parameters that get a gradient, "later": the logits after these steps, "joining": what
        ``joining`` tells}
    """
    torch.manual_seed(seed)
    images, unseen = normalise(images), normalise(unseen)
    model, other = (probes.build(objects, name, ()) for _ in range(2))
    probes.perform_script(other, [{"do": "warm up", "images": images[:2]}])
    probes.perform_script(model, [{"do": "warm up", "images": images[:2]}])
    addresses = [{p.data_ptr() for p in one.parameters() if p.numel()} for one in (model, other)]
    runs = [{"do": "run", "images": part} for part in (unseen, unseen[:1])]
    several, single = probes.perform_script(model, runs)
    reply = {
        "shared": model is other or bool(addresses[0] & addresses[1]), "logits": several["output"],
        "single": single["output"], "input_changed": several["input_changed"],
    }
    if several["requires_grad"] and several["output"].shape == (len(unseen), 10):
        reply |= _few_steps(model, images, labels, unseen)
        # A classifier that starts at zero hides at first what it reads; large logits spoil a network in a few steps.
        found = [joining(one, unseen[:4]) for one in (other, model)]
        reply["joining"] = JOINED if JOINED in found else found[1]
    return reply


def _few_steps(model, images, labels, unseen):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model.train()(images.clone()), labels).backward()
        optimizer.step()
    reached = sum(p.numel() for p in parameters if p.grad is not None)
    with torch.no_grad():
        later = model.eval()(unseen.clone())
    return {"reached": reached / sum(p.numel() for p in parameters), "later": later}


@probe
def train_and_predict(objects, name, images, labels, held_back, budget, max_images, seed):
    """Build a network, train it with the course's own loop under a budget, and let it predict.

    On the CPU and in one thread, so that a step costs as much on a machine of many cores as on one of two.

    Args:
        objects: the learner's objects.
        name: which of them.
        images: uint8 (N, 1, 28, 28), to train on.
        labels: int64 (N,).
        held_back: uint8 (M, 1, 28, 28).
        budget: CPU time of build and training together, all threads, in steps of the reference network.
        max_images: images that the training may see.
        seed: of start values, order and augmentation.

    Returns:
        {"logits": of the images held back, "holdings": after the training, "used": in steps of the reference network,
        "images_seen", "accuracy": while training}
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(objects, name, (images, labels), held_back, budget, max_images, seed)
    finally:
        torch.set_num_threads(threads)


def _train(objects, name, split, held_back, budget, max_images, seed):
    precision = choose_precision(CPU)
    reference, start = Reference(precision), time.process_time()
    torch.manual_seed(seed)
    model = probes.build(objects, name, ())
    probes.perform_script(model, [{"do": "warm up", "images": normalise(split[0][:2])}])
    model.to(device=CPU, memory_format=precision.memory_format)
    optimizer = make_optimizer(model, peak_rate=PEAK_RATE)
    data = ResidentBatches(*split, batch_size=BATCH_SIZE, shuffle=True, augment="flip", drop_last=True, seed=seed,
                           memory_format=precision.memory_format)
    clock = Clock(optimizer, reference, start, budget, max_images)
    if clock.share >= 1:
        raise AnswerError(f"training: {name}() alone took as long as all {budget:g} steps of the reference network.")
    try:
        accuracy = train_one_epoch(model, clock.batches(data), optimizer, scheduler=clock, precision=precision)[1]
    except FloatingPointError:
        raise AnswerError(f"training: the loss is no longer a number after {clock.images // BATCH_SIZE} steps. Are the "
                          "start values very large, or is there a division or a logarithm in forward?") from None
    unlabelled = ResidentBatches(held_back, torch.zeros(len(held_back), dtype=torch.int64), batch_size=500,
                                 memory_format=precision.memory_format)
    logits = predict(model, unlabelled, precision=precision)[0]
    return {"logits": logits, "holdings": holdings(model), "used": clock.used, "images_seen": clock.images,
            "accuracy": accuracy}
