"""What ``densenet-course train`` does, alone or under torchrun: data, network, training, report."""

from typing import NamedTuple

import torch
from torch import nn

from densenet_course import data, models
from densenet_course.cli.folders import open_splits
from densenet_course.figures import save
from densenet_course.figures.results import confusion_matrix, learning_curves
from densenet_course.files import write_json
from densenet_course.training import distributed, fit, precision, predict
from densenet_course.training.checkpoint import try_folder

MOST_CLASSES = 15  # whose confusion matrix can be read


class Splits(NamedTuple):
    """What a training reads: this rank's batches, the names of the classes, and where the images came from."""

    train: object
    test: object
    class_names: tuple
    source: str


def train(options):
    """Train what the options ask for, write the report, and return the exit status.

    Args:
        options: what ``cli.train.completed`` returns.
    """
    torch.manual_seed(options.seed)
    device = precision.choose_device()
    if device.type == "mps" and distributed.ranks() > 1:
        device = torch.device("cpu")  # Gloo does not reach Apple's GPU
    format_used = precision.choose_precision(device, allow_bf16=not options.fp32)
    splits = open_data(options, device)
    model = build_model(options, len(splits.class_names), device)
    checkpoint = options.out / "checkpoint.pt"
    distributed.on_rank_0(lambda: try_folder(options.out))
    if options.fresh and not distributed.restarted():
        distributed.on_rank_0(lambda: checkpoint.unlink(missing_ok=True))
    times = f"{distributed.ranks()} × " if distributed.ranks() > 1 else ""
    print(f"training {options.factory} on {splits.train.num_images:,} images, {times}{device.type}, "
          f"{format_used}; {splits.source}")
    history = fit(model, splits.train, test=splits.test, recipe=options.recipe, device=device, precision=format_used,
                  checkpoint=checkpoint)
    return _report(options.out, model, splits, format_used, history)


def open_data(options, device):
    """Open what the options name: this rank's share of FashionMNIST, or of the images in a folder."""
    share = data.Share(distributed.rank(), distributed.ranks())
    common = {"batch_size": options.batch_size, "device": device, "seed": options.seed, "share": share}
    if options.images:
        train, test = open_splits(options.images, image_size=options.image_size, workers=options.workers, **common)
        return Splits(train, test, train.class_names, str(options.images))
    location = data.prepare()
    train = data.ResidentBatches(*data.load("train", location), shuffle=True, augment="flip", drop_last=True, **common)
    part = [tensor[share.rank::share.ranks] for tensor in data.load("test", location)]
    test = data.ResidentBatches(*part, batch_size=1000, device=device)
    return Splits(train, test, data.CLASS_NAMES, location.source)


def build_model(options, num_classes, device):
    """Build the network that the options ask for, with BatchNorm synchronised if they do.

    Raises:
        ValueError: BatchNorm cannot be synchronised here, or an option is out of range.
    """
    if options.sync_batchnorm and options.efficient:
        raise ValueError("--sync-batchnorm does not go with --efficient, whose blocks measure their own images only; "
                         "leave one of them out")
    if options.sync_batchnorm and device.type != "cuda":
        raise ValueError(f"--sync-batchnorm needs GPUs, because PyTorch's SyncBatchNorm does; this is {device.type}. "
                         "Leave it out")
    model = getattr(models, options.factory)(
        num_classes, in_channels=3 if options.images else 1, drop_rate=options.drop_rate, efficient=options.efficient
    )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if options.sync_batchnorm else model


def _report(folder, model, splits, format_used, history):
    """Print the result and, on rank 0, write curves, confusion matrix and history into the folder."""
    if not history:
        print("no epoch was finished; run the same command again to go on")
        return 1
    logits, labels = predict(model, splits.test, precision=format_used)
    pairs = distributed.gathered((logits.argmax(1), labels))
    predicted, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    accuracy = (predicted == labels).float().mean().item()
    written = distributed.on_rank_0(lambda: _write(folder, splits, history, predicted, labels, accuracy))
    seconds = sum(row["seconds"] for row in history)
    print(f"test accuracy {accuracy:.4f} after {len(history)} epochs, {seconds:.0f} s of training")
    print(f"{written}, history and checkpoint: {folder}")
    return 0


def _write(folder, splits, history, predicted, labels, accuracy):
    """Write the report's files; return the names of the pictures. A matrix of very many classes cannot be read."""
    write_json(folder / "history.json", {"data": splits.source, "test_accuracy": accuracy, "epochs": history})
    save(learning_curves(history), folder / "learning_curves.svg")
    if len(splits.class_names) > MOST_CLASSES:
        return "curves"
    save(confusion_matrix(predicted, labels, splits.class_names), folder / "confusion_matrix.svg")
    return "curves, confusion matrix"
