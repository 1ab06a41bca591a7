"""Load weights into this package's DenseNets: those that torchvision publishes, those of the class network, and files.

Files are taken as people have them: a ``state_dict``, or a whole checkpoint with one inside; saved from a bare network,
or from one in ``DataParallel`` or ``torch.compile``. What is none of these is refused by what it is.
"""

import contextlib
import enum
import os
import pickle
import re
import sys
from pathlib import Path
from urllib.parse import urlparse

import torch

CHECKPOINT = Path(__file__).parent / "assets" / "class_densenet.pt"
OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
WRAPPER = re.compile(r"(^|\.)(?:(?:module|_orig_mod)\.)+")  # DataParallel's and torch.compile's, around any part
ATTRIBUTES = ("model.", "network.", "net.", "backbone.")  # what a trainer's class calls the network it holds
INSIDE = ("state_dict", "model_state_dict", "model", "network", "net", "weights")  # where a checkpoint keeps weights
SIZES = (("num_classes", "classifier.weight", 0), ("in_channels", "features.conv0.weight", 1))  # option, tensor, axis
HEADS = (  # how a file begins that holds no weights, or not as PyTorch writes them; what it is, and what to do
    (rb"(?s:.{8})\{\"", "is a safetensors file",
     'Convert it once: torch.save(safetensors.torch.load_file(FILE), "weights.pth")'),
    (rb"\s*<", "is a web page, perhaps a login or an error", "Delete it, and fetch the weights again"),
    (rb"version https://git-lfs", "is a pointer of Git LFS, not the weights themselves", "Run: git lfs pull"),
    (rb"\x89HDF", "is an HDF5 file, as Keras writes it", "Give a file that torch.save has written"),
    (rb"\s*[{\[]|[\w\s,.:;#/-]{32}", "is text", "Delete it, and fetch the weights again"),
)


def modern_keys(state_dict):
    """Rename the keys of old checkpoints: ``denselayer1.norm.1.weight`` becomes ``denselayer1.norm1.weight``."""
    return {OLD_KEY.sub(r"\1\2.", key): value for key, value in state_dict.items()}


def load_pretrained(model, name, weights):
    """Load weights into a DenseNet, all of them or none.

    Args:
        model: a ``DenseNet``.
        name: torchvision's name of the variant, for instance "densenet121"; or "class_densenet".
        weights: "DEFAULT", or another name or member of torchvision's enumeration for this variant; a URL; or the path
            of a file with a ``state_dict``, alone or in a checkpoint.

    Raises:
        ValueError: the weights are unknown, the file holds none, or they do not fit the model.
        OSError: the weights cannot be fetched or read; the message says what to do.
    """
    state_dict, source = _read(name, weights)
    differences = _differences(model.state_dict(), state_dict)
    if differences:
        raise ValueError(f"the weights {source} do not fit this {name}: {differences}")
    model.load_state_dict(state_dict)


def saved_sizes(name, weights):
    """Tell for how many classes and channels a network must be built to take some weights.

    Args:
        name, weights: as for ``load_pretrained``.

    Returns:
        The options of a factory of ``models``: "num_classes" and "in_channels", as far as the weights tell.

    Raises:
        ValueError: the weights are unknown, or the file holds none.
        OSError: the weights cannot be fetched or read; the message says what to do.
    """
    state_dict, _ = _read(name, weights)
    return {option: state_dict[key].shape[axis] for option, key, axis in SIZES
            if key in state_dict and state_dict[key].ndim > axis}


def _read(name, weights):
    """Return the weights by today's names, and where they come from."""
    published = _published(name)
    source = _find(published, weights)
    is_published = source in published.values()
    loaded = _download(name, source, check_hash=is_published) if "://" in source else read_file(source)
    return modern_keys(unwrap(loaded, source)), source


def _find(urls, weights):
    """Return the URL or the path that ``weights`` stands for; ``urls`` are those of the names."""
    if isinstance(weights, enum.Enum):
        found = weights.name if getattr(weights, "url", None) in urls.values() else None
    else:
        found = re.sub(r"^DenseNet\d+_Weights\.", "", weights) if isinstance(weights, str) else None
    if found in urls:
        return urls[found]
    if isinstance(weights, str) and "://" in weights:
        return weights
    is_path = isinstance(weights, (str, os.PathLike)) and not isinstance(weights, enum.Enum)
    path = Path(weights).expanduser() if is_path else None
    if is_path and (path.exists() or path.suffix or len(path.parts) > 1):
        return str(path)
    got = repr(weights) if isinstance(weights, (str, bool, int, enum.Enum)) else f"a {type(weights).__name__}"
    raise ValueError(f"weights: expected one of {', '.join(urls)}, a URL or a file, got {got}")


def _published(name):
    """Return the URLs or paths of a network's published weights, by name."""
    if name == "class_densenet":
        return {"DEFAULT": str(CHECKPOINT)}  # halves, copied into float32
    import torchvision

    choices = torchvision.models.get_model_weights(name)
    return {choice: member.url for choice, member in choices.__members__.items()}


def _download(name, url, *, check_hash):
    """Fetch a file into PyTorch's cache, unless it is there, and read it.

    The first digits of its hash are checked where they stand in its name; so torchvision names its files.
    """
    kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    try:
        with contextlib.redirect_stdout(sys.stderr):  # "Downloading …" is news of the work, not its result
            return torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=check_hash, weights_only=True)
    except Exception as error:  # refused, timed out, a hash that does not match, or whatever reading raises
        if kept.is_file():
            return read_file(kept)  # says what is wrong with it
        raise OSError(
            f"could not download {url}: {error}. The lessons do not need these weights. To use them, fetch that file "
            f"on a machine with a network and put it into {kept.parent}, or pass its path: {name}(weights=\"FILE.pth\")"
        ) from error


def read_file(path):
    """Read what ``torch.save`` has written, whatever the file is called; tensors arrive on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ValueError: it is no such file, is damaged, or holds objects that could run code when read.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"weights: expected a file, got the folder {path}; name a file in it")
    if path == CHECKPOINT and not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: install densenet-course again, or make them in a checkout with "
                                "python benchmarks/class_checkpoint.py")
    if not path.is_file():
        raise FileNotFoundError(f'weights: no file at {path}; give a saved state_dict, a URL or "DEFAULT"')
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise ValueError(f"{path} is empty: it was never written whole. Delete it, and fetch the weights again")
    for pattern, what, remedy in HEADS:
        if re.match(pattern, head):
            raise ValueError(f"weights: expected a file that torch.save has written; {path} {what}. {remedy}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file raises half a dozen kinds
        raise ValueError(f"{path} {_trouble(error, path, head)}") from error


def _trouble(error, path, head):
    """Say what is wrong with a file that ``torch.load`` refused, and what to do."""
    if "TorchScript" in str(error):
        return ('is a TorchScript archive, not a state_dict. Save its numbers once: '
                'torch.save(torch.jit.load(FILE).state_dict(), "weights.pth")')
    if isinstance(error, pickle.UnpicklingError) and ("GLOBAL" in str(error) or head.startswith(b"PK")):
        return ("holds Python objects besides tensors, which could run code when read: a whole model, or a checkpoint "
                "with its settings. If you trust where it comes from, save its numbers alone, once: saved = "
                'torch.load(FILE, weights_only=False), then torch.save(saved.state_dict(), "weights.pth"), or '
                'saved["state_dict"] of a checkpoint')
    return (f"is damaged, or cut off by a download that was interrupted ({path.stat().st_size:,} bytes). Delete it, "
            "and fetch the weights again")


def unwrap(loaded, source):
    """Find the weights in what a file held, and take off the names of what the network was wrapped in.

    Args:
        loaded: what ``read_file`` returned.
        source: where it comes from, for messages.

    Returns:
        A dict, name → tensor.

    Raises:
        ValueError: there are no weights in it.
    """
    if not isinstance(loaded, dict):
        raise ValueError(f"{source}: expected a state_dict, names with tensors, got a {type(loaded).__name__}")
    if not _is_state_dict(loaded):
        inside = [key for key, value in loaded.items() if _is_state_dict(value)]
        chosen = next((key for key in INSIDE if key in inside), inside[0] if len(inside) == 1 else None)
        if chosen is None:
            entries = ", ".join(map(str, list(loaded)[:8])) or "nothing"
            raise ValueError(f"{source}: expected a state_dict, alone or as one of {', '.join(INSIDE)}, got {entries}")
        loaded = loaded[chosen]
    found = {WRAPPER.sub(r"\1", key): value for key, value in loaded.items() if key != "n_averaged"}  # AveragedModel's
    for prefix in ATTRIBUTES:
        if all(key.startswith(prefix) for key in found):
            found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found


def _is_state_dict(value):
    return isinstance(value, dict) and bool(value) and all(isinstance(v, torch.Tensor) for v in value.values())


def _differences(wanted, given):
    """Say how the weights given differ from those wanted, and what to do; "" where they fit."""
    shapes = {key: f"{key} is {tuple(given[key].shape)} there and {tuple(value.shape)} here"
              for key, value in wanted.items() if key in given and given[key].shape != value.shape}
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]  # old files
    unknown = [key for key in given if key not in wanted]
    told = [_some(list(shapes.values()))] if shapes else []
    told += [f"they lack {_some(missing)}"] if missing else []
    told += [f"they hold {_some(unknown)}, which this network does not have"] if unknown else []
    as_saved = [f"{option}={given[key].shape[axis]}" for option, key, axis in SIZES
                if key in shapes and given[key].shape[axis:axis + 1] != wanted[key].shape[axis:axis + 1]]
    if as_saved:
        told.append(f"build it with {', '.join(as_saved)}, load the weights, then replace the part that must differ")
    return "; ".join(told)


def _some(items, most=3):
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
