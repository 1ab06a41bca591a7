"""The passes compute the same in both forms, and a machine without a compiler goes on without the compiled ones."""

import shutil

import pytest
import torch
from torch.utils import cpp_extension

from densenet_course import models
from densenet_course.efficient import kernels as efficient_kernels
from densenet_course.efficient.kernels import Operators, build_name, compiler_flags, native, wide

LAST = {"memory_format": torch.channels_last}
SIZES = {  # images, channels, channels of the wider maps they are part of, height, width
    "part": (3, 5, 9, 4, 6), "all": (2, 4, 4, 3, 3), "one channel": (3, 1, 4, 5, 2), "vectors": (4, 40, 64, 7, 7),
    "one pixel": (6, 3, 5, 1, 1), "one row": (2, 3, 5, 1, 7), "one column": (2, 3, 5, 7, 1),
    "threads": (5, 33, 48, 28, 28),
}
EXACT = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
each_size = pytest.mark.parametrize("size", list(SIZES))
each_dtype = pytest.mark.parametrize("dtype", list(EXACT), ids=str)
each_kernel = pytest.mark.parametrize("kernels", [Operators, native()], ids=["operators", "native"])


def part(size, dtype, *, offset=0.0):
    """Draw some channels of wider maps."""
    count, channels, width, *edges = SIZES[size]
    maps = torch.randn(count, width, *edges, dtype=torch.float64) + offset
    return maps.to(dtype).contiguous(**LAST)[:, width - channels:]


def numbers(size, dtype):
    return torch.randn(SIZES[size][1], dtype=torch.float64).to(wide(dtype))


def exact(numbers):
    return numbers.double().view(-1, 1, 1)


def assert_near(ours, right, dtype):
    assert (ours.double() - right.double()).abs().max() <= EXACT[dtype] * right.double().abs().max().clamp_min(1)


def test_the_kernels_are_compiled_where_a_compiler_is():
    assert (native() is Operators) == (shutil.which(cpp_extension.get_cxx_compiler()) is None)


def test_each_kind_of_processor_has_its_own_build(tmp_path):
    names = [build_name(tmp_path / "none")]  # no such list: macOS, Windows
    for i, flags in enumerate(("fma avx2", "fma avx2 avx512f")):
        cpuinfo = tmp_path / str(i)
        cpuinfo.write_text(f"processor : 0\ncpu MHz : {i}\nflags : {flags}\nprocessor : 1\nflags : {flags}\n")
        names.append(build_name(cpuinfo))
        cpuinfo.write_text(cpuinfo.read_text().replace(f"MHz : {i}", "MHz : 7"))
        assert build_name(cpuinfo) == names[-1], "the clock changes from moment to moment"
    assert len(set(names)) == 3 and all(name.isidentifier() for name in names)


def test_windows_is_told_what_the_processor_can():
    assert compiler_flags("win32", "AVX2") == ["/O2", "/arch:AVX2"]
    assert compiler_flags("win32", "DEFAULT") == ["/O2"]
    assert "-march=native" in compiler_flags("linux") and "-fopenmp" in compiler_flags("linux")
    assert "-march=native" in compiler_flags("darwin") and "-fopenmp" not in compiler_flags("darwin")


@each_kernel
@each_dtype
@each_size
def test_activate(kernels, dtype, size):
    maps, scale, shift = part(size, dtype), numbers(size, dtype), numbers(size, dtype)
    active = kernels.activate(maps, scale, shift)
    assert active.dtype == dtype and active.is_contiguous(**LAST)
    assert_near(active, (maps.double() * exact(scale) + exact(shift)).relu(), dtype)


@each_kernel
@pytest.mark.parametrize("offset", [0.0, 100.0])
@each_dtype
@each_size
def test_store(kernels, dtype, size, offset):
    made, wider = part(size, dtype, offset=offset), part(size, dtype)
    mean, var = kernels.store(made, wider)
    assert torch.equal(wider, made)
    assert mean.dtype == var.dtype == wide(dtype)
    right_var, right_mean = torch.var_mean(made.double(), (0, 2, 3), correction=0)
    assert_near(mean, right_mean, torch.float32 if dtype != torch.float64 else dtype)
    assert (var.double() - right_var).abs().max() <= 1e-4 * right_var.max() + 1e-9  # far from 0, too
    for a, b in zip(kernels.store(made, None), (mean, var), strict=True):
        assert torch.equal(a, b)


@each_kernel
@pytest.mark.parametrize("is_first", [True, False])
@each_dtype
@each_size
def test_send_back(kernels, dtype, size, is_first):
    maps, scale, mean = part(size, dtype), numbers(size, dtype), numbers(size, dtype)
    active, grad = (part(size, dtype).contiguous(**LAST) for _ in range(2))
    total = part(size, dtype)
    before = total.clone()
    if is_first:
        total.fill_(float("nan"))  # as memory that was just allocated may hold
    sums, moments = kernels.send_back(grad.clone(), active, maps, scale, mean, total, is_first)
    passed = torch.where(active > 0, grad, 0).double()
    assert_near(total, passed * exact(scale) + (0 if is_first else before.double()), dtype)
    assert_near(sums, passed.sum((0, 2, 3)), dtype)
    assert_near(moments, (passed * (maps.double() - exact(mean))).sum((0, 2, 3)), dtype)
    assert sums.dtype == moments.dtype == wide(dtype)


@each_kernel
@each_dtype
@each_size
def test_finish(kernels, dtype, size):
    total, maps = part(size, dtype), part(size, dtype)
    mean, slope, shift = (numbers(size, dtype) for _ in range(3))
    grad = kernels.finish(total, maps, mean, slope, shift)
    assert grad.dtype == dtype and grad.is_contiguous(**LAST)
    assert_near(grad, total.double() - (maps.double() - exact(mean)) * exact(slope) - exact(shift), dtype)


@each_kernel
def test_what_is_not_a_number_stays_visible(kernels):
    maps = torch.tensor([[float("nan"), -1.0]]).view(1, 2, 1, 1)
    active = kernels.activate(maps, torch.ones(2), torch.zeros(2))
    assert active[0, 0].isnan() and active[0, 1] == 0


def test_other_layouts_are_refused():
    if native() is not Operators:
        with pytest.raises(RuntimeError, match="expected maps in channels-last"):
            native().activate(torch.randn(2, 3, 4, 4), torch.ones(3), torch.zeros(3))


def test_without_a_compiler_the_operators_do_it(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(efficient_kernels, "SOURCES", [efficient_kernels.SOURCES[0].with_name("none.cpp")])
    monkeypatch.setattr("densenet_course.efficient.blocks.native", native.__wrapped__)
    model = models.class_densenet(efficient="native")
    with pytest.warns(UserWarning, match=r"kernels.cpp could not be compiled .* going on with PyTorch's operators"):
        logits = model(torch.randn(2, 1, 28, 28))
    assert logits.shape == (2, 10)
