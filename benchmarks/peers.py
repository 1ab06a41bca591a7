"""Measure what a user would take instead of this package's blocks: ``python benchmarks/peers.py``.

Training steps and inference of torchvision's network, as it is and in torch.compile, and of ours: plain, efficient,
native. In inference also ONNX Runtime and OpenVINO, from the file that ``densenet-course export`` writes. OpenVINO is
no part of the course's environment: ``python -m pip install openvino``. Where it is not installed it is left out; so
are torch.compile and native where no C++ compiler works.

The peers of a row have the same weights, take turns in one fresh process, and in inference must agree about the logits.
Finished rows are kept in runs/peers, so a script that was stopped goes on; remove the folder to measure anew.
``--quick`` takes a network of three layers and writes to runs/quick.

``--gpu`` measures on a CUDA GPU, by events in its queue, and adds peak memory and ResNet-50; without what runs on CPUs
only; native is Triton's there. torch.compile takes long, so its rows are measured apart, by ``--gpu --compiled``. The
results file has what was finished so far. ``--rehearse`` does the same with three layers on a CPU.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import torch
from contenders import AGREE, CASES, FORMATS, TINY, refuse_other_logits, tasks_of
from harness import REPOSITORY, already, in_turns, kept, machine, provenance, ratios, results_file, spread, summarise
from meter import meter_for, seconds_of
from peer_rows import COMPILED, ON_CPU, ON_GPU, rehearsed, rows

from densenet_course.files import write_json


def several(task, count):
    """Make a function that calls a task several times."""
    def run():
        for _ in range(count):
            task()

    return run


def measure(row, way, folder):
    """Time the peers of one row in turns; exported files are kept in a folder.

    Returns:
        A dict: seconds of a call, and images a second by their median; how many times as fast as torchvision's network;
        seconds of the first call, in which torch.compile compiles; bytes at the peak of a call, beyond those that lie
        there between two calls, if the way asks for them; and the machine.
    """
    torch.manual_seed(0)  # of the weights
    shape, generator = (CASES | TINY)[row.case].shape, torch.Generator().manual_seed(0)
    images, before, meter = torch.randn(row.batch, *shape, generator=generator), machine(), meter_for(way.device)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # compiled for the first time, whatever ran here before
        same, others = tasks_of(row, images.to(way.device), way, folder)
        tasks = same | others
        first = {name: seconds_of(task, meter) for name, task in tasks.items()}
        if row.task == "inference":
            refuse_other_logits(same, AGREE[way.device][row.format])
        counts = {name: max(1, round(way.least / seconds_of(task, meter))) for name, task in tasks.items()}
        timed = in_turns({name: several(task, counts[name]) for name, task in tasks.items()}, way.repeats,
                         untimed=way.untimed, meter=meter)
        peaks = {name: meter.peak_bytes(task) for name, task in tasks.items()} if way.peaks else None
    seconds = {name: [value / counts[name] for value in values] for name, values in timed.items()}
    found = {name: summarise(values, 6) for name, values in seconds.items()}
    return {
        "seconds": found,
        "images a second": {name: round(row.batch / one["median"], 1) for name, one in found.items()},
        "against torchvision": {name: ratios(seconds, "torchvision", name) for name in seconds},
        "seconds of the first call": {name: round(value, 2) for name, value in first.items()},
        **({"peak bytes": peaks} if peaks else {}), "machine": before,
    }


def fresh(row, way, folder):
    """Measure a row in a process of its own: what one leaves of its memory to the next changes the times of that."""
    context = get_context(way.starts)
    if way.starts == "forkserver":  # which has not touched the GPU, so what it starts may
        context.set_forkserver_preload(["contenders"])
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(measure, row, way, folder).result()


def measure_all(wanted, way, folder, write):
    """Measure rows, or take them from where they are kept; one that fails keeps no other from being measured.

    Args:
        wanted: ``Row`` by ``Row``.
        way: a ``Way``.
        folder: where finished rows are kept.
        write: called after every row.

    Returns:
        Row → why it failed, of those that did.
    """
    failed = {}
    for row in wanted:
        try:
            kept(folder, way.key(row), lambda row=row: fresh(row, way, folder))
        except Exception as error:  # of any kind: a GPU's memory is full, a compiler breaks
            failed[way.key(row)] = f"{type(error).__name__}: {error}"
            print(f"{way.key(row)}: FAILED: {failed[way.key(row)]}", flush=True)
        write()
    return failed


def finished(root, wanted, ways):
    """Collect the rows that are kept so far: name → result."""
    found = {way.key(row): already(root / way.folder, way.key(row)) for way in ways for row in wanted}
    return {name: result for name, result in found.items() if result is not None}


def lines(found):
    """Set out the results, a line for each row: the fastest first."""
    for name, row in found.items():
        order = sorted(row["against torchvision"].items(), key=lambda item: -item[1]["median"])
        yield f"{name}: {'; '.join(f'{peer} {spread(ratio)}' for peer, ratio in order)}"


def parse():
    """Read the command line; refuse what cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a network of three layers, for CI")
    parser.add_argument("--gpu", action="store_true", help="on a CUDA GPU, written to peers_gpu.json")
    parser.add_argument("--compiled", action="store_true", help="with --gpu: torch.compile and its rivals")
    parser.add_argument("--rehearse", action="store_true", help="what --gpu does, with three layers on a CPU, for CI")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of every row (default: 7)")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats: expected at least 1, got {options.repeats}")
    if options.compiled and not (options.gpu or options.rehearse):
        parser.error("--compiled: expected --gpu, too; on a CPU torch.compile is in every row")
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu: expected a CUDA GPU, found none; without --gpu the CPU is measured")
    return options


def versions(device):
    """Name what else decides about the times, for the results file."""
    if device == "cuda":
        return {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
                "fp32 convolutions in TF32": torch.backends.cudnn.allow_tf32}
    return {name: importlib.metadata.version(name) for name in ("onnxruntime", "openvino")
            if importlib.util.find_spec(name)}


def main():
    options = parse()
    on_gpu, quick = options.gpu or options.rehearse, options.quick or options.rehearse
    way = replace(ON_CPU if not on_gpu else COMPILED if options.compiled else ON_GPU, repeats=options.repeats)
    out = results_file("peers", device=way.device, quick=quick)
    if options.rehearse:
        way = rehearsed(way)
    root = REPOSITORY / ("runs/quick" if quick else "runs")
    wanted = rows(TINY if quick else CASES, (1,) if quick else (1, 32), ("fp32",) if quick else FORMATS, on_gpu=on_gpu)
    if quick:
        shutil.rmtree(root / way.folder, ignore_errors=True)
    if not on_gpu and not importlib.util.find_spec("openvino"):
        print("without OpenVINO, which is not installed: python -m pip install openvino", flush=True)

    def write():
        found = finished(root, wanted, (ON_GPU, COMPILED) if on_gpu else (ON_CPU,))
        more = versions(way.device)
        write_json(out, {"rows": found, "provenance": provenance(repeats=options.repeats, seeds=[0], **more)})
        return found

    failed = measure_all(wanted, way, root / way.folder, write if on_gpu else lambda: None)
    if failed:
        sys.exit("\n".join(f"{name}: FAILED: {why}" for name, why in failed.items()))
    print("", *lines(write()), out.relative_to(REPOSITORY), sep="\n")


if __name__ == "__main__":
    main()
