"""Write a network as an ONNX file, and hold the file against PyTorch before it counts.

ONNX is what other runtimes read: ONNX Runtime, OpenVINO, browsers, phones. The file holds the weights in fp32 and takes
any number of images of one size.
"""

import copy
import importlib.util
from pathlib import Path

import torch

from densenet_course.files import replacing

NEEDED = ("onnx", "onnxscript", "onnxruntime")  # the format, PyTorch's exporter, and what the file is checked with
BATCHES = (1, 2, 5)  # images at once in the check
TOLERANCE = 1e-4  # of the largest logit; fp32 in another order of summing stays far below


def export_onnx(model, path, *shape):
    """Write a network to an ONNX file that computes the same, whatever the number of images.

    The file's input is "images" ``(N, *shape)``, its output "logits", both fp32. Efficient and native blocks are
    written as the plain ones that they stand for. The file takes its place only after ONNX Runtime has computed the
    same logits from it, for batches of 1, 2 and 5 random images.

    Args:
        model: an ``nn.Module`` from images to logits, on any device; it is left as it is, and written in eval mode.
        path: the file to make or to replace; its name ends in .onnx.
        shape: of one image, for instance 1, 28, 28.

    Returns:
        The largest difference of a logit, as a share of the largest logit.

    Raises:
        ModuleNotFoundError: a package that this needs is not installed.
        ValueError: the file's name is no ONNX file's, the network cannot be written, or the file computes other logits.
        OSError: the file cannot be written.
    """
    refuse_missing_packages()
    path = onnx_path(path)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape: expected channels, height and width of an image, at least 1 each, got {shape}")
    model = copy.deepcopy(model).cpu().float().eval()
    batches = [random_images(count, shape) for count in BATCHES]
    expected = [logits_of(model, images) for images in batches]
    with replacing(path) as draft:
        program_of(model, batches[-1]).save(draft, external_data=False)
        return max(map(difference, computed_from(draft, batches), expected))


def refuse_missing_packages():
    """Name what is not installed and how to install it.

    Raises:
        ModuleNotFoundError: a package that export needs is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"export needs {', '.join(NEEDED)}; there is no {', '.join(missing)}. Install them: "
                                  f"python -m pip install {' '.join(missing)}")


def onnx_path(path):
    """Return the path of an ONNX file, so that nothing else is ever replaced by one.

    Raises:
        ValueError: it is a folder, or its name does not end in .onnx.
    """
    path = Path(path)
    if path.is_dir() or path.suffix != ".onnx":
        what = "the folder " if path.is_dir() else ""
        raise ValueError(f"expected a file whose name ends in .onnx, got {what}{path}")
    return path


def random_images(count, shape):
    """Draw images that are the same in every run: ``(count, *shape)``, standard normal."""
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))


@torch.no_grad()
def logits_of(model, images):
    """Compute what the file is held against.

    Raises:
        ValueError: the images do not fit the network, or its logits are not finite numbers.
    """
    try:
        logits = model(images)
    except RuntimeError as error:  # PyTorch's own words where a network has no check of its own
        raise ValueError(f"the network does not take images of shape {tuple(images.shape)}: "
                         f"{first_line(error)}") from error
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"network: expected a tensor of logits, got a {type(logits).__name__}")
    if not logits.isfinite().all():
        raise ValueError("the network's logits are not finite, as after a training that diverged; expected numbers. "
                         "Train it again with a smaller peak rate")
    return logits


def program_of(model, images):
    """Translate a network; the batch is left open.

    Raises:
        ValueError: PyTorch cannot follow it, for instance because its path depends on the values of its images.
    """
    try:
        program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
        return torch.onnx.export(program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"])
    except Exception as error:  # torch.export and the exporter raise half a dozen kinds
        raise ValueError(f"PyTorch cannot export this {type(model).__name__}: {first_line(error)}. What it computes "
                         "must not depend on the values of the images, nor on their number") from error


def computed_from(path, batches):
    """Compute the logits of some batches from an ONNX file with ONNX Runtime.

    Raises:
        ValueError: it refuses the file or a number of images.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0]) for images in batches]
    except Exception as error:  # its exceptions have no common class
        raise ValueError(f"ONNX Runtime refuses the exported file: {first_line(error)}. Nothing was written") from error


def difference(logits, expected):
    """Compare logits; return the largest difference as a share of the largest logit.

    Raises:
        ValueError: it is too large for rounding, or the shapes differ.
    """
    if logits.shape != expected.shape:
        raise ValueError(f"the exported file makes logits {tuple(logits.shape)}, PyTorch {tuple(expected.shape)}")
    share = ((logits - expected).abs().max() / expected.abs().max().clamp(min=1e-30)).item()
    if not share <= TOLERANCE:  # NaN fails, too
        raise ValueError(f"the exported file computes other logits than PyTorch: they differ by {share:.1e} of the "
                         f"largest, at most {TOLERANCE:.0e} is rounding. Nothing was written")
    return share


def first_line(error):
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0].rstrip(".")
