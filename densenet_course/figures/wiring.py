"""Measure on a live block whose maps each layer reads; ``blocks.reader_matrix`` draws it."""

import torch


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
