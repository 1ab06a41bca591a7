"""Train and evaluate a classifier: one epoch, many epochs with a progress bar, checkpoint and resume."""

import math
import sys
import time
from dataclasses import asdict, replace

import torch
import torch.nn.functional as F

from densenet_course.recipe import Recipe
from densenet_course.training import distributed
from densenet_course.training.checkpoint import Run
from densenet_course.training.optimizers import optimizer_for
from densenet_course.training.precision import FP32, choose_device, choose_precision
from densenet_course.training.schedules import SCHEDULES


def make_scheduler(optimizer, schedule, total_steps):
    """Build the scheduler that sets the learning rate of every step.

    Args:
        optimizer: its learning rate is the peak.
        schedule: a name in ``SCHEDULES``.
        total_steps: steps of the whole training.

    Raises:
        ValueError: the schedule is unknown.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {schedule!r}")
    share = SCHEDULES[schedule]
    # Each step trains at the rate of its own middle, so that none of them trains at rate 0.
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(min(step + 0.5, total_steps), total_steps))


def train_one_epoch(model, batches, optimizer, *, scheduler=None, precision=FP32, label_smoothing=0.0, after_step=None):
    """Update the weights once for every batch.

    Args:
        model: a classifier, (N, C, H, W) → (N, classes).
        batches: an iterable of (images, labels) on the model's device.
        optimizer: what updates the weights.
        scheduler: stepped after every update, if given.
        precision: a ``Precision``; the default is plain fp32.
        label_smoothing: share of the target spread over all classes, 0 … 1.
        after_step: a function (loss of the batch, a tensor on its device), called after every update, if given.

    Returns:
        (loss, accuracy): means over the images (of all ranks), each measured before its batch's update.

    Raises:
        ValueError: there was no batch.
        FloatingPointError: the loss is no longer finite.
    """
    model.train()
    device = next(model.parameters()).device
    loss_sum = torch.zeros((), device=device)  # stays on the device: reading it every step would make a GPU wait
    hits = torch.zeros((), device=device)
    count = 0
    for images, labels in batches:
        images = images.contiguous(memory_format=precision.memory_format)
        with precision.autocast(device):
            logits = model(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        loss_sum += loss.detach() * len(labels)
        hits += (logits.detach().argmax(1) == labels).sum()
        count += len(labels)
        if after_step is not None:
            after_step(loss.detach())
    loss_sum, hits, count = distributed.totals(loss_sum.item(), hits.item(), count)
    if count == 0:
        raise ValueError("batches: expected at least one batch, got none")
    mean_loss = loss_sum / count
    if not math.isfinite(mean_loss):
        raise FloatingPointError(f"the loss became {mean_loss}: lower peak_rate, or warm up longer")
    return mean_loss, hits / count


@torch.no_grad()
def predict(model, batches, *, precision=FP32, flip=False):
    """Compute the logits of every image in evaluation mode; the modes of the model and its parts are restored.

    Args:
        model: a classifier, (N, C, H, W) → (N, classes).
        batches: an iterable of (images, labels) on the model's device.
        precision: a ``Precision``; the default is plain fp32.
        flip: True to return the mean over each image and its mirror image.

    Returns:
        (logits, labels): (M, classes) float32 and (M,) int64, on the CPU, in the order of the batches.
    """
    modes = {part: part.training for part in model.modules()}
    device = next(model.parameters()).device
    model.eval()
    logits, labels = [], []
    try:
        for images, targets in batches:
            views = (images, images.flip(-1)) if flip else (images,)
            with precision.autocast(device):
                outputs = [model(view.contiguous(memory_format=precision.memory_format)) for view in views]
            logits.append(torch.stack(outputs).float().mean(0).cpu())
            labels.append(targets.cpu())
    finally:
        for part, mode in modes.items():  # a part may have had another mode than the model
            part.training = mode
    return torch.cat(logits), torch.cat(labels)


def evaluate(model, batches, *, precision=FP32, flip=False):
    """Measure a classifier without changing it; the arguments are those of ``predict``.

    Returns:
        (loss, accuracy): means over all images (of all ranks, each of which brings its own batches).
    """
    logits, labels = predict(model, batches, precision=precision, flip=flip)
    loss_sum = F.cross_entropy(logits, labels, reduction="none").double().sum().item()
    hits = (logits.argmax(1) == labels).sum().item()
    loss_sum, hits, count = distributed.totals(loss_sum, hits, len(labels))
    return loss_sum / count, hits / count


def fit(
    model, data, *, test=None, recipe=None, device=None, precision=None, checkpoint=None, progress=True,
    after_epoch=None, **changes,
):
    """Train a classifier, and report each epoch as plain data.

    Under torchrun, inside ``distributed.run``, all ranks train one model: see ``distributed``. Then ``data`` yields the
    rank's equal part of every batch, ``test`` its part of the images, and rank 0 writes the checkpoint.

    Args:
        model: a classifier, moved to the device in place.
        data: ``ResidentBatches`` or another sized iterable of (images, labels) with ``set_epoch``.
        test: batches to evaluate on after each epoch, if given.
        recipe: a ``Recipe``; by default that of lesson 07, for six epochs.
        device: where to train; by default the fastest of this machine.
        precision: a ``Precision``; by default bf16 with channels-last where the device has bf16 units.
        checkpoint: a file written after every epoch; if it is there already, training resumes from it.
        progress: False for no progress bar; the bar shows in notebooks and terminals only.
        after_epoch: a function (history so far), called after every epoch, for instance to draw it.
        changes: fields of ``Recipe`` that differ from the recipe's: ``epochs=1, peak_rate=0.1``.

    Returns:
        A list with a dict for each epoch: epoch, seconds, learning_rate, train_loss, train_accuracy and, with ``test``,
        test_loss, test_accuracy. An interrupt (Ctrl-C, the stop button) ends the training and keeps what was trained.

    Raises:
        ValueError: a setting is out of range, there is no batch, or the checkpoint belongs to other settings.
        OSError: the checkpoint cannot be written, which is tried before the first epoch.
        KeyboardInterrupt: an interrupt in one of several ranks; what counts then is the checkpoint.
    """
    recipe = replace(recipe or Recipe(), **changes)
    if not len(data):
        raise ValueError(f"data: expected at least one batch, got none from {data}")
    device = device or choose_device()
    precision = precision or choose_precision(device)
    model.to(device=device, memory_format=precision.memory_format)
    total_steps = recipe.epochs * len(data)
    belongs_to = asdict(recipe) | {
        "steps": total_steps, "data": str(data), "network": str(getattr(model, "config", type(model).__name__)),
    }
    optimizer = optimizer_for(model, recipe)
    scheduler = make_scheduler(optimizer, recipe.schedule, total_steps)
    distributed.separate_random_streams()
    run = Run(checkpoint, belongs_to, model=model, optimizer=optimizer, scheduler=scheduler)
    history = run.resume()
    replica = distributed.data_parallel(model)
    with _progress_bar(total_steps, done=len(history) * len(data), show=progress) as bar:
        try:
            for epoch in range(len(history), recipe.epochs):
                data.set_epoch(epoch)
                row = {"epoch": epoch + 1, "learning_rate": optimizer.param_groups[0]["lr"]}
                bar.set_description(f"epoch {epoch + 1} of {recipe.epochs}")
                row |= _timed_epoch(replica, data, optimizer, scheduler, precision, recipe.label_smoothing, bar)
                distributed.share_buffers(model)
                if test is not None:
                    row["test_loss"], row["test_accuracy"] = evaluate(model, test, precision=precision)
                history.append(row)
                run.save(history)
                if after_epoch is not None:
                    after_epoch(history)
        except KeyboardInterrupt:
            if distributed.ranks() > 1:  # the ranks stopped in different steps
                raise
            epoch = f"epoch {len(history) + 1} of {recipe.epochs}"
            bar.write(f"interrupted in {epoch}: the weights trained so far are kept")
    return history


def _timed_epoch(model, data, optimizer, scheduler, precision, label_smoothing, bar):
    started = time.perf_counter()
    loss, accuracy = train_one_epoch(
        model, data, optimizer, scheduler=scheduler, precision=precision, label_smoothing=label_smoothing,
        after_step=lambda batch_loss: _advance(bar, batch_loss),
    )
    return {"train_loss": loss, "train_accuracy": accuracy, "seconds": time.perf_counter() - started}


def _advance(bar, batch_loss):
    """Move the bar by a step; now and then read the loss of a batch, which makes a GPU wait."""
    if bar.n % 20 == 0 and not bar.disable:
        bar.set_postfix(loss=f"{batch_loss.item():.3f}", refresh=False)
    bar.update()


def in_notebook():
    """Say whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _progress_bar(total_steps, *, done, show):
    """Make a tqdm bar on stdout; it is quiet unless a person watches: in a notebook or a terminal."""
    from tqdm import tqdm

    watched = in_notebook() or sys.stdout.isatty()
    return tqdm(
        total=total_steps, initial=done, unit="step", file=sys.stdout, disable=not (show and watched),
        mininterval=0.5, ncols=90 if in_notebook() else None,
    )
