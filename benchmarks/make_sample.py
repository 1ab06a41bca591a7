"""Make the sample of FashionMNIST in the package from the full set: ``python benchmarks/make_sample.py``.

600 training and 100 test images of each class, drawn with a fixed seed, as gzipped IDX files in ``assets/``.
"""

import gzip
import hashlib
import struct

import torch
from torchvision.datasets.mnist import read_image_file, read_label_file

from densenet_course.fetching import prepare
from densenet_course.fetching.sample import ASSETS, MANIFEST
from densenet_course.files import replacing, write_json

PER_CLASS = {"train": 600, "t10k": 100}
SEED = 0


def draw(images, labels, per_class, seed=SEED):
    """Draw the same number of images of each class.

    Args:
        images: uint8 (N, 28, 28) or (N, 1, 28, 28).
        labels: int64 (N,).
        per_class: images drawn of each class.
        seed: of the random choice.

    Returns:
        (images, labels) of the drawn ones, in the order of the full set.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    drawn = [order[labels[order] == c][:per_class] for c in range(10)]
    chosen = torch.cat(drawn).sort().values
    return images[chosen], labels[chosen]


def idx_bytes(array):
    """Encode a uint8 tensor as an IDX file: two zeros, type 8, number of dimensions, each length, the values."""
    return struct.pack(f">HBB{array.dim()}I", 0, 8, array.dim(), *array.shape) + array.contiguous().numpy().tobytes()


def build(raw):
    """Make the sample's files from the full set in the folder ``raw``: name → uncompressed bytes."""
    built = {}
    for split, per_class in PER_CLASS.items():
        names = f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"
        images, labels = draw(read_image_file(str(raw / names[0])), read_label_file(str(raw / names[1])), per_class)
        built |= {names[0]: idx_bytes(images), names[1]: idx_bytes(labels.to(torch.uint8))}
    return built


def main():
    """Write the sample into ``assets/``, and its sizes and SHA-256 beside it."""
    location = prepare()
    if location.is_sample:
        raise SystemExit("the sample is made from the full set, which is not on this machine")
    entries = {}
    for name, content in build(location.root / "FashionMNIST" / "raw").items():
        packed = gzip.compress(content, compresslevel=9, mtime=0)
        with replacing(ASSETS / f"{name}.gz") as draft:
            draft.write_bytes(packed)
        entries[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        print(f"{ASSETS / name}.gz: {len(packed):,} bytes")
    manifest = {"data set": "FashionMNIST, Copyright 2017 Zalando SE, MIT licence (LICENSE-FashionMNIST)",
                "made by": "python benchmarks/make_sample.py", "seed": SEED, "per class": PER_CLASS, "files": entries}
    write_json(MANIFEST, manifest)


if __name__ == "__main__":
    main()
