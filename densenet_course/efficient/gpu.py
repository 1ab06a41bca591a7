"""What computes the passes of ``efficient="native"`` on a GPU: Triton's kernels, where they work."""

import importlib.util
import warnings
from functools import cache

import torch

from densenet_course.efficient.kernels import Operators


@cache
def triton_passes(device):
    """Return the passes that Triton compiles, after one of them has run.

    Args:
        device: a ``torch.device``.

    Returns:
        ``TritonPasses``; ``Operators`` where Triton is not installed, and, with a warning, where it does not work.
    """
    if importlib.util.find_spec("triton") is None:
        return Operators
    try:
        from densenet_course.efficient.triton_kernels import TritonPasses

        maps, numbers = torch.ones(1, 1, 1, 1, device=device), torch.ones(1, device=device)
        TritonPasses.activate(maps, numbers, numbers)
    except Exception as error:  # no C compiler for its launcher, a GPU too old, a version too new: of many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"Triton does not work here ({reason}); going on with PyTorch's operators, which give the same results.",
            stacklevel=2,
        )
        return Operators
    return TritonPasses
