"""Measure what d2l's recipe ends with: ``python benchmarks/d2l_accuracy.py``, an hour or two on a CPU of two cores.

All of it is the book's: its network at 96×96, started by its ``init_cnn``, its data with their resizing, its trainer,
plain gradient descent at rate 0.01, batches of 128, 10 epochs. Only the blocks are native and the tensors
channels-last, which compute the same numbers but for rounding, sooner. So nothing is timed here:
``time_to_accuracy.py`` times d2l's recipe. The test accuracy is read after each epoch, as the book's trainer does. A
stopped script goes on after the last finished epoch: runs/d2l_accuracy. ``--quick`` is for CI: two epochs of a few
hundred images, written to runs/quick.
"""

import argparse
import shutil

import torch
from d2l import torch as d2l
from d2l_recipe import D2L, d2l_data
from harness import REPOSITORY, provenance, results_file
from torch.utils.data import Subset

from densenet_course.data import prepare
from densenet_course.files import write_json
from densenet_course.models import small_densenet
from densenet_course.training.checkpoint import load_checkpoint, save_checkpoint


class Network(d2l.Classifier):
    """d2l's DenseNet, which adds up how many test images it has right."""

    def __init__(self, lr, device):
        super().__init__()
        self.save_hyperparameters()
        self.net = small_densenet(efficient="native" if device.type == "cpu" else False)
        self.net.apply(d2l.init_cnn)
        self.net.to(memory_format=torch.channels_last)
        self.board.display, self.right = False, 0

    def training_step(self, batch):
        """Return the loss; no curve is drawn."""
        return self.loss(self(*batch[:-1]), batch[-1])

    def validation_step(self, batch):
        """Count; d2l's own mean over batches would give the last, smaller batch too much weight."""
        self.right += int(self.accuracy(self(*batch[:-1]), batch[-1], averaged=False).sum())


class Resumed(d2l.Trainer):
    """d2l's trainer, which keeps what it has after each epoch and goes on there."""

    def __init__(self, folder, **options):
        super().__init__(**options)
        self.folder, self.accuracies = folder, []

    def fit_epoch(self):
        """Train an epoch and read the test accuracy, or take both from the checkpoint."""
        checkpoint = self.folder / "last.pt"
        if self.epoch == 0 and checkpoint.exists():
            found = load_checkpoint(checkpoint)
            self.model.load_state_dict(found["model"])
            self.accuracies = found["accuracies"]
        if self.epoch < len(self.accuracies):
            return
        torch.manual_seed(self.epoch)  # a resumed run shuffles as an undisturbed one
        self.model.right = 0
        super().fit_epoch()
        self.accuracies.append(round(self.model.right / len(self.val_dataloader.dataset), 6))
        save_checkpoint(checkpoint, {"model": self.model.state_dict(), "accuracies": self.accuracies})
        print(self.epoch + 1, self.accuracies[-1], flush=True)


def train(location, folder, *, epochs, images):
    """Train d2l's recipe, or go on with it; the test accuracy after each epoch."""
    data = d2l_data(location)
    if images:
        data.train, data.val = (Subset(part, range(images)) for part in (data.train, data.val))
    trainer = Resumed(folder, max_epochs=epochs, num_gpus=d2l.num_gpus())
    torch.manual_seed(0)
    trainer.fit(Network(D2L["learning_rate"], d2l.try_gpu()), data)
    return trainer.accuracies


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two epochs of a few hundred images, for CI")
    quick, location = parser.parse_args().quick, prepare()
    if location.is_sample and not quick:
        parser.error("this machine has only the sample of FashionMNIST; densenet-course data fetches all of it")
    out = results_file("d2l_accuracy", device=d2l.try_gpu().type, quick=quick)
    folder = REPOSITORY / ("runs/quick" if quick else "runs") / out.stem
    if quick:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    accuracies = train(location, folder, epochs=2 if quick else D2L["epochs"], images=256 if quick else None)
    write_json(out, {"recipe": D2L, "accuracies": accuracies, "provenance": provenance(seeds=[0])})
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
