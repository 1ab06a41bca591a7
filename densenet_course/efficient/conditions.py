"""When an efficient block steps aside, and the plain forward computes.

What goes round the layers may not go round someone who counts on them: a hook, a tracer, a compiler, a transform. And
what the passes do not take (no images, other devices and formats, sizes that do not fit) is PyTorch's to compute, or
to refuse in its own words. The structure of a block is no condition: ``stages`` refuses what it does not know.
"""

import torch
from torch import nn
from torch._ops import _len_torch_dispatch_stack_pre_dispatch
from torch.autograd import forward_ad
from torch.nn.modules import module as module_globals
from torch.utils._python_dispatch import _get_current_dispatch_mode

from densenet_course.efficient.kernels import wide

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
DEVICES = ("cpu", "cuda")
FORMATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def must_step_aside(block, maps):
    """Say whether the plain forward has to compute, whatever the block is made of.

    Args:
        block: an efficient block or transition.
        maps: what it was called with.
    """
    return is_followed(maps) or is_watched(block) or not is_ordinary(maps)


def is_followed(maps):
    """Say whether a compiler, an exporter, a tracer or a transform looks on."""
    return (
        torch.compiler.is_compiling()  # torch.compile and torch.export
        or torch.jit.is_tracing()
        or type(maps) not in (torch.Tensor, nn.Parameter)  # a proxy of torch.fx, a fake tensor, another subclass
        or torch._C._are_functorch_transforms_active()  # torch.func: vmap, grad, jvp
        or forward_ad._current_level >= 0
        or _get_current_dispatch_mode() is not None  # make_fx, counters of operations
        or _len_torch_dispatch_stack_pre_dispatch() > 0  # make_fx(pre_dispatch=True)
    )


def is_watched(block):
    """Say whether something hangs on a module inside: a hook, a parametrisation, a forward of its own."""
    if any(getattr(module_globals, f"_global{name}") for name in HOOKS):
        return True
    inside = (module for module in block.modules() if module is not block)
    return any(
        "forward" in vars(module) or "parametrizations" in module._modules or module._compiled_call_impl is not None
        or any(getattr(module, name) for name in HOOKS)
        for module in inside
    )


def is_ordinary(maps):
    """Say whether maps are such as the passes take."""
    return (
        maps.device.type in DEVICES and maps.layout == torch.strided and maps.dtype in FORMATS
        and maps.dim() == 4 and maps.numel() > 0 and not maps.is_neg()
    )


def fit(steps, maps):
    """Say whether the numbers of steps fit the maps and one another.

    Args:
        steps: (``Step``, how many channels it is given) pairs.
        maps: (N, C, H, W), in the format in which they are computed.
    """
    is_cast = torch.is_autocast_enabled(maps.device.type)
    return all(fits(step, channels, maps, is_cast=is_cast) for step, channels in steps)


def fits(step, channels, maps, *, is_cast):
    """Say whether one step's numbers fit; ``is_cast``: autocast gives the weights the maps' format."""
    norm, (gamma, beta, weight, bias) = step.norm, step.parameters
    numbers = [n for n in (gamma, beta, norm.running_mean, norm.running_var) if n is not None]
    weights = [w for w in (weight, bias) if w is not None]
    return (
        all(type(t) in (torch.Tensor, nn.Parameter) and t.device == maps.device for t in numbers + weights)
        and all(n.shape == (channels,) and n.dtype in (maps.dtype, wide(maps.dtype)) for n in numbers)
        and weight.shape[1] == channels and (bias is None or bias.shape == weight.shape[:1])
        and all(w.dtype in FORMATS if is_cast else w.dtype == maps.dtype for w in weights)
        # One value for each channel has no variance.
        and not (step.uses_batch and maps.numel() == maps.shape[1])
    )
