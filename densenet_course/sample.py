"""The sample of FashionMNIST in this package: ``python -m densenet_course.sample`` makes it from the full set.

600 training and 100 test images of each class, drawn with a fixed seed, as gzipped IDX files in ``assets/``.
"""

import gzip
import hashlib
import json
import struct
from pathlib import Path

from densenet_course.intake import BadFile, Intake, problems

ASSETS = Path(__file__).parent / "assets"
MANIFEST = ASSETS / "sample.json"
PER_CLASS = {"train": 600, "t10k": 100}
SEED = 0


def files():
    """Read name → (size in bytes, SHA-256) of the sample's uncompressed files."""
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()}


def install(root):
    """Unpack the sample into ``<root>/sample`` where it is not there yet.

    Returns:
        The sample's own root, for ``torchvision.datasets.FashionMNIST(root=...)``.

    Raises:
        RuntimeError: the package's own copy is damaged.
    """
    place = Path(root) / "sample"
    if not problems(place, files()):
        return place
    try:
        with Intake(place, files()) as intake:
            for name in list(intake.missing):
                intake.accept(name, ASSETS / f"{name}.gz")
    except (BadFile, FileNotFoundError) as error:
        raise RuntimeError(f"the sample in {ASSETS} is damaged ({error}); install densenet-course again") from error
    return place


def announcement(root, download=True):
    """Word the message that the sample stands in for the full set. Plain ASCII: it must print on any terminal."""
    lines = (
        "SAMPLE DATA: this is not the full FashionMNIST.",
        "",
        "The full set was not found on this machine, and could not be downloaded." if download else
        "The full set was not found on this machine, and downloading was switched off.",
        "Instead you work with 6,000 training and 1,000 test images (of 60,000 and 10,000).",
        "Everything runs, but accuracies will be lower than the lessons say.",
        "",
        "To get the full set, do one of these, then run this again:",
        "  - connect this machine to the network;",
        "  - on Debian or Ubuntu: sudo apt-get install dataset-fashion-mnist",
        "  - copy the four files {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz into",
        f"    {Path(root) / 'FashionMNIST' / 'raw'}",
    )
    width = max(map(len, lines[:-1]))  # a long path may stick out
    frame = "+" + "-" * (width + 2) + "+"
    return "\n".join([frame, *(f"| {line:<{width}} |" for line in lines), frame])


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
    import torch

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    drawn = [order[labels[order] == c][:per_class] for c in range(10)]
    chosen = torch.cat(drawn).sort().values
    return images[chosen], labels[chosen]


def idx_bytes(array):
    """Encode a uint8 tensor as an IDX file: two zeros, type 8, number of dimensions, each length, the values."""
    return struct.pack(f">HBB{array.dim()}I", 0, 8, array.dim(), *array.shape) + array.contiguous().numpy().tobytes()


def build(raw):
    """Make the sample's files from the full set in the folder ``raw``: name → uncompressed bytes."""
    import torch
    from torchvision.datasets.mnist import read_image_file, read_label_file

    built = {}
    for split, per_class in PER_CLASS.items():
        names = f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"
        images, labels = draw(read_image_file(str(raw / names[0])), read_label_file(str(raw / names[1])), per_class)
        built |= {names[0]: idx_bytes(images), names[1]: idx_bytes(labels.to(torch.uint8))}
    return built


def main():
    """Write the sample into ``assets/``, and its sizes and SHA-256 beside it."""
    from densenet_course.fetch import prepare

    location = prepare()
    if location.is_sample:
        raise SystemExit("the sample is made from the full set, which is not on this machine")
    entries = {}
    for name, content in build(location.root / "FashionMNIST" / "raw").items():
        packed = gzip.compress(content, compresslevel=9, mtime=0)
        part = ASSETS / f"{name}.gz.part"
        part.write_bytes(packed)
        part.replace(ASSETS / f"{name}.gz")
        entries[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        print(f"{ASSETS / name}.gz: {len(packed):,} bytes")
    manifest = {"data set": "FashionMNIST, Copyright 2017 Zalando SE, MIT licence (LICENSE-FashionMNIST)",
                "made by": "python -m densenet_course.sample", "seed": SEED, "per class": PER_CLASS, "files": entries}
    part = MANIFEST.with_name("sample.json.part")
    part.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    part.replace(MANIFEST)


if __name__ == "__main__":
    main()
