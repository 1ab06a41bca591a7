"""The sample of FashionMNIST in this package: 600 training and 100 test images of each class, in ``assets/``.

``benchmarks/make_sample.py`` draws it from the full set, with a fixed seed, and writes it as gzipped IDX files.
"""

import json
from pathlib import Path

from densenet_course.fetching.intake import BadFile, Intake, problems

ASSETS = Path(__file__).parents[1] / "assets"
MANIFEST = ASSETS / "sample.json"


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
    """Compose the message that the sample stands in for the full set. Plain ASCII: it must print on any terminal."""
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
