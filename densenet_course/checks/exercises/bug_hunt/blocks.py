"""Bug hunt, the bugs inside a block: maps that get lost, and maps that stay."""

import contextlib

import torch
from torch import nn

from densenet_course import layers
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, plain, probe
from densenet_course.checks.engine.expect import close
from densenet_course.checks.engine.explain import Explaining
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.bug_hunt.traces import held_tensors
from densenet_course.checks.kinds.modules import ModuleCase

RUN = {"do": "run"}


def maps(draw, arguments):
    """Draw maps (N, C, H, W) for a block whose second argument is C."""
    return draw.normal(draw.integer(2, 4), arguments[1], draw.integer(5, 7), draw.integer(8, 10), shift=0.3)


# Bug 1: a block that returns only the new maps, while its head counts the input's channels too


class HeadOn(nn.Module):
    """A dense block and a linear head that reads ``join(input, new maps)``."""

    def __init__(self, join, num_layers, in_channels, growth_rate, num_classes):
        super().__init__()
        self.block = layers.DenseBlock(num_layers, in_channels, growth_rate)
        self.join, self.channels = join, in_channels
        self.head = nn.Linear(in_channels + num_layers * growth_rate, num_classes)

    def forward(self, features):
        new = self.block(features)[:, self.channels:]
        return self.head(self.join(features, new).mean((2, 3)))


def _head_on(join):
    return lambda *arguments: HeadOn(join, *arguments)


def head_arguments(draw):
    """Draw (num_layers, in_channels, growth_rate, num_classes) in which no two roles share a shape."""
    growth_rate = draw.integer(4, 6)
    return draw.integer(2, 3), draw.integer(7, 12), growth_rate, draw.integer(2, 3)


def head_notes(num_layers, in_channels, growth_rate, num_classes):
    """Name the cause of parameters of a wrong shape."""
    return {
        (num_classes, num_layers * growth_rate):
            "The head was cut down to the new maps. The count was right: give it the input's maps too.",
        (num_classes,): "Is the head one Linear layer with a bias?",
    }


HEAD = ModuleCase(
    "BlockWithHead",
    _head_on(lambda old, new: torch.cat([old, new], dim=1)),
    head_arguments,
    maps,
    suspects=(
        (_head_on(lambda old, new: torch.cat([torch.zeros_like(old), new], dim=1)),
         "zeros stand where the input's maps should be. The shape fits now; the maps are still lost."),
        (_head_on(lambda old, new: torch.cat([torch.ones_like(old), new], dim=1)),
         "ones stand where the input's maps should be. The shape fits now; the maps are still lost."),
        (_head_on(lambda old, new: torch.cat([torch.cat([new] * 9, 1)[:, :old.shape[1]], new], dim=1)),
         "copies of new maps stand where the input's maps should be. The shape fits now; the input is still lost."),
        (_head_on(lambda old, new: torch.cat([new, old], dim=1)),
         "the input's maps stand last. They come first, then the new maps in order."),
    ),
    notes=head_notes,
)
HEAD_MISFIT = (("mat1 and mat2", "The head counts other channels than the block returns."),)


def head_fits(answer, draw):
    """The head takes what the block returns."""
    HEAD.shape(Explaining(answer, HEAD_MISFIT), draw)


def head_reads_all(answer, draw):
    """The head reads the input's maps and the new ones."""
    for look in (HEAD.parameters, HEAD.values_in_eval, HEAD.values_in_training, HEAD.gradients):
        look(Explaining(answer, HEAD_MISFIT), draw)


# Bug 2: a list of features that stays on self between the calls


def block_arguments(draw):
    """Draw (num_layers, in_channels, growth_rate)."""
    return draw.integer(2, 3), draw.integer(7, 12), draw.integer(4, 6)


BLOCK = ModuleCase("CleanBlock", layers.DenseBlock, block_arguments, maps)


def second_call_works(answer, draw):
    """A second call, with another batch, gives the right shape too."""
    BLOCK.shape(answer, draw)
    try:
        BLOCK.hold(answer, draw, RUN, RUN, RUN, weighs=False, look=lambda replies: {
            f"output shape of a later call, number {i}": tuple(reply["output"].shape)
            for i, reply in enumerate(replies, start=1)})
    except AnswerError as error:
        raise Wrong(f"the first call works, a later one fails. Are maps of the first still there? {error}") from None


def nothing_is_kept(answer, draw):
    """The values are right, and no call leaves maps for another one to meet."""
    BLOCK.values_in_eval(answer, draw)
    BLOCK.values_in_training(answer, draw)
    BLOCK.gradients(answer, draw)
    arguments = BLOCK.arguments(draw)
    oracle = layers.DenseBlock(*arguments)
    values = probes.values_for(oracle, draw.generator)
    request = {"arguments": arguments, "values": values,
               "images": maps(draw, arguments), "other": maps(draw, arguments), "unfit": draw.normal(2, 1, 5, 5)}
    expected = plain(look_after_calls({"oracle": layers.DenseBlock}, name="oracle", **request))
    got = answer.ask(look_after_calls, name="CleanBlock", **request)
    if got["held"]:
        raise Wrong(f"after a call self.{got['held'][0]} still holds maps, and with them the batch and its graph in "
                    "memory. Use a local variable.")
    _hold(expected, got, "after a call that failed", "What that call had gathered is still there.")
    _hold(expected, got, "when one call begins inside another", "The two share one list. Use a local variable.")


def _hold(expected, got, when, cause):
    if isinstance(got[when], str):
        raise Wrong(when, cause=f"the block raised {got[when]}. {cause}")
    if got[when].shape != expected[when].shape or not close(expected[when], got[when]):
        raise Wrong(when, cause=f"the block gave other values. {cause}")


@probe
def look_after_calls(objects, name, arguments, values, images, other, unfit):
    """Call a block in ways in which a list on self shows.

    Returns:
        {"held": attributes that hold new tensors after a call, "after a call that failed" and "when one call begins
        inside another": the output for ``images``, or what was raised}
    """
    block = probes.build(objects, name, arguments)
    probes.perform_script(block, [{"do": "warm up", "images": images}, {"do": "load", "values": values}])
    block.eval()
    before = held_tensors(block)
    block(images.clone())
    reply = {"held": [key for key, count in held_tensors(block).items() if count > before.get(key, 0)]}
    with contextlib.suppress(Exception):
        block(unfit)
    reply["after a call that failed"] = _attempt(block, images)
    inside = []

    def call_again(*_):
        if not inside:
            inside.append(True)
            block(other.clone())

    for module in block.modules():
        if module is not block and not any(True for _ in module.children()):
            module.register_forward_pre_hook(call_again)
    return reply | {"when one call begins inside another": _attempt(block, images)}


def _attempt(block, images):
    try:
        return block(images.clone())
    except Exception as error:
        return type(error).__name__
