"""Measure what a user would take instead of this package's blocks: ``python benchmarks/peers.py``.

Training steps and inference of torchvision's network, as it is and in torch.compile, and of ours: plain, efficient,
native. In inference also ONNX Runtime and OpenVINO, from the file that ``densenet-course export`` writes. OpenVINO is
no part of the course's environment: ``python -m pip install openvino``. Where it is not installed it is left out; so
are torch.compile and native where no C++ compiler works.

The peers of a row have the same weights, take turns in one fresh process, and in inference must agree about the logits.
Finished rows are kept in runs/peers, so a script that was stopped goes on; remove the folder to measure anew.
``--quick`` takes a network of three layers and writes to runs/quick.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from harness import REPOSITORY, in_turns, kept, machine, provenance, ratios, results_file, spread, summarise
from steps import our_121, our_bc100, torchvision_121, torchvision_bc100, torchvision_small, train_step

from densenet_course.efficient.kernels import Operators, native
from densenet_course.export import export_onnx
from densenet_course.files import write_json
from densenet_course.models import DenseNet, cifar_config, class_densenet
from densenet_course.training.precision import BF16, FP32_CHANNELS_LAST

CASES = {  # name → torchvision's network, ours from ``efficient``, shape of an image, images of a training batch
    "class network 28²": (lambda: torchvision_small(16, (2, 4, 4), 32, stride=2),
                          lambda efficient: class_densenet(efficient=efficient), (1, 28, 28), 128),
    "BC-100-12 28²": (torchvision_bc100, our_bc100, (1, 28, 28), 64),
    "DenseNet-121 64²": (torchvision_121, our_121, (3, 64, 64), 32),
    "DenseNet-121 224²": (torchvision_121, our_121, (3, 224, 224), 8),
}
TINY = {"three layers 8²": (lambda: torchvision_small(4, (1, 1, 1), 8), lambda efficient: DenseNet(
    cifar_config(depth=10, growth_rate=4, in_channels=1, efficient=efficient)), (1, 8, 8), 4)}
FORMATS = {"fp32": FP32_CHANNELS_LAST, "bf16": BF16}
AGREE = {"fp32": 1e-3, "bf16": 0.1}  # how far logits may differ, as a share of the largest
LEAST = 0.2  # seconds of a timing; a network that is sooner done runs several times


@dataclass(frozen=True)
class Row:
    """One line of the table: what is computed, by which network, with how many images at once, in which format."""

    task: str
    case: str
    batch: int
    format: str

    def __str__(self):
        return f"{self.task}, {self.case}, batch {self.batch}, {self.format}"


def rows(cases, batches, formats):
    """List the rows of some cases: training with the case's own batch, inference with each of ``batches``."""
    return [Row(task, case, batch, format_) for case in cases for task, batch in
            [("training", (CASES | TINY)[case][3]), *(("inference", batch) for batch in batches)]
            for format_ in formats]


def networks(case, **how):
    """Build a case's networks with the same weights; the options are ``torch.compile``'s."""
    theirs, ours, _, _ = (CASES | TINY)[case]
    built = {"torchvision": theirs(), "plain": ours(False), "efficient": ours(True)}
    if native() is not Operators:  # else no compiler works here
        built |= {"native": ours("native"), "torch.compile": theirs()}
    for model in built.values():
        model.load_state_dict(built["torchvision"].state_dict())
    if "torch.compile" in built:
        built["torch.compile"] = torch.compile(built["torch.compile"], dynamic=False, **how)
    return built


def infer(model, images, precision):
    """Make a function that computes the logits of one batch."""
    model.to(memory_format=precision.memory_format).eval()
    images = images.contiguous(memory_format=precision.memory_format)

    def run():
        with torch.inference_mode(), precision.autocast(images.device):
            return model(images)

    return run


def onnx_runtime(path, images):
    """Make a function that computes the logits of one batch from an exported file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = {"images": images.numpy()}
    return lambda: torch.from_numpy(session.run(None, given)[0])


def open_vino(path, images, precision):
    """As ``onnx_runtime``, for a number of images that is known beforehand, and in the format asked for."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(images.shape))
    form = "f32" if precision.autocast_dtype is None else "bf16"  # left to itself it takes bf16 wherever it can
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": form, "PERFORMANCE_HINT": "LATENCY",
                                                 "INFERENCE_NUM_THREADS": torch.get_num_threads()})
    given = images.numpy()
    return lambda: torch.from_numpy(compiled([given])[0])


def peers(row, images, folder):
    """Make the tasks of a row: name of the peer → function without arguments."""
    precision = FORMATS[row.format]
    if row.task == "training":
        return {name: train_step(model, images, precision) for name, model in networks(row.case).items()}
    built, path = networks(row.case, options={"freezing": True}), folder / f"{row.case.replace(' ', '_')}.onnx"
    if not path.exists():  # another row's; the weights are always the same
        export_onnx(built["plain"], path, *images.shape[1:])
    tasks = {name: infer(model, images, precision) for name, model in built.items()}
    if precision is not BF16:  # on x86 it computes no convolution in bf16
        tasks["ONNX Runtime"] = onnx_runtime(path, images)
    if importlib.util.find_spec("openvino"):
        tasks["OpenVINO"] = open_vino(path, images, precision)
    return tasks


def refuse_other_logits(tasks, share):
    """Hold the logits of all against torchvision's: who computes something else cannot be compared.

    Raises:
        ValueError: they differ by more than a share of the largest.
    """
    expected = tasks["torchvision"]().float()
    for name, task in tasks.items():
        off = ((task().float() - expected).abs().max() / expected.abs().max()).item()
        if not off <= share:  # NaN fails, too
            raise ValueError(f"{name}: expected torchvision's logits, got some that differ by {off:.2g} of the largest")


def seconds_of(task):
    """Time one call."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def several(task, count):
    """Make a function that calls a task several times."""
    def run():
        for _ in range(count):
            task()

    return run


def measure(row, repeats, folder):
    """Time the peers of one row in turns; exported files are kept in a folder.

    Returns:
        A dict: seconds of a call; how many times as fast as torchvision's network; seconds of the first call, in which
        torch.compile compiles; and the machine.
    """
    torch.manual_seed(0)  # of the weights
    shape, generator = (CASES | TINY)[row.case][2], torch.Generator().manual_seed(0)
    images, before = torch.randn(row.batch, *shape, generator=generator), machine()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # compiled for the first time, whatever ran here before
        tasks = peers(row, images, folder)
        first = {name: seconds_of(task) for name, task in tasks.items()}
        if row.task == "inference":
            refuse_other_logits(tasks, AGREE[row.format])
        counts = {name: max(1, round(LEAST / seconds_of(task))) for name, task in tasks.items()}
        timed = in_turns({name: several(task, counts[name]) for name, task in tasks.items()}, repeats, untimed=True)
    seconds = {name: [value / counts[name] for value in values] for name, values in timed.items()}
    return {
        "seconds": {name: summarise(values, 6) for name, values in seconds.items()},
        "against torchvision": {name: ratios(seconds, "torchvision", name) for name in seconds},
        "seconds of the first call": {name: round(value, 2) for name, value in first.items()}, "machine": before,
    }


def fresh(*job):
    """Measure a row in a process of its own: what one leaves of its memory to the next changes the times of that."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *job).result()


def lines(found):
    """Set out the results, a line for each row: the fastest first."""
    for name, row in found.items():
        order = sorted(row["against torchvision"].items(), key=lambda item: -item[1]["median"])
        yield f"{name}: {'; '.join(f'{peer} {spread(ratio)}' for peer, ratio in order)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a network of three layers, for CI")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of every row (default: 7)")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats: expected at least 1, got {options.repeats}")
    folder = REPOSITORY / ("runs/quick/peers" if options.quick else "runs/peers")
    if options.quick:
        shutil.rmtree(folder, ignore_errors=True)
    packages = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name)]
    if "openvino" not in packages:
        print("without OpenVINO, which is not installed: python -m pip install openvino", flush=True)
    wanted = rows(TINY, (1,), ("fp32",)) if options.quick else rows(CASES, (1, 32), FORMATS)
    found = {str(row): kept(folder, str(row), lambda row=row: fresh(row, options.repeats, folder)) for row in wanted}
    out = results_file("peers", device="cpu", quick=options.quick)
    versions = {name: importlib.metadata.version(name) for name in packages}
    write_json(out, {"rows": found, "provenance": provenance(repeats=options.repeats, seeds=[0], **versions)})
    print("", *lines(found), out.relative_to(REPOSITORY), sep="\n")


if __name__ == "__main__":
    main()
