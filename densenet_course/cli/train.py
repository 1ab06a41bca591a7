"""The command ``densenet-course train``, alone or under torchrun: options, data, network, training, report."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

NETWORKS = {"class": "class_densenet", **{name: name for name in ("densenet121", "densenet161", "densenet169",
                                                                  "densenet201")}}
FASHION_MNIST = {"network": "class", "epochs": 6, "batch_size": 128, "peak_rate": 0.2, "schedule": "one_cycle",
                 "weight_decay": 5e-4}
# How the paper trains on ImageNet: Huang et al. 2017, section 4.2.
IMAGENET = {"network": "densenet121", "epochs": 90, "batch_size": 256, "peak_rate": 0.1, "schedule": "imagenet",
            "weight_decay": 1e-4, "image_size": 224, "workers": min(4, os.cpu_count() or 1)}
MOST_CLASSES = 15  # whose confusion matrix can be read


def add_options(parser):
    """Add the command's options to an ``argparse`` parser, and what runs it."""

    def add(option, words, **more):
        name = option.strip("-").replace("-", "_")
        ours, theirs = FASHION_MNIST.get(name), IMAGENET[name]
        default = f"{theirs}, with --images only" if ours is None else f"{ours}; with --images {theirs}"
        parser.add_argument(option, help=f"{words} (default: {default})", **more)

    parser.add_argument("--images", type=Path, metavar="FOLDER",
                        help="train on FOLDER/train/CLASS/*, test on FOLDER/val/CLASS/* (default: FashionMNIST)")
    add("--network", "which DenseNet", choices=tuple(NETWORKS))
    add("--epochs", "passes over the images", type=int)
    add("--batch-size", "images a step, of all processes together", type=int)
    add("--peak-rate", "highest learning rate", type=float)
    add("--schedule", "of the learning rate; a tenth after 1/2 and 3/4 of the epochs (step), 1/3 and 2/3 (imagenet)",
        choices=("one_cycle", "step", "imagenet"))
    add("--weight-decay", "of convolutions and linear weights", type=float)
    add("--image-size", "height and width of the crops, in pixels", type=int)
    add("--workers", "processes that read images, for each process that trains", type=int)
    parser.add_argument("--optimizer", choices=("sgd", "muon"), default="sgd",
                        help="sgd with Nesterov momentum, or muon, its orthogonal steps (default: sgd)")
    parser.add_argument("--drop-rate", type=float, default=0.0, help="dropout after each layer (default: 0)")
    parser.add_argument("--efficient", nargs="?", const=True, default=False, choices=("native",),
                        help="the same network with fewer bytes; native: and compiled, faster on a CPU")
    parser.add_argument("--sync-batchnorm", action="store_true",
                        help="BatchNorm over the images of all GPUs, not of each")
    parser.add_argument("--seed", type=int, default=0,
                        help="of weights, order, crops, flips and dropout (default: 0)")
    parser.add_argument("--fp32", action="store_true", help="plain fp32 even where the device has bf16 units")
    parser.add_argument("--out", type=Path, help="folder (default: runs/NETWORK)")
    parser.add_argument("--fresh", action="store_true", help="start afresh where a checkpoint would be resumed")
    parser.set_defaults(run=run)


def run(options):
    """Train; return the exit status."""
    from densenet_course.training import distributed

    fill_in(options)
    try:
        return distributed.run(lambda: _train(options))
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("interrupted: the same command goes on after the last finished epoch", file=sys.stderr)
        return 130


def fill_in(options):
    """Give each option that was left out the value of its data's recipe.

    Raises:
        ValueError: an option has no meaning for the data.
    """
    recipe = IMAGENET if options.images else FASHION_MNIST
    for name in IMAGENET:
        if getattr(options, name) is None:
            setattr(options, name, recipe.get(name))
        elif name not in recipe:
            raise ValueError(f"--{name.replace('_', '-')} has a meaning with --images only; leave it out")
    options.out = options.out or Path("runs") / options.network


class Data(NamedTuple):
    """What a training reads: this rank's batches, the names of the classes, and where the images came from."""

    train: object
    test: object
    class_names: tuple
    source: str


def _train(options):
    import torch

    from densenet_course.training import distributed, fit
    from densenet_course.training.precision import choose_device, choose_precision

    torch.manual_seed(options.seed)
    device = choose_device()
    if device.type == "mps" and distributed.ranks() > 1:
        device = torch.device("cpu")  # Gloo does not reach Apple's GPU
    precision = choose_precision(device, allow_bf16=not options.fp32)
    data = _data(options, device)
    model = build_model(options, len(data.class_names), device)
    checkpoint = options.out / "checkpoint.pt"
    if options.fresh and not distributed.restarted():
        distributed.on_rank_0(lambda: checkpoint.unlink(missing_ok=True))
    times = f"{distributed.ranks()} × " if distributed.ranks() > 1 else ""
    print(f"training {NETWORKS[options.network]} on {data.train.num_images:,} images, {times}{device.type}, "
          f"{precision}; {data.source}")
    history = fit(
        model, data.train, test=data.test, epochs=options.epochs, peak_rate=options.peak_rate,
        weight_decay=options.weight_decay, schedule=options.schedule, optimizer=options.optimizer, device=device,
        precision=precision, checkpoint=checkpoint,
    )
    return _report(options.out, model, data, precision, history)


def _data(options, device):
    from densenet_course.data import CLASS_NAMES, ResidentBatches, load, prepare
    from densenet_course.training.distributed import rank, ranks

    share = {"batch_size": options.batch_size, "device": device, "seed": options.seed, "rank": rank(), "ranks": ranks()}
    if options.images:
        from densenet_course.cli.folders import open_splits

        train, test = open_splits(options.images, image_size=options.image_size, workers=options.workers, **share)
        return Data(train, test, train.class_names, str(options.images))
    location = prepare()
    train = ResidentBatches(*load("train", location), shuffle=True, augment="flip", drop_last=True, **share)
    part = [tensor[rank()::ranks()] for tensor in load("test", location)]
    return Data(train, ResidentBatches(*part, batch_size=1000, device=device), CLASS_NAMES, location.source)


def build_model(options, num_classes, device):
    """Build the network that the options ask for, with BatchNorm synchronised if they do.

    Raises:
        ValueError: BatchNorm cannot be synchronised here, or an option is out of range.
    """
    from torch import nn

    from densenet_course import models

    if options.sync_batchnorm and options.efficient:
        raise ValueError("--sync-batchnorm does not go with --efficient, whose blocks measure their own images only; "
                         "leave one of them out")
    if options.sync_batchnorm and device.type != "cuda":
        raise ValueError(f"--sync-batchnorm needs GPUs, because PyTorch's SyncBatchNorm does; this is {device.type}. "
                         "Leave it out")
    model = getattr(models, NETWORKS[options.network])(
        num_classes, in_channels=3 if options.images else 1, drop_rate=options.drop_rate, efficient=options.efficient
    )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if options.sync_batchnorm else model


def _report(folder, model, data, precision, history):
    """Print the result and, on rank 0, write curves, confusion matrix and history into the folder."""
    import torch

    from densenet_course.training import distributed, predict

    if not history:
        print("no epoch was finished; run the same command again to go on")
        return 1
    logits, labels = predict(model, data.test, precision=precision)
    pairs = distributed.gathered((logits.argmax(1), labels))
    predicted, labels = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    accuracy = (predicted == labels).float().mean().item()
    written = distributed.on_rank_0(lambda: _write(folder, data, history, predicted, labels, accuracy))
    seconds = sum(row["seconds"] for row in history)
    print(f"test accuracy {accuracy:.4f} after {len(history)} epochs, {seconds:.0f} s of training")
    print(f"{written}, history and checkpoint: {folder}")
    return 0


def _write(folder, data, history, predicted, labels, accuracy):
    """Write the report's files; return the names of the pictures. A matrix of very many classes cannot be read."""
    from densenet_course.figures import save
    from densenet_course.figures.results import confusion_matrix, learning_curves
    from densenet_course.files import write_json

    write_json(folder / "history.json", {"data": data.source, "test_accuracy": accuracy, "epochs": history})
    save(learning_curves(history), folder / "learning_curves.svg")
    if len(data.class_names) > MOST_CLASSES:
        return "curves"
    save(confusion_matrix(predicted, labels, data.class_names), folder / "confusion_matrix.svg")
    return "curves, confusion matrix"
