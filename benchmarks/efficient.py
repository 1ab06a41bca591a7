"""Measure the efficient DenseNet against torchvision's: ``python benchmarks/efficient.py``.

For each network: seconds of a training step (forward, loss, backward) and of inference, in turns; and the time that its
convolutions alone would take, which no saving of bytes can get below. "efficient" is built from PyTorch's operators,
"native" has its passes compiled from C++. Then what is kept for the backward pass, by depth, and the peak memory of a
fresh process that trains one step. ``--quick`` takes small batches and writes to runs/.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from harness import REPOSITORY, in_turns, provenance, ratios, summarise
from torch import nn

from densenet_course import models
from densenet_course.files import write_json
from densenet_course.memory import saved_bytes
from densenet_course.precision import BF16, FP32, FP32_CHANNELS_LAST

aten = torch.ops.aten
DEPTHS = (40, 100, 160, 250)
OURS = {"efficient": True, "native": "native"}  # name → the argument ``efficient`` of the networks
REFERENCES = {"against torchvision": None, "against torchvision in fp32 contiguous": "torchvision fp32 contiguous"}
KINDS = {"fp32 contiguous": FP32, "fp32 channels-last": FP32_CHANNELS_LAST, "bf16 channels-last": BF16}


def torchvision_bc100():
    """Build BC-100-12 from torchvision's parts, with the stem for small grey images."""
    model = torchvision.models.DenseNet(12, (16, 16, 16), 24, num_classes=10)
    model.features.conv0 = nn.Conv2d(1, 24, kernel_size=3, padding=1, bias=False)
    del model.features.norm0, model.features.relu0, model.features.pool0
    return model


def bc(depth=100, *, efficient):
    return models.DenseNet(models.cifar_config(depth=depth, growth_rate=12, in_channels=1, efficient=efficient))


def torchvision_121():
    return torchvision.models.densenet121(num_classes=10)


def our_121(efficient):
    return models.densenet121(10, efficient=efficient)


# name → (torchvision's network, ours, shape of a training batch, the same for --quick)
CASES = {
    "DenseNet-121 64²": (torchvision_121, our_121, (32, 3, 64, 64), (8, 3, 64, 64)),
    "DenseNet-121 224²": (torchvision_121, our_121, (8, 3, 224, 224), (2, 3, 96, 96)),
    "BC-100-12 28²": (torchvision_bc100, lambda efficient: bc(efficient=efficient), (64, 1, 28, 28), (8, 1, 28, 28)),
}


def train_step(model, images, precision):
    """Make a function that trains on one batch, up to the gradients."""
    model.to(memory_format=precision.memory_format).train()
    images = images.contiguous(memory_format=precision.memory_format)
    labels = torch.arange(len(images)) % 10

    def run():
        model.zero_grad()
        with precision.autocast(images.device):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()

    run()  # warm up
    return run


def inference(model, images, precision):
    """Make a function that computes the logits of one batch."""
    model.to(memory_format=precision.memory_format).eval()
    images = images.contiguous(memory_format=precision.memory_format)

    def run():
        with torch.inference_mode(), precision.autocast(images.device):
            model(images)

    run()
    return run


def convolutions(model, images, precision):
    """Make a function that computes, forward and backward, the convolutions of a model and nothing else."""
    calls = []
    dtype = precision.autocast_dtype or torch.float32

    def note(module, inputs, output):
        calls.append((module, *(torch.randn(t.shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
                                for t in (inputs[0], output))))

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()

    def run():
        for i, (conv, x, grad) in enumerate(calls):
            weight = conv.weight.detach().to(dtype)
            torch.conv2d(x, weight, None, conv.stride, conv.padding)
            aten.convolution_backward(grad, x, weight, None, conv.stride, conv.padding, (1, 1), False, (0, 0), 1,
                                      (i > 0, True, False))

    run()
    return run


def compare(case, task, shape, repeats):
    """Time one task, training or inference, of both networks in every format.

    Args:
        case: a name in ``CASES``.
        task: ``train_step`` or ``inference``.
        shape: of the images.
        repeats: rounds.

    Returns:
        Seconds, and how many times faster ours is, and the convolutions alone: at equal format, and against
        torchvision's plain fp32.
    """
    theirs, ours, *_ = CASES[case]
    images = torch.randn(shape)
    tasks = {}
    for kind, precision in KINDS.items():
        tasks[f"torchvision {kind}"] = task(theirs(), images, precision)
        for name, efficient in OURS.items():
            tasks[f"{name} {kind}"] = task(ours(efficient), images, precision)
        if task is train_step and precision is not FP32:
            tasks[f"convolutions {kind}"] = convolutions(theirs(), images, precision)
    seconds = in_turns(tasks, repeats)
    names = {kind: [n for n in (*OURS, "convolutions") if f"{n} {kind}" in tasks] for kind in KINDS}
    return {
        "shape": shape,
        "seconds": {name: summarise(values) for name, values in seconds.items()},
        **{title: {kind: {n: ratios(seconds, slow or f"torchvision {kind}", f"{n} {kind}") for n in names[kind]}
                   for kind in KINDS} for title, slow in REFERENCES.items()},
    }


def steepness(x, y):
    """Slope of the straight line that fits log y over log x best."""
    x, y = ([math.log(v) for v in values] for values in (x, y))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def memory(batch):
    """Measure what both networks keep, by depth and for BC-100-12; and the peak memory of a process that trains one."""
    networks = {"plain": False, "efficient": True}
    small, images = torch.randn(4, 1, 28, 28), torch.randn(batch, 1, 28, 28)
    by_depth = {name: [saved_bytes(bc(d, efficient=e), small) for d in DEPTHS] for name, e in networks.items()}
    paper = {"torchvision": saved_bytes(torchvision_bc100(), images)}
    paper |= {name: saved_bytes(bc(efficient=e), images) for name, e in networks.items()}
    resident = {name: peak(name, batch) for name in ("nothing", "torchvision", "efficient")}
    return {
        "batch by depth": len(small), "depths": DEPTHS, "bytes by depth": by_depth,
        "slope": {name: round(steepness(DEPTHS, sizes), 3) for name, sizes in by_depth.items()},
        "batch": batch, "BC-100-12 bytes": paper,
        "BC-100-12 times fewer": round(paper["torchvision"] / paper["efficient"], 2),
        "peak resident bytes": resident,
    }


def peak(name, batch):
    """Train one step of BC-100-12 in a fresh process, and return its peak resident memory in bytes."""
    command = [sys.executable, __file__, "--peak", name, "--batch", str(batch)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(name, batch):
    if name != "nothing":
        model = torchvision_bc100() if name == "torchvision" else bc(efficient=True)
        images = torch.randn(batch, 1, 28, 28)
        F.cross_entropy(model(images), torch.arange(batch) % 10).backward()
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent process held when it started this one
        print(next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")))
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def bandwidth(megabytes=256, repeats=5):
    """Measure how many bytes a second a plain copy of fp32 numbers moves: each is read once and written once."""
    source = torch.ones(megabytes * 2**18)
    target = torch.empty_like(source).copy_(source)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return summarise([2 * source.nbytes / s / 1e9 for s in seconds], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small batches, for CI")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of every comparison")
    parser.add_argument("--peak", choices=["nothing", "torchvision", "efficient"], help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=64, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(options.peak, options.batch)
        return
    torch.manual_seed(0)
    out = REPOSITORY / ("runs/quick" if options.quick else "benchmarks/results") / "efficient.json"
    results = {"provenance": provenance(repeats=options.repeats, seeds=[0]), "copy GB/s": bandwidth(),
               "memory": memory(4 if options.quick else 64), "training": {}, "inference": {}}
    kept = results["memory"]
    print(f"kept for backward: slope {kept['slope']}; BC-100-12 {kept['BC-100-12 times fewer']} times fewer bytes")
    for case, (*_, shape, quick_shape) in CASES.items():
        shape = quick_shape if options.quick else shape
        runs = [("training", train_step, shape[0]), ("inference", inference, 1),
                ("inference", inference, 4 if options.quick else 32)]
        for kind, task, batch in runs:
            name = f"{case}, batch {batch}"
            results[kind][name] = compare(case, task, (batch, *shape[1:]), options.repeats)
            report(f"{kind} {name}", results[kind][name])
    write_json(out, results)
    print(out.relative_to(REPOSITORY))


def report(title, result):
    for reference in REFERENCES:
        for kind, found in result[reference].items():
            values = (f"{name} {r['median']:.2f} ({r['min']:.2f} to {r['max']:.2f})" for name, r in found.items())
            print(f"{title}, {reference}, {kind}:", "; ".join(values), flush=True)


if __name__ == "__main__":
    main()
