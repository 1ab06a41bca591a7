"""Measure the efficient DenseNet against torchvision's: ``python benchmarks/efficient.py``, ``--gpu`` on a CUDA GPU.

For each network: seconds of a training step (forward, loss, backward) and of inference, in turns; and the time that its
convolutions alone would take, which is about the least that saving bytes can reach. "efficient" is built from
PyTorch's operators, "native" has its passes compiled: from C++, or for a GPU by Triton. Then what is kept for the
backward pass, by depth, and the peak memory of a fresh process that trains one step. ``--quick`` takes small batches of
two networks and writes to runs/.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import REPOSITORY, provenance, results_file, summarise
from steps import (
    KINDS,
    OURS,
    bc,
    compare,
    convolution_work,
    inference,
    our_121,
    our_bc100,
    profile,
    report,
    resnet50,
    torchvision_121,
    torchvision_bc100,
)
from steps import train_step as train

from densenet_course.figures.memory import exponent
from densenet_course.files import write_json
from densenet_course.measure import saved_bytes

DEPTHS = (40, 100, 160, 250)
CASES = {  # name → torchvision's network, ours, shape of an image, images of a training batch on CPU, GPU, --quick
    "DenseNet-121 64²": (torchvision_121, our_121, (3, 64, 64), 32, 256, 4),
    "DenseNet-121 224²": (torchvision_121, our_121, (3, 224, 224), 8, 64, 1),
    "BC-100-12 28²": (torchvision_bc100, our_bc100, (1, 28, 28), 64, 256, 4),
}


def memory(batch, device, depths=DEPTHS):
    """Measure what both networks keep, by depth and for BC-100-12; and the peak memory of a process that trains one."""
    networks = {"plain": False, "efficient": True}
    small, images = torch.randn(4, 1, 28, 28), torch.randn(batch, 1, 28, 28)
    by_depth = {name: [saved_bytes(bc(d, efficient=e), small) for d in depths] for name, e in networks.items()}
    paper = {"torchvision": saved_bytes(torchvision_bc100(), images)}
    paper |= {name: saved_bytes(bc(efficient=e), images) for name, e in networks.items()}
    peaks = {name: peak(name, batch, device) for name in ("nothing", "torchvision", "efficient")}
    return {
        "batch by depth": len(small), "depths": depths, "bytes by depth": by_depth,
        "slope": {name: round(exponent(depths, sizes), 3) for name, sizes in by_depth.items()},
        "batch": batch, "BC-100-12 bytes": paper,
        "BC-100-12 times fewer": round(paper["torchvision"] / paper["efficient"], 2),
        "peak bytes": peaks, "peak of": "GPU memory" if device == "cuda" else "resident memory of a process",
    }


def peak(name, batch, device):
    """Train one step of BC-100-12 in a fresh process; its peak memory in bytes, of the GPU or resident."""
    command = [sys.executable, __file__, "--peak", name, "--batch", str(batch)]
    command += ["--gpu"] if device == "cuda" else []
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(name, batch, device):
    if name != "nothing":
        model = torchvision_bc100() if name == "torchvision" else bc(efficient=True)
        images = torch.randn(batch, 1, 28, 28, device=device)
        F.cross_entropy(model.to(device)(images), torch.arange(batch, device=device) % 10).backward()
    status = Path("/proc/self/status")
    if device == "cuda":
        print(torch.cuda.max_memory_allocated())
    elif status.is_file():  # getrusage would count what the parent process held when it started this one
        print(next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")))
    else:
        import resource  # Windows has none

        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def bandwidth(device, megabytes=256, repeats=5):
    """Measure how many bytes a second a plain copy of fp32 numbers moves: each is read once and written once."""
    source = torch.ones(megabytes * 2**18, device=device)
    target = torch.empty_like(source).copy_(source)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return summarise([2 * source.nbytes / s / 1e9 for s in seconds], 1)


def measure_case(case, *, device, quick, repeats, batches):
    """Compare training and inference of one case; a dict: "training" and "inference" → case and batch → result."""
    torch.manual_seed(0)
    theirs, build, shape, on_cpu, on_gpu, small = CASES[case]
    beside = [("ResNet-50", resnet50)] if case == "DenseNet-121 224²" else []
    batch = small if quick else on_gpu if device == "cuda" else on_cpu
    runs = [("training", train, batch)] + [("inference", inference, b) for b in ((small,) if quick else batches)]
    found = {"training": {}, "inference": {}}
    for kind, task, count in runs:
        name = f"{case}, batch {count}"
        images = torch.randn((count, *shape), device=device)
        found[kind][name] = compare(theirs, build, task, images, repeats=repeats, beside=beside)
        report(f"{kind} {name}", found[kind][name])
    return found


def measure(*, cases=tuple(CASES), batches=(1, 32), **options):
    """Measure each case in a fresh process: what one leaves of its memory to the next changes the times of that.

    Args:
        cases: names of ``CASES``.
        batches: images at once in inference.
        options: of ``measure_case``.

    Returns:
        As ``measure_case``, of all cases.
    """
    found = {"training": {}, "inference": {}}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        for case in cases:
            of_case = fresh.submit(measure_case, case, batches=batches, **options).result()
            for kind, results in of_case.items():
                found[kind] |= results
    return found


def profiles(precision, *, quick):
    """Profile a training step of BC-100-12: torchvision's, efficient, native."""
    theirs, build, shape, batch, _, small = CASES["BC-100-12 28²"]
    images = torch.randn((small if quick else batch, *shape))
    models = {"torchvision": theirs, **{name: lambda e=e: build(e) for name, e in OURS.items()}}
    return {name: profile(train(make(), images, precision)) for name, make in models.items()}


def bounds(results):
    """Set what a training step takes beside what it cannot get below: its convolutions alone, and their bytes.

    Args:
        results: "training" as ``measure`` returns it, and "copy GB/s".

    Returns:
        Case → format → a dict: 1e9 operations and bytes of the convolutions; milliseconds for the bytes at the speed of
        a plain copy, of the convolutions alone, and of ours.
    """
    found, speed = {}, results["copy GB/s"]["median"]
    for case, result in results["training"].items():
        operations, numbers = convolution_work(CASES[case.rpartition(",")[0]][0](), result["shape"])
        for kind, precision in KINDS.items():
            if f"convolutions {kind}" not in result["seconds"]:
                continue
            gigabytes = numbers * (precision.autocast_dtype or torch.float32).itemsize / 1e9
            names = {"convolutions": "convolutions alone"} | {n: n for n in ("efficient", "native")}
            found.setdefault(case, {})[kind] = {
                "1e9 operations": round(operations / 1e9, 1), "GB": round(gigabytes, 4),
                "ms for the bytes": round(1e3 * gigabytes / speed, 1),
                **{f"ms, {title}": round(1e3 * result["seconds"][f"{name} {kind}"]["median"], 1)
                   for name, title in names.items() if f"{name} {kind}" in result["seconds"]}}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small batches, for CI")
    parser.add_argument("--gpu", action="store_true", help="on a CUDA GPU, written to efficient_gpu.json")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of every comparison")
    parser.add_argument("--bounds", action="store_true", help="only work out the bounds anew, from the file's times")
    parser.add_argument("--peak", choices=["nothing", "torchvision", "efficient"], help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=64, help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = "cuda" if options.gpu else "cpu"
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu: expected a CUDA GPU, found none; without --gpu the CPU is measured")
    if options.peak:
        print_peak(options.peak, options.batch, device)
        return
    torch.manual_seed(0)
    out = results_file("efficient", device=device, quick=options.quick)
    if options.bounds:
        results = json.loads(out.read_text(encoding="utf-8"))
        write_json(out, results | {"bounds": bounds(results)})
        return
    kept = memory(4, device, depths=(40, 100)) if options.quick else memory(64, device)
    cases = ("DenseNet-121 64²", "BC-100-12 28²") if options.quick else tuple(CASES)
    print(f"kept for backward: slope {kept['slope']}; BC-100-12 {kept['BC-100-12 times fewer']} times fewer bytes")
    results = {"provenance": provenance(repeats=options.repeats, seeds=[0]), "copy GB/s": bandwidth(device),
               "memory": kept, **measure(device=device, quick=options.quick, repeats=options.repeats, cases=cases)}
    if device == "cpu":
        for kind in ("fp32 channels-last", "bf16 channels-last"):
            found = profiles(KINDS[kind], quick=options.quick)
            results[f"milliseconds of a training step of BC-100-12, {kind}"] = found
    write_json(out, results | {"bounds": bounds(results)})
    print(out.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
