"""Who takes part in ``peers.py``: the networks of each case, and what each of them does, training or inference."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from steps import (
    inference,
    our_121,
    our_bc100,
    resnet50,
    torchvision_121,
    torchvision_bc100,
    torchvision_small,
    train_step,
)

from densenet_course.efficient.kernels import Operators, native
from densenet_course.export import export_onnx
from densenet_course.models import DenseNet, cifar_config, class_densenet
from densenet_course.training.precision import BF16, FP32_CHANNELS_LAST


@dataclass(frozen=True)
class Case:
    """One network, as torchvision would have it and as we have it.

    Args:
        theirs: builds torchvision's.
        ours: builds ours from the argument ``efficient``.
        shape: of an image.
        batch, on_gpu: images of a training batch, on a CPU and on a GPU.
        beside: name → builds another network, timed beside them on a GPU.
    """

    theirs: Callable
    ours: Callable
    shape: tuple
    batch: int
    on_gpu: int
    beside: dict = field(default_factory=dict)


CASES = {
    "class network 28²": Case(lambda: torchvision_small(16, (2, 4, 4), 32, stride=2),
                              lambda efficient: class_densenet(efficient=efficient), (1, 28, 28), 128, 128),
    "BC-100-12 28²": Case(torchvision_bc100, our_bc100, (1, 28, 28), 64, 256),
    "DenseNet-121 64²": Case(torchvision_121, our_121, (3, 64, 64), 32, 256),
    "DenseNet-121 224²": Case(torchvision_121, our_121, (3, 224, 224), 8, 64, {"ResNet-50": resnet50}),
}
TINY = {"three layers 8²": Case(
    lambda: torchvision_small(4, (1, 1, 1), 8),
    lambda efficient: DenseNet(cifar_config(depth=10, growth_rate=4, in_channels=1, efficient=efficient)),
    (1, 8, 8), 4, 4, {"two layers": lambda: torchvision_small(4, (1, 1), 8)})}
FORMATS = {"fp32": FP32_CHANNELS_LAST, "bf16": BF16}
AGREE = {  # how far logits may differ, as a share of the largest; a GPU convolves fp32 in TF32, with 10 bits
    "cpu": {"fp32": 1e-3, "bf16": 0.1}, "cuda": {"fp32": 0.02, "bf16": 0.1}}
NETWORKS = ("torchvision", "plain", "efficient", "native", "torch.compile")


def can_compile(device):
    """Say whether this machine has what ``native`` and torch.compile need: a C++ compiler, or Triton for a GPU."""
    return native() is not Operators if device == "cpu" else importlib.util.find_spec("triton") is not None


def networks(case, names=NETWORKS, *, device="cpu", **how):
    """Build a case's networks with the same weights.

    Args:
        case: in ``CASES`` or ``TINY``.
        names: of ``NETWORKS``; those that need a compiler are left out where none works.
        device: "cpu" or "cuda".
        how: ``torch.compile``'s options.
    """
    case = (CASES | TINY)[case]
    build = {"torchvision": case.theirs, "plain": lambda: case.ours(False), "efficient": lambda: case.ours(True),
             "native": lambda: case.ours("native"), "torch.compile": case.theirs}
    compiled = () if can_compile(device) else ("native", "torch.compile")
    built = {name: build[name]() for name in names if name not in compiled}
    for model in built.values():
        model.load_state_dict(built["torchvision"].state_dict())
        model.to(device)
    if "torch.compile" in built:
        built["torch.compile"] = torch.compile(built["torch.compile"], dynamic=False, **how)
    return built


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


def exported(model, case, images, precision, folder):
    """Make the functions of those that read an exported file.

    Args:
        model: what is exported.
        case: names the file.
        images, precision: as of ``inference``.
        folder: for the file.
    """
    path = folder / f"{case.replace(' ', '_')}.onnx"
    if not path.exists():  # another row's; the weights are always the same
        export_onnx(model, path, *images.shape[1:])
    tasks = {}
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


def tasks_of(row, images, way, folder):
    """Make the tasks of a row: name of the contender → function without arguments.

    Args:
        row, way: of ``peers.py``.
        images: (N, C, H, W), on the device.
        folder: for exported files.

    Returns:
        (tasks of the same network, tasks of the networks beside them)
    """
    precision, others = FORMATS[row.format], (CASES | TINY)[row.case].beside if way.beside else {}
    task = train_step if row.task == "training" else inference
    built = networks(row.case, way.networks, device=way.device, **way.compile[row.task])
    tasks = {name: task(model, images, precision) for name, model in built.items()}
    if row.task == "inference" and way.exports:
        tasks |= exported(built["plain"], row.case, images, precision, folder)
    return tasks, {name: task(build(), images, precision) for name, build in others.items()}
