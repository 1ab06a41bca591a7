"""Load weights into this package's DenseNets: those that torchvision publishes, and those of the class network."""

import re
from pathlib import Path

import torch

CHECKPOINT = Path(__file__).parent / "assets" / "class_densenet.pt"
OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


def modern_keys(state_dict):
    """Rename the keys of old checkpoints: ``denselayer1.norm.1.weight`` becomes ``denselayer1.norm1.weight``."""
    return {OLD_KEY.sub(r"\1\2.", key): value for key, value in state_dict.items()}


def load_pretrained(model, name, weights):
    """Load weights into a DenseNet, strictly.

    Args:
        model: a ``DenseNet``.
        name: torchvision's name of the variant, for instance "densenet121"; or "class_densenet".
        weights: "DEFAULT" or another name of torchvision's; a URL; or the path of a saved ``state_dict``.

    Raises:
        ValueError: the name is unknown, or the weights do not fit the model.
        OSError: the weights cannot be fetched or read; the message says what to do.
    """
    state_dict = modern_keys(_read(name, weights))
    try:
        model.load_state_dict(state_dict, strict=True)
    except RuntimeError as error:
        classes, channels = (10, 1) if name == "class_densenet" else (1000, 3)
        raise ValueError(
            f"the weights {weights!r} do not fit this {name}: published weights need num_classes={classes} "
            f"and in_channels={channels}; build that network first, then replace its classifier. {error}"
        ) from error


def _read(name, weights):
    if name == "class_densenet" and weights == "DEFAULT":
        if not CHECKPOINT.is_file():
            raise FileNotFoundError(f"no weights at {CHECKPOINT}: install densenet-course again, or make them in a "
                                    "checkout with python benchmarks/class_checkpoint.py")
        return torch.load(CHECKPOINT, map_location="cpu", weights_only=True)  # halves, copied into float32
    is_url = "://" in str(weights)
    if not is_url and Path(weights).suffix in {".pth", ".pt"}:
        if not Path(weights).is_file():
            raise FileNotFoundError(f'weights: no file at {weights}; give a saved state_dict, a URL or "DEFAULT"')
        return torch.load(weights, map_location="cpu", weights_only=True)
    url = weights if is_url else _torchvision_url(name, weights)
    try:
        # torchvision writes the first digits of the file's hash into its name; another server need not.
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=not is_url, weights_only=True)
    except (OSError, RuntimeError) as error:  # refused, timed out, or a hash that does not match
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise OSError(
            f"could not download {url}: {error}. The lessons do not need these weights. To use them, fetch that file "
            f"on a machine with a network and put it into {folder}, or pass its path: {name}(weights=\"FILE.pth\")"
        ) from error


def _torchvision_url(name, weights):
    import torchvision

    choices = torchvision.models.get_model_weights(name)
    if weights not in choices.__members__:
        names = ", ".join(choices.__members__)
        raise ValueError(f"weights: expected one of {names}, a URL or a file, got {weights!r}")
    return choices[weights].url
