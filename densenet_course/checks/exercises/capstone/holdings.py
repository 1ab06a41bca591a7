"""Find every number that a network holds, wherever it is kept."""

import dis
import functools
import types

import numpy
import torch
from torch import nn

MAX_OBJECTS = 100_000
STATISTICS = nn.modules.batchnorm._NormBase  # what all of PyTorch's BatchNorm and InstanceNorm classes are


def holdings(model):
    """List the tensors that a network holds from call to call.

    Args:
        model: a network for images (N, 1, 28, 28); it is called twice, so that lazy layers take their shapes, and
            maps that it only remembers until the next call are told from what it really holds.

    Returns:
        [(kind, shape)], tied ones once; the kind is "trained" or "frozen" (parameters), "statistics" (BatchNorm's
        buffers), "buffer" (all others), "lost" (made to be trained, but not registered) or "hidden" (anywhere else: in
        lists, closures, class attributes, the globals that its functions read).
    """
    before = _after_a_call(model, seed=0)
    after = _after_a_call(model, seed=1)
    return [(kind, shape) for address, (kind, shape, _) in after.items() if address in before]


def _after_a_call(model, seed):
    training = model.training
    image = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    try:
        with torch.no_grad():
            model.eval()(image)
    except Exception:  # what is wrong with the call is told elsewhere; here only the numbers count
        pass
    finally:
        model.train(training)
    return _inventory(model)


def _inventory(model):
    """Return address → (kind, shape, the object); the object is kept, so that no other one takes its address."""
    statistics, found = set(), {}
    everything = list(_reachable(model))
    for value in everything:
        if isinstance(value, STATISTICS):
            statistics |= {b.data_ptr() for b in value._buffers.values() if b is not None}
    registered = {p.data_ptr(): "trained" if p.requires_grad else "frozen" for p in model.parameters() if _is_real(p)}
    registered |= {b.data_ptr(): "buffer" for b in model.buffers() if _is_real(b)}
    for value in everything:
        if isinstance(value, numpy.ndarray) and value.size:
            found[value.ctypes.data] = ("hidden", tuple(value.shape), value)
        elif isinstance(value, torch.Tensor) and _is_real(value) and value.is_leaf:
            address = value.data_ptr()
            kind = "statistics" if address in statistics else registered.get(
                address, "lost" if value.requires_grad else "hidden")
            if address not in found or value.numel() > found[address][2].numel():
                found[address] = (kind, tuple(value.shape), value)
    return found


def _is_real(tensor):
    return not isinstance(tensor, nn.parameter.UninitializedTensorMixin) and tensor.numel() > 0


def _reachable(root):
    seen, waiting = set(), [root]
    while waiting and len(seen) < MAX_OBJECTS:
        value = waiting.pop()
        if id(value) not in seen:
            seen.add(id(value))
            yield value
            waiting += _parts(value)


def _parts(value):
    """Return what an object is made of; types, modules and all that belongs to torch are left out."""
    if isinstance(value, dict):
        return list(dict.values(value))
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, types.FunctionType):
        return [] if _is_torchs(value) else _read_by(value)
    if isinstance(value, type | types.ModuleType) or not hasattr(value, "__dict__"):
        return []
    classes = [cls for cls in type(value).__mro__ if not _is_torchs(cls)]
    return [*vars(value).values(), *(member for cls in classes for member in vars(cls).values())]


def _read_by(function):
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    names = {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}
    named = [function.__globals__[name] for name in names if name in function.__globals__]
    return [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *named]


def _is_torchs(value):
    return (value.__module__ or "").split(".")[0] in ("torch", "builtins")
