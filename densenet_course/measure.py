"""Measure on a live network: parameters and multiply-adds, bytes saved for the backward pass, who reads whose maps."""

import statistics
import time
from collections import Counter

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module):
    """Count the learned numbers of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def cost(model, *shape):
    """Count a network's parameters and the multiply-adds of its convolutions and matrix products for one input.

    Args:
        model: an ``nn.Module``; it is left in eval mode.
        shape: of one input without its batch, for instance 1, 28, 28.

    Returns:
        (parameters, multiply_adds)
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    return count_parameters(model), counter.get_total_flops() // 2  # a multiply-add is two of them


@torch.no_grad()
def weights_by_map(model, *shape):
    """Count convolution weights by the height of the map that they make: height in pixels → weights.

    Args:
        model: an ``nn.Module``; it is left in eval mode.
        shape: of one input without its batch.
    """
    found = Counter()
    hooks = [module.register_forward_hook(lambda conv, _, maps: found.update({maps.shape[-2]: conv.weight.numel()}))
             for module in model.modules() if isinstance(module, nn.Conv2d)]
    try:
        model.eval()(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
    return dict(found)


@torch.no_grad()
def reach(layer, in_channels, size=15):
    """Count the pixels of a layer's output that move when the middle pixel of its input is changed.

    Args:
        layer: an ``nn.Module`` from (N, in_channels, H, W) to (N, k, H, W); it is left in eval mode.
        in_channels: channels C.
        size: height and width of the maps, in pixels.
    """
    maps = torch.randn(1, in_channels, size, size)
    changed = maps.clone()
    changed[:, :, size // 2, size // 2] += 100
    difference = (layer.eval()(maps) - layer(changed)).abs() > 1e-4  # (1, k, H, W)
    return difference.any(1).sum().item()


def in_turns(tasks, rounds=9):
    """Time tasks in turns on one thread, so that a machine that slows down slows all of them.

    Args:
        tasks: name → function without arguments.
        rounds: timed calls of each; one more call of each comes first and is not timed.

    Returns:
        A dict: name → list of seconds, one for each round.
    """
    threads, seconds = torch.get_num_threads(), {name: [] for name in tasks}
    torch.set_num_threads(1)  # one thread never waits for another that the system has put aside
    try:
        for lap in range(rounds + 1):
            for name, task in tasks.items():
                start = time.perf_counter()
                task()
                if lap:
                    seconds[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return seconds


def compare_times(seconds, name, base):
    """Tell how a task's time compares with another's, round by round.

    Args:
        seconds: what ``in_turns`` returns.
        name: the task.
        base: what it is compared with.

    Returns:
        A sentence with the median of the ratios, their range, and in how many rounds the task was the faster one.
    """
    ratios = [a / b for a, b in zip(seconds[name], seconds[base], strict=True)]
    faster = sum(ratio < 1 for ratio in ratios)
    return (f"{statistics.median(ratios):.2f} × the time of {base} ({min(ratios):.2f} to {max(ratios):.2f}; "
            f"faster in {faster} of {len(ratios)} rounds)")


def training_step(model, images, labels, precision):
    """Prepare one training step without an optimizer: forward pass, cross-entropy, backward pass.

    Args:
        model: a classifier, changed to the precision's memory format in place.
        images: (N, C, H, W), on the model's device.
        labels: int64 (N,).
        precision: a ``training.Precision``.

    Returns:
        (a function without arguments that does the step and waits for its end, bytes saved for the backward pass)
    """
    device = images.device
    model.to(memory_format=precision.memory_format)
    images = images.contiguous(memory_format=precision.memory_format)

    def step():
        model.zero_grad()
        with precision.autocast(device):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        return loss.item()  # on a GPU this waits until all is done

    with precision.autocast(device):
        return step, saved_bytes(model, images)


def saved_bytes(model, images, *, loss=None):
    """Count the bytes that a forward pass saves for the backward pass: each storage once, parameters not counted.

    Args:
        model: an ``nn.Module``, in the mode in which it is to be measured.
        images: its input (N, C, H, W).
        loss: a function of the output, whose saved bytes count too, if given.

    Returns:
        Bytes, as saved-tensor hooks see them.
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage  # held, so that no address comes twice
        return tensor.detach()  # the tensor itself would keep its own graph alive, and its memory for good

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(images)
        if loss is not None:
            output = loss(output)
    return sum(storage.nbytes() for storage in storages.values())


def who_reads(block, images):
    """Measure whose maps each layer really reads: change one source, hold all the others, see what moves.

    In every run a layer's output is replaced by that of the first run, so that a change reaches a layer only if the
    block hands it that source directly. Runs in eval mode; the block is left as it was.

    Args:
        block: any module whose children are its layers, in the order they run; right or wrong wiring.
        images: a batch (N, C, H, W).

    Returns:
        A boolean matrix (L + 1, L + 1): row = reader (layers 1…L, then the block's output), column = source (input,
        then the maps of layers 1…L).

    Raises:
        ValueError: a child that the block never calls.
    """
    modes = [(module, module.training) for module in block.modules()]
    block.eval()
    try:
        before = _replay(block, images, [])
        sources = [images, *before[:-1]]
        table = torch.zeros(len(sources), len(sources), dtype=torch.bool)
        for column, source in enumerate(sources):
            noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(column)).to(source)
            given = [*sources[:column], source + noise * source.std(), *sources[column + 1:]]
            after = _replay(block, given[0], given[1:])
            for row, (old, new) in enumerate(zip(before, after, strict=True)):
                table[row, column] = (new - old).abs().max() > 1e-5 * old.abs().max()
    finally:
        for module, training in modes:
            module.training = training
    return table


def _replay(block, images, kept):
    """Run the block; return what layers and block computed, where layer i hands on ``kept[i]`` if there is one."""
    layers, computed = list(block.children()), {}

    def swap(layer, _, maps):
        i = layers.index(layer)
        computed[i] = maps.clone()
        return kept[i].clone() if kept else maps

    handles = [layer.register_forward_hook(swap) for layer in layers]
    try:
        with torch.no_grad():
            output = block(images)
    finally:
        for handle in handles:
            handle.remove()
    if len(computed) < len(layers):
        raise ValueError(f"block: expected each of its {len(layers)} layers to run, only {len(computed)} did; "
                         "remove the children that forward does not call")
    return [*(computed[i] for i in range(len(layers))), output]
