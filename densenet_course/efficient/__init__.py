"""The same DenseNet with fewer bytes moved and fewer bytes kept: one buffer per block, shared statistics, recomputing.

A dense block as ``layers`` writes it is bound by memory, not by arithmetic. Layer l copies everything made before it
(``torch.cat``), measures its mean and variance again, and keeps a normalised and rectified copy for the backward
pass: bytes that grow with the square of the depth. Three ideas take that away without changing the function:

1. **One buffer.** The block's output is allocated once; each layer writes its k new maps into their place.
2. **Shared statistics.** Within a block a channel's batch mean and variance are the same for every BatchNorm that
   reads it; only γ and β differ. So each map is measured once, where it is made; and what the readers send back
   through mean and variance is summed first and applied once.
3. **Recomputing.** BatchNorm and ReLU are cheap beside the convolutions. The forward pass keeps the maps and the
   bottlenecks, which is linear in depth; the backward pass makes the normalised copies again.

The work goes over a few images at a time, so that a copy still lies in the processor's cache when it is read. With
``efficient="native"`` a whole step, from BatchNorm to the next one's statistics, is compiled from C++ and done before
the next few images are read; on a GPU the passes between the convolutions are Triton's.

Source: Pleiss et al. 2017, "Memory-Efficient Implementation of DenseNets" (shared storage and recomputing).

The room: ``blocks`` (the modules that take part in a network), ``functions`` (their forward passes, for autograd),
``backward`` (the gradients), ``steps`` (one BN → ReLU → convolution over a few images at a time), ``kernels`` (what
computes the passes: PyTorch's operators, or C++: a pass in ``kernels.cpp``, a step in ``step.cpp`` and ``fused_*.cpp``,
all steps of a block in ``dense_block.cpp``; on a GPU ``triton_kernels``, where ``gpu`` finds that they work).
"""

from densenet_course.efficient.blocks import EfficientDenseBlock, EfficientTransition, make_efficient

__all__ = ["EfficientDenseBlock", "EfficientTransition", "make_efficient"]
