"""The measurements that lessons and README quote: one JSON file for each script of ``benchmarks/``."""

import json
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
PACKED = Path(__file__).resolve().parent / "assets" / "results"  # the wheel's copy of the same files


def read(name, *, device="cpu"):
    """Read what a benchmark measured.

    Args:
        name: of the script in ``benchmarks/`` that wrote it, for instance "transfer".
        device: "cpu", or "cuda" for the run on a GPU.

    Returns:
        The file's dict; its "provenance" tells machine, versions, command, seeds and date.

    Raises:
        FileNotFoundError: nobody has measured that, or not on this device.
    """
    folder = CHECKOUT if CHECKOUT.is_dir() else PACKED
    path = folder / f"{name}{'_gpu' if device == 'cuda' else ''}.json"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.json")))
        raise FileNotFoundError(f"results: expected one of {known}; got {path.stem!r}. In a checkout, "
                                f"benchmarks/{name}.py measures it")
    return json.loads(path.read_text(encoding="utf-8"))
