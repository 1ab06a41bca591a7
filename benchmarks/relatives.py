"""Measure DenseNet against its relatives at equal parameters: ``python benchmarks/relatives.py``.

Three families at the class network's size, and DenseNet and ResNet at three smaller sizes, trained alike with three
seeds (``--seeds``). A family keeps the blocks in each stage at all sizes; only its width changes. Its peak rate is the
best on 5,000 held-out training images, out of a grid that grows where the best lies at its edge; the test set is read
once for each seed, after the last epoch. Then multiply-adds, bytes saved for the backward pass, and step times taken in
turns. Each finished run is kept in runs/relatives, so a stopped script goes on where it was, and two may share the work
(``--reverse``). ``--quick`` is for CI: a few hundred images, written to runs/quick.
"""

import argparse
import functools

import torch
import torch.nn.functional as F
from harness import REPOSITORY, in_turns, kept, provenance, summarise
from torch.utils.flop_counter import FlopCounterMode

from densenet_course.data import ResidentBatches, load, prepare, split_validation
from densenet_course.files import write_json
from densenet_course.measure import saved_bytes
from densenet_course.studies.relatives import BLOCKS, FAMILIES, nearest_in_size
from densenet_course.training import choose_device, choose_precision, evaluate, fit

SIZE = 141_130  # parameters of the class network
FOUR_SIZES = (15_000, 35_000, 75_000, SIZE)
SIZES = {"DenseNet-BC": FOUR_SIZES, "ResNet": FOUR_SIZES, "Inception": (SIZE,)}
RATES = (0.1, 0.2, 0.4)
BATCH = 128


def train(family, size, rate, seed, *, images, judged, epochs, device, precision):
    """Train one network and return its accuracy on the judged images."""
    torch.manual_seed(seed)
    model = nearest_in_size(family, size)
    batches = ResidentBatches(*images, batch_size=BATCH, device=device, shuffle=True, augment="flip", drop_last=True,
                              seed=seed)
    fit(model, batches, epochs=epochs, peak_rate=rate, device=device, precision=precision)
    judged = ResidentBatches(*judged, batch_size=1000, device=device)
    return round(evaluate(model, judged, precision=precision)[1], 6)


def peak_rate(measure):
    """Measure the rates of ``RATES``, and up to two more where the best lies at an edge.

    Args:
        measure: rate → accuracy on the held-out images.

    Returns:
        (the best rate, rate → accuracy)
    """
    found = {rate: measure(rate) for rate in RATES}
    for _ in range(2):
        best = max(found, key=found.get)
        if best in (min(found), max(found)):
            beyond = best * 2 if best == max(found) else best / 2
            found[beyond] = measure(beyond)
    return max(found, key=found.get), dict(sorted(found.items()))


def cost(family, size, device):
    """Count one network: parameters, multiply-adds of one image, bytes saved for one image of a batch in fp32."""
    model = nearest_in_size(family, size).to(device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.randn(1, 1, 28, 28, device=device))
    model.train()
    images, labels = torch.randn(BATCH, 1, 28, 28, device=device), torch.zeros(BATCH, dtype=torch.int64, device=device)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
        "saved_bytes": saved_bytes(model, images, loss=lambda logits: F.cross_entropy(logits, labels)) // BATCH,
    }


def steps(device, precision, repeats):
    """Time one training step of each family at the class network's size, in turns."""
    def task(family):
        model = nearest_in_size(family, SIZE).to(device=device, memory_format=precision.memory_format).train()
        images = torch.randn(BATCH, 1, 28, 28, device=device).contiguous(memory_format=precision.memory_format)
        labels = torch.randint(10, (BATCH,), device=device)

        def step():
            with precision.autocast(device):
                loss = F.cross_entropy(model(images), labels)
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return step

    seconds = in_turns({family: task(family) for family in FAMILIES}, repeats, untimed=True)
    return {family: summarise(values, 5) for family, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    parser.add_argument("--reverse", action="store_true", help="begin with the last seed, to share the work")
    parser.add_argument("--no-result", action="store_true", help="train only; write no result")
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch, a few hundred images, for CI")
    options = parser.parse_args()
    seeds, epochs = list(range(options.seeds)), options.epochs
    out, folder = REPOSITORY / "benchmarks/results/relatives.json", REPOSITORY / "runs/relatives"
    location = prepare()
    everything, test = load("train", location), load("test", location)
    part, held_out = split_validation(*everything)
    if options.quick:
        out, folder = REPOSITORY / "runs/quick/relatives.json", REPOSITORY / "runs/quick/relatives"
        seeds, epochs = [0], 1
        everything, test, part, held_out = ([t[:384] for t in split] for split in (everything, test, part, held_out))
        for path in folder.glob("*.json"):
            path.unlink()
    device = choose_device()
    precision = choose_precision(device)
    common = {"epochs": epochs, "device": device, "precision": precision}

    @functools.cache
    def rates(family):
        return peak_rate(lambda rate: kept(folder, f"rate-{family}-{rate}", lambda: train(
            family, SIZE, rate, 0, images=part, judged=held_out, **common)))

    def accuracy(family, size, seed):
        return kept(folder, f"{family}-{size}-{seed}", lambda: train(
            family, size, rates(family)[0], seed, images=everything, judged=test, **common))

    wanted = [(family, size) for family in reversed(FAMILIES) for size in SIZES[family]]  # the cheapest family first
    for seed in seeds[::-1] if options.reverse else seeds:
        for network in wanted:
            accuracy(*network, seed)
    if options.no_result:
        return

    def described(family, size):
        return {"family": family, "blocks": BLOCKS[family], **cost(family, size, device),
                "accuracy": {str(seed): accuracy(family, size, seed) for seed in seeds}}

    write_json(out, {
        "provenance": provenance(seeds=seeds), "epochs": epochs, "train_images": len(everything[1]),
        "precision": str(precision), "device": device.type, "data": "sample" if location.is_sample else "full",
        "seeds": seeds, "held_out_accuracy_by_rate": {family: rates(family)[1] for family in FAMILIES},
        "peak_rate": {family: rates(family)[0] for family in FAMILIES},
        "networks": [described(family, size) for family in FAMILIES for size in SIZES[family]],
        "step_seconds": steps(device, precision, 2 if options.quick else 9),
    })
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
