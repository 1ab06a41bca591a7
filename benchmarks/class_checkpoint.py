"""Train the class network once and keep its weights in the package: ``python benchmarks/class_checkpoint.py``.

Lesson 07's training with seed 0 and the defaults of ``fit``. The weights are written in half precision to
densenet_course/assets/class_densenet.pt, and beside them, as JSON, how they came about and what they score. The
training is saved after every epoch in runs/, so a stopped script goes on where it was. ``--quick`` is for CI: one epoch
on a few hundred images, everything written to runs/quick.
"""

import argparse
import hashlib

from class_training import run
from harness import REPOSITORY, provenance

from densenet_course.data import ResidentBatches, load, prepare
from densenet_course.files import write_json
from densenet_course.models import class_densenet
from densenet_course.training import choose_device, choose_precision, evaluate
from densenet_course.training.checkpoint import save_checkpoint

SEED = 0
TOLERANCE = 0.001  # of accuracy that halving the weights may cost


def halved(state):
    """Copy a ``state_dict`` to the CPU with every float in half precision; the batch counts stay whole numbers."""
    return {name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
            for name, value in state.items()}


def keep(model, test, path):
    """Write the weights in half precision, and read them back as a user will.

    Returns:
        A dict: the accuracy of the trained network and of the file's, both in fp32, and the file's size and SHA-256.

    Raises:
        RuntimeError: the halved weights are not finite, or score worse.
    """
    state = halved(model.state_dict())
    again = class_densenet()
    again.load_state_dict({name: value.to(model.state_dict()[name].dtype) for name, value in state.items()})
    exact, rounded = evaluate(model.cpu(), test)[1], evaluate(again, test)[1]
    finite = all(value.isfinite().all() for value in state.values())
    if not finite or rounded < exact - TOLERANCE:
        raise RuntimeError(f"half precision: expected accuracy {exact:.4f}, got {rounded:.4f}, finite: {finite}")
    save_checkpoint(path, state)
    content = path.read_bytes()
    return {"test_accuracy": round(rounded, 6), "test_accuracy_before_rounding": round(exact, 6),
            "parameters": sum(p.numel() for p in again.parameters()), "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one epoch, a few hundred images, for CI")
    quick = parser.parse_args().quick
    path, saved = REPOSITORY / "densenet_course/assets/class_densenet.pt", REPOSITORY / "runs/class_checkpoint.pt"
    location = prepare()
    train, test, settings = load("train", location), load("test", location), {}
    if quick:
        path, saved = REPOSITORY / "runs/quick/class_densenet.pt", REPOSITORY / "runs/quick/class_checkpoint.pt"
        saved.unlink(missing_ok=True)
        train, test = ([part[:384] for part in split] for split in (train, test))
        settings = {"epochs": 1}
    elif location.is_sample:
        raise SystemExit("the checkpoint is trained on the full set, which is not on this machine")
    device = choose_device()
    precision = choose_precision(device)
    model, seconds = run(SEED, train=train, device=device, precision=precision, checkpoint=saved, **settings)
    kept = keep(model, ResidentBatches(*test, batch_size=1000), path)
    write_json(path.with_suffix(".json"), {
        "what": "state_dict of densenet_course.models.class_densenet(), floats in half precision", **kept,
        "train_images": len(train[1]), "test_images": len(test[1]), "training_precision": str(precision),
        "device": device.type, "training_seconds": round(seconds, 1), "provenance": provenance(seeds=[SEED]),
    })
    print(f"{path.relative_to(REPOSITORY)}: {kept['bytes']:,} bytes, test accuracy {kept['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
