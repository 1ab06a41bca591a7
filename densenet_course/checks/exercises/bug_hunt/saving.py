"""Bug hunt, bug 8: checkpointing that moves BatchNorm's statistics twice."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from densenet_course import layers
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import plain, probe
from densenet_course.checks.engine.expect import close, expect, expect_close
from densenet_course.checks.engine.explain import RECOMPUTING, Explaining
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds.modules import ModuleCase
from densenet_course.measure import saved_bytes


class CheckpointedWhole(nn.Module):
    """The bug: the whole layer runs again in the backward pass, its BatchNorm too."""

    def __init__(self, in_channels, growth_rate):
        super().__init__()
        self.layer = layers.conv_block(in_channels, growth_rate)

    def forward(self, features):
        return checkpoint(self.layer, features, use_reentrant=False)


class FrozenStatistics(nn.Module):
    """A wrong repair: BatchNorm stays in eval mode."""

    def __init__(self, in_channels, growth_rate):
        super().__init__()
        self.norm, _, self.conv = layers.conv_block(in_channels, growth_rate)

    def forward(self, features):
        norm = self.norm
        features = F.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return self.conv(features.relu())


class UntrackedStatistics(FrozenStatistics):
    """A wrong repair: the batch's statistics are used, and nothing is remembered."""

    def forward(self, features):
        norm = self.norm
        known = (None, None) if self.training else (norm.running_mean, norm.running_var)
        features = F.batch_norm(features, *known, norm.weight, norm.bias, training=self.training)
        return self.conv(features.relu())


def arguments(draw):
    """Draw (in_channels, growth_rate): far more channels are read than made, as in a long block."""
    return draw.integer(12, 16), draw.integer(3, 5)


def maps(draw, arguments):
    """Draw maps (N, C, H, W)."""
    return draw.normal(draw.integer(3, 4), arguments[0], draw.integer(5, 7), draw.integer(8, 10), shift=0.3)


FROZEN = FrozenStatistics, "BatchNorm uses its running statistics in train mode; expected the batch's."
SAVING = ModuleCase("SavingLayer", layers.conv_block, arguments, maps, suspects=(FROZEN,))
MOVED = (  # what running statistics that are not as expected may come from
    (CheckpointedWhole, "BatchNorm's running statistics took the batch in twice: forward, and again backward."),
    (UntrackedStatistics, "BatchNorm's running statistics did not move; expected once in each forward pass."),
)
STAGES = {  # what was done before the look, and what a wrong look means
    "a forward and a backward pass": "The running statistics are not those of one update",
    "two forward passes, then one backward pass":
        "The running statistics depend on when the backward pass comes. Each forward pass moves them once",
    "a forward pass without a backward pass":
        "The running statistics wait for the backward pass. Each forward pass moves them, once and in full",
    "a forward pass under no_grad": "A forward pass in train mode moves the statistics, with gradients or without",
}


def statistics_move_once(answer, draw):
    """One training step moves the running statistics once."""
    _compare_stage(*_followed(Explaining(answer, RECOMPUTING), draw), next(iter(STAGES)))


def memory_is_saved(answer, draw):
    """Same values and gradients as the plain layer, in fewer bytes, and the statistics are right at any time."""
    answer = Explaining(answer, RECOMPUTING)
    SAVING.parameters(answer, draw)
    SAVING.values_in_eval(answer, draw)
    SAVING.gradients(answer, draw, may_move=True)  # told below, by what moves them
    expected, got, suspects = _followed(answer, draw)
    for stage in STAGES:
        _compare_stage(expected, got, suspects, stage)
    SAVING.values_in_training(answer, draw)
    if got["bytes"] > 0.75 * expected["bytes"]:
        raise Wrong("saved for the backward pass",
                    cause=f"{got['bytes']} bytes, and {expected['bytes']} by the plain layer. "
                          "Expected about half: the input, and nothing that can be computed again from it.")


def _followed(answer, draw):
    arguments = SAVING.arguments(draw)
    values = probes.values_for(layers.conv_block(*arguments), draw.generator)
    batch = maps(draw, arguments)
    images = [batch] + [draw.normal(*batch.shape, scale=2.0, shift=i) for i in range(4)]
    request = {"arguments": arguments, "values": values, "images": images}
    wanted = _rehearse(layers.conv_block, request)
    suspects = [(_rehearse(builder, request), message) for builder, message in MOVED]
    return wanted, answer.ask(follow_training, name="SavingLayer", **request), suspects


def _rehearse(builder, request):
    return plain(follow_training({"judge": builder}, name="judge", **request))


def _compare_stage(expected, got, suspects, stage):
    wanted, came = expected[stage], got[stage]
    expect(f"output shape in eval mode after {stage}", tuple(wanted["output"].shape), tuple(came["output"].shape))
    outputs = [(reply[stage]["output"], message) for reply, message in suspects]
    if not close(wanted["output"], came["output"]) and not close(expected["before"], got["before"]):
        raise Wrong("output in eval mode",
                    cause="other values than BN → ReLU → convolution gives, before any training.")
    expect_close(f"output in eval mode after {stage}", wanted["output"], came["output"],
                 suspects=[*outputs, (came["output"], f"{STAGES[stage]}.")])
    for count in came["counts"]:
        expect(f"num_batches_tracked after {stage}", wanted["counts"][0], count,
               suspects=[(suspects[0][0][stage]["counts"][0], "BatchNorm runs again in the backward pass.")])


@probe
def follow_training(objects, name, arguments, values, images):
    """Train a layer through ``STAGES`` and look at it after each.

    Returns:
        {"before": output in eval mode, stage: {"output": in eval mode, "counts": of batches}, "bytes": saved}
    """
    layer = probes.build(objects, name, arguments)
    probes.perform_script(layer, [{"do": "warm up", "images": images[0]}, {"do": "load", "values": values}])
    first, second, third, fourth = STAGES
    reply = {"before": _look(layer, images[-1])["output"]}
    _forward(layer, images[0]).backward()
    reply[first] = _look(layer, images[-1])
    (_forward(layer, images[1]) + _forward(layer, images[2])).backward()
    reply[second] = _look(layer, images[-1])
    _forward(layer, images[3])
    reply[third] = _look(layer, images[-1])
    with torch.no_grad():
        _forward(layer, images[0])
    reply[fourth] = _look(layer, images[-1])
    layer.train()
    return reply | {"bytes": saved_bytes(layer, images[1].clone().requires_grad_() * 1)}


def _look(layer, images):
    with torch.no_grad():
        output = layer.eval()(images.clone())
    counts = [int(buffer) for key, buffer in layer.named_buffers() if key.endswith("num_batches_tracked")]
    return {"output": output, "counts": counts}


def _forward(layer, images):
    return layer.train()(images.clone().requires_grad_() * 1).sum()
