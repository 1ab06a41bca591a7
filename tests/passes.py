"""What each pass of ``efficient`` must compute, on any device: drawn in double precision, compared there."""

import torch

from densenet_course.efficient.kernels import wide

LAST = {"memory_format": torch.channels_last}
SIZES = {  # images, channels, channels of the wider maps they are part of, height, width
    "part": (3, 5, 9, 4, 6), "all": (2, 4, 4, 3, 3), "one channel": (3, 1, 4, 5, 2), "vectors": (4, 40, 64, 7, 7),
    "one pixel": (6, 3, 5, 1, 1), "one row": (2, 3, 5, 1, 7), "one column": (2, 3, 5, 7, 1),
    "threads": (5, 33, 48, 28, 28),
}
EXACT = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


def part(size, dtype, device, *, offset=0.0):
    """Draw some channels of wider maps."""
    count, channels, width, *edges = SIZES[size]
    maps = torch.randn(count, width, *edges, dtype=torch.float64) + offset
    return maps.to(device, dtype).contiguous(**LAST)[:, width - channels:]


def numbers(size, dtype, device):
    return torch.randn(SIZES[size][1], dtype=torch.float64).to(device, wide(dtype))


def exact(numbers):
    return numbers.double().view(-1, 1, 1)


def assert_near(ours, right, dtype):
    assert (ours.double() - right.double()).abs().max() <= EXACT[dtype] * right.double().abs().max().clamp_min(1)


def check_activate(kernels, size, dtype, device="cpu"):
    maps, scale, shift = part(size, dtype, device), numbers(size, dtype, device), numbers(size, dtype, device)
    active = kernels.activate(maps, scale, shift)
    assert active.dtype == dtype and active.is_contiguous(**LAST)
    assert_near(active, (maps.double() * exact(scale) + exact(shift)).relu(), dtype)


def check_store(kernels, size, dtype, device="cpu", *, offset=0.0):
    made, wider = part(size, dtype, device, offset=offset), part(size, dtype, device)
    mean, var = kernels.store(made, wider)
    assert torch.equal(wider, made)
    assert mean.dtype == var.dtype == wide(dtype)
    right_var, right_mean = torch.var_mean(made.double(), (0, 2, 3), correction=0)
    assert_near(mean, right_mean, torch.float32 if dtype != torch.float64 else dtype)
    assert (var.double() - right_var).abs().max() <= 1e-4 * right_var.max() + 1e-9  # far from 0, too
    for a, b in zip(kernels.store(made, None), (mean, var), strict=True):
        assert torch.equal(a, b)


def check_send_back(kernels, size, dtype, device="cpu", *, is_first=False):
    maps, scale, mean = part(size, dtype, device), numbers(size, dtype, device), numbers(size, dtype, device)
    active, grad = (part(size, dtype, device).contiguous(**LAST) for _ in range(2))
    total = part(size, dtype, device)
    before = total.clone()
    if is_first:
        total.fill_(float("nan"))  # as memory that was just allocated may hold
    sums, moments = kernels.send_back(grad.clone(), active, maps, scale, mean, total, is_first)
    passed = torch.where(active > 0, grad, 0).double()
    assert_near(total, passed * exact(scale) + (0 if is_first else before.double()), dtype)
    assert_near(sums, passed.sum((0, 2, 3)), dtype)
    assert_near(moments, (passed * (maps.double() - exact(mean))).sum((0, 2, 3)), dtype)
    assert sums.dtype == moments.dtype == wide(dtype)


def check_finish(kernels, size, dtype, device="cpu"):
    total, maps = part(size, dtype, device), part(size, dtype, device)
    mean, slope, shift = (numbers(size, dtype, device) for _ in range(3))
    grad = kernels.finish(total, maps, mean, slope, shift)
    assert grad.dtype == dtype and grad.is_contiguous(**LAST)
    assert_near(grad, total.double() - (maps.double() - exact(mean)) * exact(slope) - exact(shift), dtype)


def check_not_a_number(kernels, device="cpu"):
    maps = torch.tensor([[float("nan"), -1.0]], device=device).view(1, 2, 1, 1)
    active = kernels.activate(maps, torch.ones(2, device=device), torch.zeros(2, device=device))
    assert active[0, 0].isnan() and active[0, 1] == 0
