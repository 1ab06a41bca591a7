"""What the explorer's page needs, as one run of bytes: a JSON header, then weights in half precision and images.

The class network's published weights are halves already, so nothing is rounded here. Layout: the header's length as a
little-endian uint32, the header (UTF-8), the arrays. A place in the header counts from the header's end.
"""

import gzip
import json
import struct
from functools import cache
from pathlib import Path

import torch

from densenet_course import accounting
from densenet_course.data import CLASS_NAMES, MEAN, STD, normalise
from densenet_course.models import class_densenet
from densenet_course.studies.features import reuse

ASSETS = Path(__file__).parents[1] / "assets"
SIZE = 28  # pixels a side


def packaged_images():
    """Read the test images that the package holds: 100 of each class.

    Returns:
        (images, labels): uint8 (1000, 1, 28, 28) and int64 (1000,).
    """
    images, labels = (
        torch.frombuffer(bytearray(gzip.decompress((ASSETS / f"t10k-{name}-ubyte.gz").read_bytes())[head:]),
                         dtype=torch.uint8)
        for name, head in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return images.view(-1, 1, SIZE, SIZE), labels.long()


@torch.no_grad()
def choose(model, images, labels):
    """Choose twenty images: the first of each class that the network gets right, and the first ten it gets wrong.

    Of those that it gets wrong, no class comes more than twice; else shirts would fill the row.

    Args:
        model: a classifier in evaluation mode.
        images: uint8 (N, 1, H, W).
        labels: int64 (N,).

    Returns:
        (places, said): which images, and the class that the network says of each.

    Raises:
        ValueError: there are too few of one kind.
    """
    said = torch.cat([model(normalise(part)).argmax(1) for part in images.split(250)])
    is_right = said == labels
    every = range(len(CLASS_NAMES))
    right = [place for label in every for place in _first(is_right & (labels == label), 1)]
    wrong = [place for label in every for place in _first(~is_right & (labels == label), 2)]
    places = [*right, *sorted(wrong)[:10]]
    if len(places) != 20:
        raise ValueError(f"images: expected ten that the network gets right and ten it gets wrong, found {len(places)}")
    return places, said[places].tolist()


def _first(mask, count):
    return torch.nonzero(mask)[:count, 0].tolist()


def parts(model):
    """Describe the network part by part, in the order of computation.

    Returns:
        A list of dicts: "name", "kind" (stem, layer, transition, head), "prefix" of its weights, "reads" (channels),
        "channels" and "size" of what it puts out, "sources" (places in this list), "strengths" (of the weights on each
        source, relative to their mean, as lesson 10 measures them), "parameters" and "multiply_adds".
    """
    config = model.config
    rows = {row.name: row for row in accounting.trace(config, SIZE)}
    found = [_part("stem", "stem", "features.conv0", rows["stem"], config.in_channels, [], [])]
    for number, (num_layers, table) in enumerate(zip(config.block_layers, reuse(model), strict=True), start=1):
        strengths = table["weights"] / table["weights"].nanmean(dim=1, keepdim=True)
        strengths = [[round(value, 4) for value in row[~row.isnan()].tolist()] for row in strengths]
        first, entry = len(found) - 1, found[-1]
        inputs = accounting.layer_inputs(entry["channels"], num_layers=num_layers, growth_rate=config.growth_rate)
        for i, reads in enumerate(inputs):
            name = f"{number}.{i + 1}"
            cost = accounting.layer_cost(config, reads, name=name, height=entry["size"], width=entry["size"])
            prefix = f"features.denseblock{number}.denselayer{i + 1}."
            found.append(_part(name, "layer", prefix, cost, reads, range(first, len(found)), strengths[i]))
        sources, is_last = range(first, len(found)), number == len(config.block_layers)
        name, kind, prefix, row = ("classifier", "head", "", rows["head"]) if is_last else (
            f"transition {number}", "transition", f"features.transition{number}.", rows[f"transition{number}"])
        leave = rows[f"denseblock{number}"].channels
        found.append(_part(name, kind, prefix, row, leave, sources, strengths[-1]))
    return found


def _part(name, kind, prefix, cost, reads, sources, strengths):
    return {"name": name, "kind": kind, "prefix": prefix, "reads": reads, "channels": cost.channels,
            "size": cost.height, "sources": list(sources), "strengths": strengths, "parameters": cost.parameters,
            "multiply_adds": cost.multiply_adds}


@cache
def chosen_images():
    """Return the twenty images, uint8 (20, 1, 28, 28), their labels, and the class that the network says of each."""
    images, labels = packaged_images()
    places, said = choose(class_densenet(weights="DEFAULT").eval(), images, labels)
    return images[places], labels[places].tolist(), said


@cache
def pack():
    """Put the class network and its twenty images into bytes.

    Raises:
        ValueError: a weight is no half.
    """
    model = class_densenet(weights="DEFAULT").eval()
    images, labels, said = chosen_images()
    tensors, body = {}, bytearray()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            if not torch.equal(value.half().float(), value):
                raise ValueError(f"{name}: expected numbers in half precision, as the published weights are")
            tensors[name] = [len(body), value.numel()]
            body += value.half().numpy().astype("<f2").tobytes()
    header = {
        "classes": CLASS_NAMES, "mean": MEAN, "std": STD, "imageSize": SIZE, "parts": parts(model), "tensors": tensors,
        "images": [{"label": label, "said": guess, "start": len(body) + i * SIZE**2}
                   for i, (label, guess) in enumerate(zip(labels, said, strict=True))],
    }
    body += images.numpy().tobytes()
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return struct.pack("<I", len(text)) + text + bytes(body)
