"""Hold what an answer reports against what the judge computed, and name the mistake."""

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.wrong import Wrong

TOLERANCE = 2e-4  # of the largest expected value; float32 sums in another order differ by some 1e-6


def expect(what, expected, got, *, suspects=(), cause=""):
    """Compare two plain values exactly.

    Args:
        what: what is compared, as the message begins.
        expected: from the judge.
        got: from the answer.
        suspects: pairs (value that a known mistake gives, message that names the mistake).
        cause: the likely cause where no suspect fits.

    Raises:
        Wrong: they differ.
    """
    if type(expected) is type(got) and expected == got:
        return
    cause = next((message for value, message in suspects if value == got and value != expected), cause)
    raise Wrong(what, f"{expected}", f"{got}", cause)


def expect_close(what, expected, got, *, suspects=(), tolerance=TOLERANCE):
    """Compare two tensors, or two numbers, up to rounding.

    Args:
        what: what is compared, as the message begins.
        expected: from the judge.
        got: from the answer.
        suspects: pairs (tensor that a known mistake gives, message that names the mistake).
        tolerance: largest difference, in parts of the largest expected value.

    Raises:
        Wrong: other shape, other dtype, not finite, or other values.
    """
    if not isinstance(expected, torch.Tensor):
        expected = torch.tensor(expected, dtype=torch.float64)
        got = torch.tensor(got, dtype=torch.float64)
    if not isinstance(got, torch.Tensor):
        raise Wrong(what, f"a tensor of shape {tuple(expected.shape)}", repr(got))
    if got.shape != expected.shape:
        cause = next((message for value, message in suspects if value.shape == got.shape), "")
        raise Wrong(what, f"shape {tuple(expected.shape)}", f"{tuple(got.shape)}", cause)
    if got.dtype != expected.dtype:
        raise Wrong(what, str(expected.dtype), str(got.dtype))
    if close(expected, got, tolerance=tolerance):
        return
    if not torch.isfinite(got).all() and torch.isfinite(expected).all():
        raise Wrong(what, cause=f"{int((~torch.isfinite(got)).sum())} values are NaN or infinite.")
    for value, message in suspects:
        if value.shape == got.shape and close(value, got, tolerance=tolerance):
            raise Wrong(what, cause=message)
    raise difference(what, expected, got)


def close(expected, got, *, tolerance=TOLERANCE):
    """Tell whether two numbers, or two tensors of one shape, agree up to rounding."""
    expected, got = (torch.as_tensor(value, dtype=torch.float64) for value in (expected, got))
    if expected.shape != got.shape:
        return False
    if not expected.numel():
        return True
    return (expected - got).abs().max().item() <= tolerance * max(expected.abs().max().item(), 1e-12)  # false for NaN


def alike(expected, got, *, tolerance=TOLERANCE):
    """Tell whether two plain values are the same: types, lengths and keys exactly, numbers that are no whole ones up to
    rounding, NaN and infinity where the other has them."""
    if type(expected) is not type(got):
        return False
    if isinstance(expected, dict):
        return expected.keys() == got.keys() and all(alike(v, got[k], tolerance=tolerance) for k, v in expected.items())
    if isinstance(expected, list | tuple):
        return len(expected) == len(got) and all(alike(a, b, tolerance=tolerance)
                                                 for a, b in zip(expected, got, strict=True))
    if isinstance(expected, float):
        expected, got = torch.tensor(expected), torch.tensor(got)
    if not isinstance(expected, torch.Tensor):
        return expected == got
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return False
    finite = torch.isfinite(expected)
    return (torch.equal(expected[~finite].nan_to_num(), got[~finite].nan_to_num())
            and torch.equal(finite, torch.isfinite(got)) and close(expected[finite], got[finite], tolerance=tolerance))


def told(expected, got, what="", *, tolerance=TOLERANCE):
    """Return a ``Wrong`` that tells the first difference between two plain values that are not ``alike``."""
    pairs = ()
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        pairs = [(f"{what}{key}", value, got[key]) for key, value in expected.items()]
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got) and _is_nested(expected):
        pairs = [(what, a, b) for a, b in zip(expected, got, strict=True)]
    for label, a, b in pairs:
        if not alike(a, b, tolerance=tolerance):
            return told(a, b, label, tolerance=tolerance)
    if isinstance(expected, torch.Tensor):
        try:
            expect_close(what, expected, got, tolerance=tolerance)
        except Wrong as wrong:
            return wrong
    if isinstance(expected, float) and isinstance(got, float):
        return Wrong(what, f"{expected:.5g}", f"{got:.5g}")
    return Wrong(what, _worded(expected), _worded(got))


def _is_nested(values):
    return any(isinstance(value, torch.Tensor | dict) for value in values)


def _worded(value):
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else str(value)


def difference(what, expected, got):
    """Return a ``Wrong`` that says how far two tensors are apart."""
    if expected.ndim == 0:
        return Wrong(what, f"{expected.item():.6g}", f"{got.item():.6g}")
    apart = (expected.double() - got.double()).abs()
    place = tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))
    share = (apart > TOLERANCE * expected.double().abs().max()).double().mean().item()
    where = f"{share:.0%} of the values differ; the largest difference is at {place}"
    return Wrong(what, f"{expected[place].item():.4g}", f"{got[place].item():.4g}", where=where)


def rehearse(module, script):
    """Play a script with a network of the judge's own.

    Args:
        module: the judge's network, freshly built.
        script: see ``probes.perform_script``.

    Returns:
        One reply for each step, plain values.
    """
    from densenet_course.checks.engine.answer import plain

    return plain(probes.perform_script(module, script))


def expect_parameters(expected, got, *, notes=None):
    """Compare lists of parameters by shape, whatever their names and order.

    Args:
        expected: the reply of step "parameters" of the judge's network.
        got: that of the answer's.
        notes: {shape: message} for shapes whose presence or absence has a known cause, the most telling first.

    Raises:
        Wrong: a shape is missing, or one too many.
    """
    wanted, found = [shape for _, shape, _ in expected], [shape for _, shape, _ in got]
    missing, extra = without(wanted, found), without(found, wanted)
    if not missing and not extra:
        return
    parts = [f"missing {_listed(missing)}"] * bool(missing) + [f"too many {_listed(extra)}"] * bool(extra)
    linear, others = (sum(len(shape) == 2 for shape in shapes) for shapes in (wanted, found))
    if 0 < linear < others:
        raise Wrong("parameters by shape", where="; ".join(parts),
                    cause=f"There are {others} linear layers. Expected: {linear}.")
    cause = next((note for shape, note in (notes or {}).items() if shape in extra or shape in missing), "")
    raise Wrong("parameters by shape", where="; ".join(parts), cause=cause)


def without(shapes, others):
    """Return the items of a list that another has not, each as often as it is there more often."""
    rest = list(others)
    return [shape for shape in shapes if shape not in rest or rest.remove(shape)]


def _listed(shapes):
    counts = {shape: shapes.count(shape) for shape in shapes}
    words = [f"{count} × {shape}" if count > 1 else f"{shape}" for shape, count in counts.items()]
    return ", ".join(words[:4]) + (", …" if len(words) > 4 else "")
