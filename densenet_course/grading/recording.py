"""Record what is computed, operation by operation, as plain values that go over the wire."""

from contextlib import contextmanager

import torch
from torch._dispatch.python import enable_python_dispatcher, no_python_dispatcher
from torch.fx.experimental.proxy_tensor import PreDispatchTorchFunctionMode, ProxyTorchDispatchMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from densenet_course.grading.operations import MAX_CONSTANT, Refused, takes_out
from densenet_course.grading.playing import places

STATISTICS = "batch_norm", "instance_norm"  # they change running statistics, and their schema does not say so


class Recorder(ProxyTorchDispatchMode):
    """Record operations while it is entered.

    PyTorch shows operations as a module calls them, before autocast and autograd take them apart, to its own kinds of
    modes only; therefore this is one of them. Nothing else of that kind is used.

    Args:
        inputs: tensors that are known; a list of operations starts from them.
        called: whether operations are recorded as they are called; otherwise as autograd leaves them.
        parts: operation → function that computes it from others, which are recorded in its place.
    """

    def __init__(self, inputs, *, called=True, parts=()):
        TorchDispatchMode.__init__(self, torch._C.DispatchKey.PreDispatch if called else None)
        self.enter_stack = []
        self.inputs, self.parts = len(inputs), dict(parts)
        self.operations, self.lasting = [], set()  # the second: places of what changes more than its result
        self.known = WeakTensorKeyDictionary()  # weak, for autograd treats a gradient that someone holds otherwise
        for place, tensor in enumerate(inputs):
            self.known[tensor] = place

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in self.parts:
            with self:
                return self.parts[function](*args, **(kwargs or {}))
        if takes_out(function):
            with self:
                return _copied(function, args, kwargs)
        arguments = self.plain(list(args)), {key: self.plain(value) for key, value in (kwargs or {}).items()}
        with no_python_dispatcher():  # as it is computed otherwise, too
            made = function(*args, **(kwargs or {}))
        if any(isinstance(value, torch.Tensor) for value in tree_leaves(made)):  # else a number, told to Python
            schema = function._schema
            changes = (schema.is_mutable or torch.Tag.nondeterministic_seeded in function.tags
                       or schema.name.endswith(STATISTICS))
            self._know(made, self.add(str(function), *arguments, lasting=changes))
        return made

    def add(self, name, arguments, named=None, *, lasting=True):
        """Add an operation; return its place."""
        place = self.inputs + len(self.operations)
        self.operations.append([name, list(arguments), named or {}])
        if lasting:
            self.lasting.add(place)
        return place

    def _know(self, made, place):
        if isinstance(made, torch.Tensor):
            self.known[made] = place
        else:
            for number, value in enumerate(made):
                if value is not None:
                    self.known[value] = self.add("item", [{"#": place}, number], lasting=False)

    def plain(self, value):
        """Write an argument, or what is returned.

        Raises:
            Refused: it is of a kind that no list holds.
        """
        if isinstance(value, torch.Tensor):
            return {"#": self._place(value)}
        if isinstance(value, list | tuple):
            return [self.plain(item) for item in value]
        if isinstance(value, torch.dtype):
            return {"dtype": str(value)[6:]}
        if isinstance(value, torch.device):
            return {"device": ""}  # everything is on the CPU
        if isinstance(value, torch.layout | torch.memory_format):
            return {"kept": ""}  # everything is dense
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise Refused(f"an argument of kind {type(value).__name__}")

    def _place(self, tensor):
        if tensor not in self.known:
            self.known[tensor] = self._constant(tensor)
        return self.known[tensor]

    def _constant(self, tensor):
        if tensor.numel() > MAX_CONSTANT:
            raise Refused(f"it holds more than {MAX_CONSTANT} numbers outside its parameters and buffers")
        numbers = tensor.detach().flatten().tolist()
        return self.add("constant", [str(tensor.dtype)[6:], list(tensor.shape), numbers, tensor.requires_grad],
                        lasting=False)

    def written(self, result, first=0):
        """Write the list: what the result needs, and what lasts.

        Args:
            result: tensors.
            first: so many operations, from ``len(operations)``, are counted apart.

        Returns:
            {"operations", "result", "inputs", "first": how many of the first are in the list}
        """
        result = self.plain(result)
        needed, kept = places(result), []
        for number, (name, *arguments) in reversed([*enumerate(self.operations)]):
            if needed & {number + self.inputs} or number + self.inputs in self.lasting:
                kept.append(number)
                needed |= places(arguments) if name != "constant" else set()
        kept.reverse()
        new = dict(enumerate(range(self.inputs)))
        new |= {self.inputs + old: self.inputs + place for place, old in enumerate(kept)}
        return {"operations": [_renumbered(self.operations[number], new) for number in kept],
                "result": _renumbered(result, new), "inputs": self.inputs,
                "first": sum(number < first for number in kept)}


def _copied(function, args, kwargs):
    """Do what an operation does that writes into ``out``, with one that makes a tensor and one that copies it."""
    out = kwargs.pop("out", None)
    if out is None:
        raise Refused(f"{function} writes into several tensors")
    made = function._overloadpacket(*args, **kwargs)
    if made.shape != out.shape:
        raise Refused(f"{function} writes into a tensor of another shape")
    return out.copy_(made)


def _renumbered(written, new):
    if isinstance(written, list):
        return written if written[:1] == ["constant"] else [_renumbered(item, new) for item in written]
    if isinstance(written, dict):
        return {key: new[item] if key == "#" else _renumbered(item, new) for key, item in written.items()}
    return written


class Switches(PreDispatchTorchFunctionMode):
    """Record where gradients and autocast are switched on and off: no operation does that.

    Args:
        recorder: a ``Recorder``.
    """

    def __init__(self, recorder):
        self.recorder, self.entered = recorder, []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.amp.autocast_mode._enter_autocast:
            self.entered.append(self.recorder.add("autocast", self.recorder.plain(args)))
            return None
        if function is torch.amp.autocast_mode._exit_autocast:
            self.recorder.add("autocast", [{"#": self.entered.pop()}])
            return None
        if function is torch._C._set_grad_enabled:
            self.recorder.add("gradients", [args[0]])
        return function(*args, **(kwargs or {}))


@contextmanager
def recording(inputs, parts):
    """Record operations as they are called; a context that gives the ``Recorder``, see there."""
    recorder = Recorder(inputs, parts=parts)
    with enable_python_dispatcher(), recorder, Switches(recorder):
        yield recorder
