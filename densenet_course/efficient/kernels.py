"""The passes over maps that ``efficient`` is made of: as operators of PyTorch, and as loops compiled from C++.

Written with operators a pass reads and writes the maps several times; ``kernels.cpp`` does it in one loop. Between the
passes are PyTorch's own convolutions. In fp32 and bf16 ``fused_forward.cpp`` does pass, convolution and pass for a few
images at a time instead, with PyTorch's product of small matrices, where there is one for this processor.

Maps are (N, C, H, W) in channels-last, or some channels of such; numbers are (C,) in fp32 at least.
"""

import contextlib
import os
import platform
import shutil
import sys
import sysconfig
import warnings
import zlib
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock

aten = torch.ops.aten
LAST = {"memory_format": torch.channels_last}
SOURCES = [Path(__file__).with_name(f"{name}.cpp")
           for name in ("kernels", "step", "fused_forward", "fused_backward", "dense_block")]


def wide(dtype):
    """Return the format in which numbers per channel are kept: fp32 at least."""
    return torch.promote_types(dtype, torch.float32)


def computes_steps(kernels):
    """Say whether kernels compute whole steps and blocks, as those of ``native()`` do, and not passes alone."""
    return not isinstance(kernels, type)  # passes alone are a class


class Operators:
    """The passes as PyTorch's operators, on any device."""

    @staticmethod
    def activate(maps, scale, shift):
        """Return ReLU(maps · scale + shift) in channels-last."""
        return _affine(maps, scale, shift).relu_()

    @staticmethod
    def store(made, out):
        """Copy maps to their place, unless that is None, and return the mean and biased variance of each channel."""
        if out is not None:
            out.copy_(made)
        made = made.contiguous(**LAST)
        zeros = torch.zeros(made.shape[1], dtype=wide(made.dtype), device=made.device)  # asks for wide results
        return aten.batch_norm_update_stats(made, zeros, zeros.clone(), 0.0)

    @staticmethod
    def send_back(grad, active, maps, scale, mean, total, is_first):
        """Send a gradient back through ``activate`` to the maps, and add it to a total.

        Args:
            grad, active: gradient of what ``activate(maps, scale, …)`` returned, and that itself.
            maps, scale: what that was computed from.
            mean: (C,), about the mean of the maps.
            total: (N, C, H, W), added to in place; overwritten where ``is_first``.
            is_first: whether nothing was added before.

        Returns:
            Sums over the pixels, (C,) each: of g, and of g · (maps − mean), g being the gradient before the ReLU.
        """
        grad = aten.threshold_backward(grad, active, 0)
        maps, ones = maps.contiguous(**LAST), torch.ones_like(mean)
        grad, moments, sums = aten.native_batch_norm_backward(
            grad, maps, scale, mean, ones, None, None, False, 0.0, (True, True, True)
        )
        if not is_first:
            grad += total.contiguous(**LAST)  # adding in place to some channels of many is slower
        total.copy_(grad)
        return sums, moments

    @staticmethod
    def finish(total, maps, mean, slope, shift):
        """Return total − (maps − mean) · slope − shift in channels-last."""
        through_statistics = _affine(maps, slope, shift - mean * slope)
        return torch.sub(total, through_statistics, out=through_statistics)


def _affine(maps, scale, shift):
    """Compute maps · scale + shift in one pass and in the format of the maps, as BatchNorm of mean 0 and variance 1."""
    zeros = torch.zeros_like(scale)
    return aten.native_batch_norm(maps.contiguous(**LAST), scale, shift, zeros, zeros + 1, False, 0.0, 0.0)[0]


@cache
def native():
    """Compile ``SOURCES``, or find what was compiled before; PyTorch keeps it in its folder of extensions.

    Returns:
        A namespace with the functions of ``Operators`` and those of ``step.cpp`` and ``dense_block.cpp``, for maps on a
        CPU; ``Operators`` itself, with a warning, where no compiler works.
    """
    from torch.utils import cpp_extension

    sources = [str(source) for source in SOURCES]
    try:
        name = build_name()
        with _programs_on_path(), _only_builder(Path(cpp_extension._get_build_directory(name, verbose=False))):
            cpp_extension.load(name, sources, extra_cflags=compiler_flags(), is_python_module=False)
    except (OSError, RuntimeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"kernels.cpp could not be compiled ({reason}); going on with PyTorch's operators, which give the same "
            "results. A C++ compiler (g++, clang++ or MSVC) and `pip install ninja` would make it faster.",
            stacklevel=2,
        )
        return Operators
    return torch.ops.densenet_course


def compiler_flags(system=sys.platform, capability=None):
    """Ask for the vectors that this processor has.

    Args:
        system: as ``sys.platform``.
        capability: as ``torch.backends.cpu.get_cpu_capability()``; None to ask.
    """
    if system == "win32":  # whose compiler cannot look at the processor
        vectors = {"AVX2": ["/arch:AVX2"], "AVX512": ["/arch:AVX512"]}
        return ["/O2", *vectors.get(capability or torch.backends.cpu.get_cpu_capability(), [])]
    openmp = ["-fopenmp"] if system == "linux" else []
    return ["-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", *openmp]


def build_name(cpuinfo=Path("/proc/cpuinfo")):
    """Name the compiled passes after what they are made from, and this processor: unlike machines may share a home.

    Args:
        cpuinfo: where Linux lists them.
    """
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    instructions = [line for line in lines if line.startswith(("flags", "Features"))]  # one line for each core
    text = instructions[0] if instructions else f"{platform.machine()} {platform.processor()}"
    made_from = b"".join(source.read_bytes() for source in sorted(SOURCES[0].parent.glob("*.[ch]*")))
    return f"densenet_course_kernels_{zlib.crc32(f'{text} {torch.__version__}'.encode() + made_from):08x}"


@contextlib.contextmanager
def _only_builder(folder):
    """Let one process at a time compile, tell its user, and clear away what one that was killed left behind.

    Until 2.14 or so PyTorch waits for a file named ``lock`` to vanish: for ever, if whoever made it was killed. Under a
    lock of our own, which ends with its process, that file can only be such a leftover.

    Args:
        folder: where PyTorch builds.
    """
    with FileLock(folder.with_suffix(".lock")):
        (folder / "lock").unlink(missing_ok=True)
        if not any(folder.glob(f"{folder.name}*")):
            print('efficient="native": compiling, about a minute, once', file=sys.stderr, flush=True)
        try:
            yield
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)  # a broken library would be found again by the next process
            raise


@contextlib.contextmanager
def _programs_on_path():
    """Let PyTorch find the ``ninja`` of this environment, even where the environment was not activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
