"""Hold what an answer reports against what the judge computed, and name the mistake."""

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.wrong import Wrong

TOLERANCE = 2e-4  # of the largest expected value; float32 sums in another order differ by some 1e-6


def expect(what, expected, got, *, because="", suspects=()):
    """Compare two plain values exactly.

    Args:
        what: what is compared, as the message begins.
        expected: from the judge.
        got: from the answer.
        because: how ``expected`` comes about, for instance "= 3 + 2·10".
        suspects: pairs (value that a known mistake gives, message that names the mistake).

    Raises:
        Wrong: they differ.
    """
    if type(expected) is type(got) and expected == got:
        return
    cause = next((message for value, message in suspects if value == got and value != expected), "")
    raise Wrong(what, f"{expected} {because}".rstrip(), f"{got}", cause)


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
    """Tell whether two tensors of one shape agree up to rounding."""
    if expected.shape != got.shape:
        return False
    scale = expected.double().abs().max().item() if expected.numel() else 0.0
    worst = (expected.double() - got.double()).abs().max().item() if expected.numel() else 0.0
    return worst <= tolerance * max(scale, 1e-12)  # false for NaN


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
    missing, extra = _without(wanted, found), _without(found, wanted)
    if not missing and not extra:
        return
    parts = [f"missing {_listed(missing)}"] * bool(missing) + [f"too many {_listed(extra)}"] * bool(extra)
    cause = next((note for shape, note in (notes or {}).items() if shape in extra or shape in missing), "")
    raise Wrong("parameters by shape", where="; ".join(parts), cause=cause)


def _without(shapes, others):
    rest = list(others)
    return [shape for shape in shapes if shape not in rest or rest.remove(shape)]


def _listed(shapes):
    counts = {shape: shapes.count(shape) for shape in shapes}
    words = [f"{count} × {shape}" if count > 1 else f"{shape}" for shape, count in counts.items()]
    return ", ".join(words[:4]) + (", …" if len(words) > 4 else "")
