"""Measure what a network does with the maps of earlier layers: join them as a DenseNet does, add them, or neither."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

OPERATIONS = {  # those with weights, and which argument is what they read; F.linear and einsum come as these
    torch.ops.aten.convolution: 0, torch.ops.aten.mm: 0, torch.ops.aten.addmm: 1, torch.ops.aten.bmm: 0,
}
MOST = 60  # operations that are changed one by one; a DenseNet shows itself at the first few
NOISE = 0.01  # of an output's spread: so little that a norm over several channels hardly carries it on
MOVED, STILL = 0.1, 0.03  # of the largest move: what surely came directly; what such a norm may have carried on
OWN_PLACE = 0.25  # share of each source's values that the other leaves alone: all where joined, a few where added
JOINED, ADDED, PASSED_ON, NO_MAPS = "joined", "added", "passed on", "no maps"


class Replay(TorchDispatchMode):
    """Note what every operation with weights reads and makes, and let some hand on something else.

    Args:
        given: number of the call → what it hands on.
    """

    def __init__(self, given):
        super().__init__()
        self.given, self.reads, self.makes = given, [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        place = OPERATIONS.get(function.overloadpacket)
        if place is None:
            return made
        number = len(self.makes)
        self.reads.append(args[place].detach().clone())
        self.makes.append(made.detach().clone())
        return self.given[number].clone() if number in self.given else made


@torch.no_grad()
def joining(model, images):
    """Tell what a network does with the maps of earlier layers, in eval mode.

    Each operation with weights hands on what it made in a first run, but one, whose maps are changed a little. What
    then moves in front of a later operation has come there directly, past all others. In a DenseNet such an operation
    reads maps of an earlier one and maps of a later one, which had read the earlier, and each has places of its own.
    Where they share their places they were added.

    Args:
        model: a network for these images; lazy layers have their shapes already.
        images: float32 (N, 1, 28, 28), N > 1.

    Returns:
        JOINED; ADDED; PASSED_ON, where each operation reads maps of the last one only; or NO_MAPS, where none makes
        maps of more than one pixel.
    """
    first = run(model, images, {})
    maps = [number for number, made in enumerate(first.makes) if _is_map(made, len(images))]
    if not maps:
        return NO_MAPS
    moves, had_read, found = {}, {}, PASSED_ON
    for source in maps[:MOST]:
        moves[source] = _moves(source, first, model, images)
        direct = [earlier for earlier in had_read if source in moves[earlier]]
        had_read[source] = set(direct).union(*(had_read[earlier] for earlier in direct))
        for earlier in had_read[source]:
            for reader in moves[earlier].keys() & moves[source].keys():
                if not _share_places(moves[earlier][reader], moves[source][reader]):
                    if _is_used(reader, first, model, images):
                        return JOINED
                else:
                    found = ADDED
    return found


def run(model, images, given):
    """Run a network under a ``Replay``; its output counts as the last thing that is read."""
    with Replay(given) as replay:
        output = model.eval()(images.clone())
    replay.reads.append(output.detach().clone())
    return replay


def _is_map(made, images):
    """Tell maps of several pixels from one number for each image: (N, C, H, W), or (N·H·W, C) of a Linear layer."""
    return made[0, 0].numel() > 1 if made.ndim > 2 else len(made) > images


def _changed(source, made):
    noise = torch.randn(made.shape, generator=torch.Generator().manual_seed(source)).to(made)
    return made + NOISE * made.std() * noise


def _moves(source, first, model, images):
    """Change what one operation makes, hold all others; return reader → moves of what it reads, largest 1."""
    made, moves = first.makes, {}
    after = run(model, images, dict(enumerate(made)) | {source: _changed(source, made[source])})
    for reader, (old, new) in enumerate(zip(first.reads, after.reads, strict=True)):
        move = (new - old).abs()
        if reader > source and move.max() > 1e-3 * NOISE * old.abs().max():
            moves[reader] = move / move.max()
    return moves


def _share_places(a, b):
    own = [(one > MOVED) & (other < STILL) for one, other in ((a, b), (b, a))]
    return any(alone.sum() < OWN_PLACE * (one > MOVED).sum() for alone, one in zip(own, (a, b), strict=True))


def _is_used(reader, first, model, images):
    """Tell whether the network's output depends on what an operation makes."""
    if reader == len(first.makes):  # the output itself
        return True
    after = run(model, images, {reader: _changed(reader, first.makes[reader])})
    return not torch.equal(after.reads[-1], first.reads[-1])
