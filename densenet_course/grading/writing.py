"""Write a graph of operations as plain values, as they go over the wire."""

import operator

import torch

from densenet_course.grading.operations import MAX_CONSTANT, Refused


class Writer:
    """Write a graph of operations as plain values.

    Args:
        graph: of ``make_fx``.
    """

    def __init__(self, graph):
        self.places, self.operations, self.inputs, self.result = {}, [], 0, None
        for node in graph.nodes:
            if node.op == "output":
                self.result = self._plain(node.args[0])
                continue
            if torch.Tag.data_dependent_output in getattr(node.target, "tags", ()):
                continue  # a look at a number, which decides nothing
            self._node(node, graph.owning_module)
            self.places[node] = len(self.places)
        self.written = {"operations": self.operations, "result": self.result, "inputs": self.inputs}

    def _node(self, node, owner):
        if node.op == "placeholder":
            self.inputs += 1
        elif node.op == "get_attr":
            value = getattr(owner, node.target)
            if not isinstance(value, torch.Tensor) or value.numel() > MAX_CONSTANT:
                raise Refused(f"it holds more than {MAX_CONSTANT} numbers outside its parameters and buffers")
            self.operations.append(["constant", [str(value.dtype)[6:], list(value.shape),
                                                 value.detach().flatten().tolist(), value.requires_grad], {}])
        else:
            arguments = [self._plain(value) for value in node.args]
            named = {key: self._plain(value) for key, value in node.kwargs.items()}
            self.operations.append([_name(node.target), arguments, named])

    def _plain(self, value):
        if isinstance(value, torch.fx.Node):
            return {"#": self.places[value]}
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        if isinstance(value, torch.dtype):
            return {"dtype": str(value)[6:]}
        if isinstance(value, torch.device):
            return {"device": ""}  # everything is on the CPU
        if isinstance(value, torch.layout | torch.memory_format):
            return {"kept": ""}  # everything is dense
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise Refused(f"an argument of kind {type(value).__name__}")


def _name(target):
    if "_set_grad_enabled" in str(target):
        return "gradients"
    if target in (torch.amp._enter_autocast, torch.amp._exit_autocast):
        return "autocast"
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if target is operator.getitem:
        return "item"
    raise Refused(f"it uses {target}, which is none of ATen's operations")
