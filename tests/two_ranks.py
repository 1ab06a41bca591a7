"""What ``test_distributed.py`` lets two ranks do: ``torchrun --nproc-per-node=2 -m tests.two_ranks FOLDER``.

Every case is a function of a folder, called on both ranks; what it returns is written to FOLDER/found.pt, rank by rank.
With ``train …`` instead of a folder it is the command ``densenet-course train …``, whose processes are slow to end.
"""

import sys
import time
from pathlib import Path

import torch

from densenet_course import cli, data
from densenet_course.cli import job, train
from densenet_course.models import class_densenet
from densenet_course.training import checkpoint, distributed
from densenet_course.training import loop as training
from densenet_course.training.precision import FP32
from tests import test_training
from tests.test_training import CPU, small_data

TRAIN = {"count": 68, "batch_size": 16, "shuffle": True, "drop_last": True, "augment": "flip and shift"}
FIT = {"epochs": 3, "peak_rate": 0.05, "device": CPU, "precision": FP32}


class Frozen(torch.nn.Module):
    """A classifier whose BatchNorm stays in evaluation mode, so that no image's output depends on another image."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images):
        return self.network(images)


class Stop(test_training.Stop):
    """Batches that are interrupted in the middle, and otherwise pass for what they wrap."""

    def __repr__(self):
        return repr(self.data)


def network(*, seed=0, frozen=False, **options):
    torch.manual_seed(seed)
    model = class_densenet(block_layers=(2, 2), growth_rate=4, init_channels=8, **options)
    return Frozen(model) if frozen else model


def training_data(**options):
    return small_data(**(TRAIN | options))


def held_out_data(share=data.WHOLE):
    """37 images: no number of ranks or batches divides them."""
    whole = small_data(count=37)
    own = slice(share.rank, None, share.ranks)
    return data.ResidentBatches(whole.images[own], whole.labels[own], batch_size=8)


def trained(model, **options):
    """Train as this rank; return the weights and the history."""
    place = {"share": data.Share(distributed.rank(), distributed.ranks())}
    history = training.fit(model, training_data(**place), test=held_out_data(**place), **(FIT | options))
    return {"weights": model.state_dict(), "history": history}


def frozen(folder):
    return trained(network(seed=distributed.rank(), frozen=True))  # rank 0's weights are what counts


def frozen_efficient(folder):
    return trained(network(frozen=True, efficient=True))


def batchnorm(folder):
    return trained(network())


def batchnorm_efficient(folder):
    return trained(network(efficient=True))


def interrupted(folder, name="two", model=None):
    """Stop both ranks in the second epoch."""
    place = {"share": data.Share(distributed.rank(), distributed.ranks())}
    options = {"test": held_out_data(**place), "checkpoint": folder / f"{name}.pt"} | FIT
    try:
        training.fit(model or network(frozen=True), Stop(training_data(**place), epoch=1), **options)
    except KeyboardInterrupt:
        return "interrupted"


def go_on_from_one(folder):
    return trained(network(frozen=True), checkpoint=folder / "one.pt")


def whole_with_dropout(folder):
    return trained(network(drop_rate=0.2))


def resumed_with_dropout(folder):
    interrupted(folder, "dropout", model=network(drop_rate=0.2))
    torch.manual_seed(99)  # the checkpoint brings the right state
    return trained(network(seed=1, drop_rate=0.2), checkpoint=folder / "dropout.pt") | {"next": torch.rand(3)}


def saves(folder):
    """Count what this rank writes."""
    calls, original = [], checkpoint.save_checkpoint
    checkpoint.save_checkpoint = lambda path, state: calls.append(path) or original(path, state)
    try:
        trained(network(frozen=True), checkpoint=folder / "counted.pt")
    finally:
        checkpoint.save_checkpoint = original
    return len(calls)


def errors(folder):
    """Meet errors that concern all ranks; every one of them must raise, and none may wait."""
    (folder / "damaged.pt").write_bytes(b"none")
    found = []
    for options in ({"peak_rate": 1e30}, {"checkpoint": folder / "damaged.pt"},
                    {"checkpoint": folder / "counted.pt", "epochs": 4}):
        try:
            trained(network(), **options)
        except (FloatingPointError, ValueError) as error:
            found.append(str(error))
    return found


def command(folder):
    """Train through the command, on a few images of FashionMNIST."""
    few = {split: [part[:count] for part in data.load(split)] for split, count in (("train", 128), ("test", 33))}
    data.load = lambda split, location=None: few[split]
    options = cli._parser().parse_args(["train", "--epochs", "1", "--batch-size", "32", "--out", str(folder / "run")])
    return job.train(train.completed(options))


CASES = [frozen, frozen_efficient, batchnorm, batchnorm_efficient, interrupted, go_on_from_one, whole_with_dropout,
         resumed_with_dropout, saves, errors, command]


def slow_to_end(arguments):
    """Run the command; when it fails, give the other rank time to notice before torchrun does."""
    status = cli.main(arguments)
    print(f"still in the group: {torch.distributed.is_initialized()}", file=sys.stderr)
    time.sleep(5)
    return status


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    found = {case.__name__: distributed.gathered(case(folder)) for case in CASES}
    if distributed.rank() == 0:
        torch.save(found, folder / "found.pt")


if __name__ == "__main__":
    if sys.argv[1] == "train":
        sys.exit(slow_to_end(sys.argv[1:]))
    distributed.run(main)
