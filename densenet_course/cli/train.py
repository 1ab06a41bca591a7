"""The command ``densenet-course train``: its options, what they default to, and how it is run; no torch until then."""

import argparse
import os
import sys
from dataclasses import asdict, fields
from pathlib import Path

from densenet_course.recipe import IMAGENET, Recipe

NETWORKS = {"class": "class_densenet", **{name: name for name in ("densenet121", "densenet161", "densenet169",
                                                                  "densenet201")}}
DEFAULTS = {"network": "class", "batch_size": 128} | asdict(Recipe())
WITH_IMAGES = {"network": "densenet121", "batch_size": 256, "image_size": 224,
               "workers": min(4, os.cpu_count() or 1)} | asdict(IMAGENET)


def add_options(parser):
    """Add the command's options to an ``argparse`` parser, and what runs it."""
    parser.add_argument("--images", type=Path, metavar="FOLDER",
                        help="train on FOLDER/train/CLASS/*, test on FOLDER/val/CLASS/* (default: FashionMNIST)")
    parser.add_argument("--network", choices=tuple(NETWORKS), help=f"which DenseNet {_default('network')}")
    parser.add_argument("--epochs", type=int, help=f"passes over the images {_default('epochs')}")
    parser.add_argument("--batch-size", type=int,
                        help=f"images a step, of all processes together {_default('batch_size')}")
    parser.add_argument("--peak-rate", type=float, help=f"highest learning rate {_default('peak_rate')}")
    parser.add_argument("--schedule", choices=("one_cycle", "step", "imagenet"),
                        help="of the learning rate; a tenth after 1/2 and 3/4 of the epochs (step), 1/3 and 2/3 "
                             f"(imagenet) {_default('schedule')}")
    parser.add_argument("--weight-decay", type=float,
                        help=f"of convolutions and linear weights {_default('weight_decay')}")
    parser.add_argument("--image-size", type=int,
                        help=f"height and width of the crops, in pixels {_default('image_size')}")
    parser.add_argument("--workers", type=int,
                        help=f"processes that read images, for each process that trains {_default('workers')}")
    parser.add_argument("--optimizer", choices=("sgd", "muon", "adam"),
                        help="sgd with Nesterov momentum; muon, its orthogonal steps; adam, which needs a far smaller "
                             f"peak rate {_default('optimizer')}")
    parser.add_argument("--drop-rate", type=float, default=0.0, help="dropout after each layer (default: 0)")
    parser.add_argument("--efficient", nargs="?", const=True, default=False, choices=("native",),
                        help="the same network with fewer bytes; native: and compiled, faster on a CPU")
    parser.add_argument("--sync-batchnorm", action="store_true",
                        help="BatchNorm over the images of all GPUs, not of each")
    parser.add_argument("--seed", type=int, default=0,
                        help="of weights, order, crops, flips and dropout (default: 0)")
    parser.add_argument("--fp32", action="store_true", help="plain fp32 even where the device has bf16 units")
    parser.add_argument("--out", type=Path, help="folder (default: runs/NETWORK)")
    parser.add_argument("--fresh", action="store_true",
                        help="start again from nothing, where a checkpoint would be resumed")
    parser.set_defaults(run=run)


def _default(name):
    """Say what an option is where it is left out."""
    if name not in DEFAULTS:
        return f"(default: {WITH_IMAGES[name]}, with --images only)"
    if DEFAULTS[name] == WITH_IMAGES[name]:
        return f"(default: {DEFAULTS[name]})"
    return f"(default: {DEFAULTS[name]}; with --images {WITH_IMAGES[name]})"


def run(options):
    """Train; return the exit status."""
    options = completed(options)
    from densenet_course.cli import job
    from densenet_course.training import distributed

    try:
        return distributed.run(lambda: job.train(options))
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("interrupted: the same command goes on after the last finished epoch", file=sys.stderr)
        return 130


def completed(options):
    """Return options in which each that was left out has the default of its data; ``recipe`` and ``factory``, the name
    of what builds the network, are made of them.

    Raises:
        ValueError: an option has no meaning for the data, or a number is out of range.
    """
    defaults = WITH_IMAGES if options.images else DEFAULTS
    given = {name: value for name, value in vars(options).items() if value is not None}
    for name in WITH_IMAGES.keys() - defaults.keys():
        if name in given:
            raise ValueError(f"--{name.replace('_', '-')} has a meaning with --images only; leave it out")
    values = vars(options) | defaults | given
    if not 0 <= values["seed"] < 2**63:
        raise ValueError(f"seed: expected 0 ≤ seed < 2**63, got {values['seed']}")
    values["out"] = values["out"] or Path("runs") / values["network"]
    recipe = Recipe(**{field.name: values[field.name] for field in fields(Recipe)})
    return argparse.Namespace(**values, recipe=recipe, factory=NETWORKS[values["network"]])
