"""The answer's side of capstone: count what a network holds, try it out, and train it for some CPU seconds."""

import time

import torch
import torch.nn.functional as F

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, probe
from densenet_course.checks.exercises.capstone.holdings import holdings
from densenet_course.data import ResidentBatches, normalise
from densenet_course.training import make_optimizer, predict, train_one_epoch
from densenet_course.training.precision import choose_precision
from densenet_course.training.schedules import one_cycle

BATCH_SIZE, PEAK_RATE = 128, 0.2
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
        the share of the trained parameters that get a gradient, "later": the logits after these steps}
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


class Clock:
    """Set the learning rate by the share of the budget that is used; ``train_one_epoch`` takes it as a scheduler.

    Args:
        optimizer: its learning rate is set, along one cycle.
        start: ``time.process_time()`` when the training began.
        cpu_seconds: CPU time of this process, all threads, that the training may take.
        max_images: images, counted anew in every epoch, that it may see.
    """

    def __init__(self, optimizer, start, cpu_seconds, max_images):
        self.optimizer, self.start, self.cpu_seconds, self.max_images = optimizer, start, cpu_seconds, max_images
        self.images = 0
        self._set_rate()

    @property
    def share(self):
        """How much of the budget is used; 1 when it is over."""
        return max((time.process_time() - self.start) / self.cpu_seconds, self.images / self.max_images)

    def step(self):
        """Count a batch."""
        self.images += BATCH_SIZE
        self._set_rate()
        if self.images % (20 * BATCH_SIZE) == 0:  # a loss that is NaN makes the weights so, and the rest is in vain
            for group in self.optimizer.param_groups:
                if not all(torch.isfinite(p).all() for p in group["params"]):
                    raise FloatingPointError

    def _set_rate(self):
        for group in self.optimizer.param_groups:
            group["lr"] = PEAK_RATE * one_cycle(min(self.share, 1.0), 1.0)

    def batches(self, data):
        """Yield batches, epoch after epoch, until the budget is used up."""
        while True:
            for batch in data:
                if self.share >= 1:
                    return
                yield batch


@probe
def train_and_predict(objects, name, images, labels, held_back, seconds, max_images, seed):
    """Build a network, train it with the course's own loop under a budget, and let it predict.

    On the CPU and in one thread, so that a CPU second buys as much on a machine of many cores as on one of two.

    Args:
        objects: the learner's objects.
        name: which of them.
        images: uint8 (N, 1, 28, 28), to train on.
        labels: int64 (N,).
        held_back: uint8 (M, 1, 28, 28).
        seconds: CPU time of build and training together, all threads.
        max_images: images that the training may see.
        seed: of start values, order and augmentation.

    Returns:
        {"logits": of the images held back, "holdings": after the training, "seconds": used, "images_seen",
        "accuracy": while training}
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(objects, name, (images, labels), held_back, seconds, max_images, seed)
    finally:
        torch.set_num_threads(threads)


def _train(objects, name, split, held_back, budget, max_images, seed):
    start = time.process_time()
    torch.manual_seed(seed)
    precision = choose_precision(CPU)
    model = probes.build(objects, name, ())
    probes.perform_script(model, [{"do": "warm up", "images": normalise(split[0][:2])}])
    model.to(device=CPU, memory_format=precision.memory_format)
    optimizer = make_optimizer(model, peak_rate=PEAK_RATE)
    data = ResidentBatches(*split, batch_size=BATCH_SIZE, shuffle=True, augment="flip", drop_last=True, seed=seed,
                           memory_format=precision.memory_format)
    clock = Clock(optimizer, start, budget, max_images)
    if clock.share >= 1:
        raise AnswerError(f"training: {name}() alone took all of the {budget:g} CPU seconds.")
    try:
        accuracy = train_one_epoch(model, clock.batches(data), optimizer, scheduler=clock, precision=precision)[1]
    except FloatingPointError:
        raise AnswerError(f"training: the loss is no longer a number after {clock.images // BATCH_SIZE} steps. Are the "
                          "start values very large, or is there a division or a logarithm in forward?") from None
    seconds = time.process_time() - start
    unlabelled = ResidentBatches(held_back, torch.zeros(len(held_back), dtype=torch.int64), batch_size=500,
                                 memory_format=precision.memory_format)
    logits = predict(model, unlabelled, precision=precision)[0]
    return {"logits": logits, "holdings": holdings(model), "seconds": seconds, "images_seen": clock.images,
            "accuracy": accuracy}
