"""How long d2l's recipe takes, and why, for ``time_to_accuracy.py``: one thing after the other is exchanged."""

import math
import time

import torch
import torch.nn.functional as F
from harness import in_turns, kept, summarise

from densenet_course.data import ResidentBatches, load
from densenet_course.models import class_densenet, small_densenet
from densenet_course.training import make_optimizer, train_one_epoch
from densenet_course.training.precision import FP32, choose_precision

D2L = {"epochs": 10, "batch_size": 128, "side": 96, "learning_rate": 0.01}
CLOCKED = {  # exchange → steps in a round
    "loader": 2, "layout and dtype": 4, "resolution": 10, "network": 40, "compiled blocks": 40}
MEANING = {
    "loader": "resident batches instead of a DataLoader of four workers",
    "layout and dtype": "this machine's precision instead of contiguous fp32",
    "resolution": "32×32 pixels instead of 96×96",
    "network": "the class network at 28×28 instead of d2l's",
    "compiled blocks": "native blocks instead of plain ones, on a CPU",
}


def class_network(device):
    """Build the class network; on a CPU of native blocks."""
    return class_densenet(efficient="native" if device.type == "cpu" else False)


def d2l_data(location):
    """Return d2l's own data module for its recipe: images of the book's size, batches of its size, its four workers."""
    from d2l import torch as d2l

    d2l.DataModule.__init__.__defaults__ = (str(location.root), 4)
    return d2l.FashionMNIST(batch_size=D2L["batch_size"], resize=(D2L["side"], D2L["side"]))


def d2l_seconds(location, plan):
    """Time d2l's recipe with its own data, loader and trainer.

    Returns:
        A dict: seconds of a training step, of one pass over the test images, and of the whole recipe by these.
    """
    from d2l import torch as d2l

    class Clock(d2l.Trainer):
        """A trainer that notes when an epoch's training ends and its evaluation begins."""

        def prepare_batch(self, batch):
            if not self.model.training and not self.trained:
                self.trained = time.perf_counter()
            return super().prepare_batch(batch)

    class Network(d2l.Classifier):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters()
            self.net = small_densenet()

    data = d2l_data(location)
    steps_per_epoch = len(data.train_dataloader())
    chosen = torch.randperm(len(data.train))[:plan.steps * D2L["batch_size"]].tolist()
    data.train = torch.utils.data.Subset(data.train, chosen)
    if plan.images:
        data.val = torch.utils.data.Subset(data.val, range(plan.images))
    trainer = Clock(max_epochs=1, num_gpus=d2l.num_gpus())
    trainer.trained = None
    model = Network(lr=D2L["learning_rate"])
    model.board.display = False  # no window needs the curve
    started = time.perf_counter()
    trainer.fit(model, data)
    ended = time.perf_counter()
    step, evaluation = (trainer.trained - started) / len(data.train_dataloader()), ended - trainer.trained
    return {"step": step, "evaluation": evaluation, "steps_timed": plan.steps, "steps_per_epoch": steps_per_epoch,
            "whole": D2L["epochs"] * (steps_per_epoch * step + evaluation)}


def resized(batches, side, steps):
    """Yield a few batches at another resolution."""
    for _, (images, labels) in zip(range(steps), batches, strict=False):
        yield images if side == 28 else F.interpolate(images, size=(side, side), mode="bilinear"), labels


def clock(exchange, train, device, *, steps):
    """Make a function that trains some steps after an exchange and those before it."""
    so_far = list(CLOCKED)[:list(CLOCKED).index(exchange) + 1]
    side = 28 if "network" in so_far else 32 if "resolution" in so_far else D2L["side"]
    model = class_densenet() if "network" in so_far else small_densenet()
    if "compiled blocks" in so_far:
        model = class_network(device)
    precision = choose_precision(device) if "layout and dtype" in so_far else FP32
    model.to(device=device, memory_format=precision.memory_format)
    optimizer = make_optimizer(model, peak_rate=D2L["learning_rate"])
    batches = ResidentBatches(*train, batch_size=D2L["batch_size"], device=device, shuffle=True, drop_last=True)

    def run():  # ends by reading the loss, so a GPU has done its work
        train_one_epoch(model, resized(batches, side, steps), optimizer, precision=precision)

    run()  # warm up
    return run


def factors(location, device, plan):
    """Time steps while one thing after the other is exchanged; exchange → summary of seconds for a step."""
    train = [part[:plan.images] for part in load("train", location)]
    steps = {name: 1 if plan.images else count for name, count in CLOCKED.items()}
    tasks = {name: clock(name, train, device, steps=count) for name, count in steps.items()}
    seconds = in_turns(tasks, plan.rounds)
    return {name: summarise([s / steps[name] for s in values]) for name, values in seconds.items()}


def take_apart(d2l, steps, recipe, seconds):
    """Split d2l's whole time over the course's into factors: exchange → times faster."""
    found, before = {}, d2l["step"]
    for name, summary in steps.items():
        found[name] = before / summary["median"]
        before = summary["median"]
    found["epochs"] = D2L["epochs"] / recipe["epochs"]
    rest = "the rest: batch size, smaller images first, evaluations, imports"
    found[rest] = d2l["whole"] / seconds / math.prod(found.values())
    return {name: round(value, 2) for name, value in found.items()}


def against_d2l(location, device, plan, folder, seconds, recipe):
    """Set d2l's recipe beside the course's: its time, and what the ratio is made of.

    Args:
        location: of the data.
        device: of the exchanged steps; d2l's trainer chooses for itself.
        plan: of ``time_to_accuracy.py``.
        folder: where it is kept what was timed.
        seconds: of the course's run to the same accuracy.
        recipe: of that run.

    Returns:
        A part of the results file.
    """
    d2l = kept(folder, "d2l", lambda: d2l_seconds(location, plan))
    steps = kept(folder, "steps", lambda: factors(location, device, plan))
    return {"d2l recipe": D2L, "d2l seconds": {name: round(value, 3) for name, value in d2l.items()},
            "steps": steps, "meaning": MEANING, "times faster": round(d2l["whole"] / seconds, 1),
            "factors": take_apart(d2l, steps, recipe, seconds)}
