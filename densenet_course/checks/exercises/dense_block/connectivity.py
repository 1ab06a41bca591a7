"""Measure on a dense block who reads whose maps, through its public face only: weights and images in, output out."""

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, probe
from densenet_course.checks.engine.wrong import Wrong

SIZE = 6  # height and width of the images
MOST_WEIGHTS = 30
OFF, ON, OTHER = 0, 1, 2  # a weight is zero, has its value, or has another one


@probe
def respond(objects, name, arguments, images, values, runs):
    """Build a module anew for each run, give it weights, and report its output: nothing kept between calls matters.

    Args:
        objects: the learner's objects.
        name: which of them.
        arguments: positional arguments to build it.
        images: a list of inputs (N, C, H, W).
        values: for each parameter, in the order of ``parameters()``, a list of tensors to choose from.
        runs: pairs (index of the input, for each parameter the index of its value).

    Returns:
        One output for each run, in evaluation mode.
    """
    outputs = []
    for image, chosen in runs:
        module = probes.build(objects, name, arguments)
        probes.perform_script(module, [{"do": "warm up", "images": images[0]}])
        parameters = list(module.parameters())
        if [p.shape for p in parameters] != [options[0].shape for options in values]:
            raise AnswerError(f"{name} built twice has parameters of other shapes the second time")
        with torch.no_grad():
            for parameter, options, index in zip(parameters, values, chosen, strict=True):
                parameter.copy_(options[index])
        outputs.append(probes.perform_script(module, [{"do": "run", "images": images[image]}])[0]["output"])
    return outputs


def measure(answer, name, arguments, draw):
    """Measure whose maps each layer reads directly.

    A layer is found by its weights: alone, with all others at zero, they move the channels that it makes. Then, for
    each pair, the layers between the two are set to zero, the source's weights are changed, and the reader is watched.

    Args:
        answer: an ``Answer``.
        name: the learner's class or function.
        arguments: (num_layers, in_channels, growth_rate).
        draw: fresh numbers.

    Returns:
        {"reads": rows of bool for layers 1 … L and the output, columns for the input and layers 1 … L,
        "order": the sources as they lie in the output, 0 for the input}

    Raises:
        Wrong: the layers cannot be told apart in the output.
    """
    block = _Block(answer, name, arguments, draw)
    layers = block.layers()
    num_layers, in_channels, _ = arguments
    weights, groups = [index for index, _ in layers], [channels for _, channels in layers]
    if sum(map(len, groups)) > len(set().union(*groups)):
        raise Wrong("connections",
                    cause="several convolutions put their maps into the same channels. Are maps added instead "
                          "of joined? Use torch.cat.")
    if len(layers) != num_layers:
        raise Wrong("connections",
                    cause=f"expected the output to hold the maps of {num_layers} layers, found {len(layers)}."
                          f"{' Did you return only the last maps?' if len(layers) == 1 else ''}")
    pairs = [(reader, source) for reader in range(num_layers) for source in range(-1, reader)]
    moved = block.compare([(
        (0, between := dict.fromkeys(weights[source + 1:reader], OFF)),
        (1, between) if source < 0 else (0, between | {weights[source]: OTHER}),
    ) for reader, source in pairs])
    reads = [[False] * (num_layers + 1) for _ in range(num_layers + 1)]
    for (reader, source), channels in zip(pairs, moved, strict=True):
        reads[reader][source + 1] = bool(channels & groups[reader])
    copied = block.compare([((0, block.silent), (1, block.silent))])[0]
    reads[-1] = [len(copied) == in_channels, *[True] * num_layers]
    starts = {i: min(channels) for i, channels in enumerate([copied, *groups]) if channels}
    return {"reads": reads, "order": sorted(starts, key=starts.get)}


def named(order):
    """Write sources as they lie in the output."""
    return ", ".join(str(source) if source else "input" for source in order)


class _Block:
    """The learner's block as seen from the judge's side, by its weights."""

    def __init__(self, answer, name, arguments, draw):
        self.images = [draw.normal(2, arguments[1], SIZE, SIZE) for _ in range(2)]
        self.request = {"name": name, "arguments": arguments, "images": self.images}
        self.answer = answer
        script = [{"do": "warm up", "images": self.images[0]}, {"do": "parameters"}]
        _, found = answer.ask(probes.play, name=name, arguments=arguments, script=script)
        shapes = [shape for _, shape, _ in found]
        self.values = [[torch.ones(shape)] * 3 for shape in shapes]
        self.weights = [index for index, shape in enumerate(shapes) if len(shape) > 1]
        for index in self.weights:
            self.values[index] = [torch.zeros(shapes[index]), *(draw.normal(*shapes[index]) for _ in (ON, OTHER))]
        if not self.weights:
            raise Wrong("connections",
                        cause="the block has no weights to try. Are its layers in a plain Python list? Use "
                              "nn.ModuleList.")
        if len(self.weights) > MOST_WEIGHTS:
            raise Wrong("connections", cause=f"expected {arguments[0]} convolutions, got {len(self.weights)} weights.")
        self.silent = dict.fromkeys(self.weights, OFF)

    def compare(self, pairs):
        """Run pairs (before, after), each (index of the images, {parameter: state}); tell which channels moved."""
        runs = [(image, [states.get(index, ON) for index in range(len(self.values))])
                for pair in pairs for image, states in pair]
        outputs = self.answer.ask(respond, **self.request, values=self.values, runs=runs)
        return [_moved(before, after) for before, after in zip(outputs[::2], outputs[1::2], strict=True)]

    def layers(self):
        """Find the layers in the order in which they run, as pairs (weight, channels that it makes)."""
        made = self.compare([((0, self.silent), (0, self.silent | {index: ON})) for index in self.weights])
        moved = self.compare([((0, {}), (0, {index: OTHER})) for index in self.weights])
        found = [(-len(reached), min(own), index, own)  # the earlier a layer runs, the more it reaches
                 for index, own, reached in zip(self.weights, made, moved, strict=True) if own]
        return [(index, own) for _, _, index, own in sorted(found)]


def _moved(before, after):
    """Return the channels in which two outputs differ."""
    if before.ndim != 4 or before.shape != after.shape:
        raise Wrong("output shape", cause=f"expected (N, C, H, W), got {tuple(before.shape)} and {tuple(after.shape)}.")
    apart = (after.double() - before.double()).abs().amax(dim=(0, 2, 3))
    scale = before.double().abs().amax(dim=(0, 2, 3))
    return {channel for channel in range(len(apart)) if apart[channel] > 1e-5 * scale[channel] + 1e-12}
