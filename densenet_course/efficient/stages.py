"""What an efficient block is made of, read from its modules as they are now, and refused where it is anything else."""

from dataclasses import dataclass

from torch import nn

from densenet_course.efficient.steps import Step

KNOWN_LAYERS = {("norm1", "relu1", "conv1"), ("norm1", "relu1", "conv1", "norm2", "relu2", "conv2")}
TRANSITION = ("norm", "relu", "conv", "pool")


@dataclass(frozen=True)
class Stage:
    """One step of a block and its place in it.

    Args:
        step: a ``Step``.
        reads: how many channels of the block the layer reads.
        writes: which channels of the block the step makes; None for the first step of a bottleneck layer.
        from_block: whether it reads the block's maps; otherwise it reads what the step before it made.
        measured: whether a later step needs the batch statistics of what it makes.
        drop_rate: of the dropout behind it, 0 for none.
    """

    step: Step
    reads: int
    writes: slice | None
    from_block: bool
    measured: bool
    drop_rate: float


def expect(holds, what, module):
    """Refuse a module that is not computed here.

    Raises:
        TypeError: it does not hold.
    """
    if not holds:
        raise TypeError(f"efficient: expected {what}, got {module}; build this network with efficient=False, whose "
                        "state_dict has the same keys")


def is_sequential(module):
    """Say whether calling a module calls its children in their order, and does no more."""
    return type(module).forward is nn.Sequential.forward


def pair(value):
    """Spell a size as (height, width)."""
    return value if isinstance(value, tuple) else (value, value)


def step_of(norm, relu, conv, kernels, pool=1):
    """Describe BatchNorm → ReLU → (pooling) → convolution.

    Raises:
        TypeError: the modules are not those that ``layers`` builds.
    """
    expect(type(norm) is nn.BatchNorm2d and norm.weight is not None and norm.bias is not None,
           "nn.BatchNorm2d with γ and β", norm)
    expect(type(relu) is nn.ReLU, "nn.ReLU", relu)
    expect(type(conv) is nn.Conv2d and keeps_size(conv),
           "nn.Conv2d of stride 1, dilation 1 and one group that keeps height and width with zeros around them", conv)
    return Step(norm, conv, norm.training or norm.running_mean is None, pool, kernels)


def keeps_size(conv):
    """Say whether a convolution is one of those that the steps compute: k new pixels for each pixel."""
    edges = tuple(conv.weight.shape[2:])
    return (
        conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
        and all(edge % 2 for edge in edges) and conv.padding == tuple(edge // 2 for edge in edges)
    )


def layer_of(layer, kernels):
    """Describe one layer of a block: its steps, and the rate of the dropout behind them.

    Raises:
        TypeError: it is neither a conv block nor a bottleneck layer.
    """
    parts = dict(layer.named_children())
    names = tuple(name for name in parts if name != "dropout")
    ends_well = "dropout" not in parts or list(parts)[-1] == "dropout"
    expect(is_sequential(layer) and names in KNOWN_LAYERS and ends_well, "a conv block or a BottleneckLayer", layer)
    dropout = parts.get("dropout")
    expect(dropout is None or type(dropout) is nn.Dropout, "nn.Dropout", dropout)
    rate = dropout.p if dropout is not None and dropout.training else 0.0
    places = [i for i in (1, 2) if f"norm{i}" in parts]
    return [step_of(parts[f"norm{i}"], parts[f"relu{i}"], parts[f"conv{i}"], kernels) for i in places], rate


def stages_of(block, kernels):
    """Describe a dense block as it is now: its modules, and which of them are in training mode.

    Args:
        block: a ``DenseBlock``.
        kernels: what computes the passes.

    Raises:
        TypeError: a layer is neither a conv block nor a bottleneck layer.
    """
    layers = [layer_of(layer, kernels) for layer in block.children()]
    stages, reads = [], layers[0][0][0].reads if layers else 0
    for i, (steps, rate) in enumerate(layers):
        writes = slice(reads, reads + steps[-1].makes)
        read_again = any(later[0].uses_batch for later, _ in layers[i + 1:])
        if len(steps) == 2:
            stages.append(Stage(steps[0], reads, None, True, steps[1].uses_batch, 0.0))
        stages.append(Stage(steps[-1], reads, writes, len(steps) == 1, read_again, rate))
        reads = writes.stop
    return stages


def transition_step(transition, kernels):
    """Describe a transition as it is now.

    Raises:
        TypeError: it is not what ``layers.transition`` builds.
    """
    parts = dict(transition.named_children())
    expect(tuple(parts) == TRANSITION, "a transition of norm, relu, conv and pool", transition)
    norm, relu, conv, pool = parts.values()
    step = step_of(norm, relu, conv, kernels)
    expect(conv.weight.shape[2:] == (1, 1), "a 1×1 convolution in the transition, or pooling could not go first", conv)
    edges = pair(getattr(pool, "kernel_size", 0))
    expect(
        type(pool) is nn.AvgPool2d and edges[0] == edges[1] and pair(pool.stride) == edges
        and pair(pool.padding) == (0, 0) and not pool.ceil_mode and pool.divisor_override is None,
        "nn.AvgPool2d over squares side by side", pool,
    )
    return Step(norm, conv, step.uses_batch, edges[0], kernels)
