"""The passes compute the same in both forms, and a machine without a compiler goes on without the compiled ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout
from torch.utils import cpp_extension

from densenet_course import models
from densenet_course.efficient import kernels as efficient_kernels
from densenet_course.efficient.kernels import Operators, build_name, compiler_flags, native
from tests import passes

LAST = {"memory_format": torch.channels_last}
each_size = pytest.mark.parametrize("size", list(passes.SIZES))
each_dtype = pytest.mark.parametrize("dtype", list(passes.EXACT), ids=str)
each_kernel = pytest.mark.parametrize("kernels", [Operators, native()], ids=["operators", "native"])


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
    passes.check_activate(kernels, size, dtype)


@each_kernel
@pytest.mark.parametrize("offset", [0.0, 100.0])
@each_dtype
@each_size
def test_store(kernels, dtype, size, offset):
    passes.check_store(kernels, size, dtype, offset=offset)


@each_kernel
@pytest.mark.parametrize("is_first", [True, False])
@each_dtype
@each_size
def test_send_back(kernels, dtype, size, is_first):
    passes.check_send_back(kernels, size, dtype, is_first=is_first)


@each_kernel
@each_dtype
@each_size
def test_finish(kernels, dtype, size):
    passes.check_finish(kernels, size, dtype)


@each_kernel
def test_what_is_not_a_number_stays_visible(kernels):
    passes.check_not_a_number(kernels)


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


COMPILED = pytest.mark.skipif(native() is Operators, reason="no compiler here")


@COMPILED
@pytest.mark.parametrize("name, spoil", {
    "wider numbers": lambda maps, numbers: (maps, numbers.double()),
    "fewer numbers": lambda maps, numbers: (maps, numbers[:2]),
    "every second number": lambda maps, numbers: (maps, numbers.repeat_interleave(2)[::2]),
    "a row left out": lambda maps, numbers: (maps.repeat_interleave(2, 2).contiguous(**LAST)[:, :, ::2], numbers),
    "cut": lambda maps, numbers: (maps[:, :, 1:, 1:], numbers),
    "negated": lambda maps, numbers: (torch._neg_view(maps), numbers),
    "three dimensions": lambda maps, numbers: (maps[0], numbers),
    "whole numbers": lambda maps, numbers: (maps.long(), numbers.long()),
    "another device": lambda maps, numbers: (maps.to("meta"), numbers),
}.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_what_the_loops_would_read_wrongly_is_refused(name, spoil):
    maps, numbers = torch.randn(2, 3, 4, 4).contiguous(**LAST), torch.rand(3)
    native().activate(maps, numbers, numbers)
    spoiled, other = spoil(maps, numbers)
    with pytest.raises(RuntimeError, match=r"expected|not implemented"):
        native().activate(spoiled, other, other)


@COMPILED
def test_maps_that_lie_on_one_another_are_not_written():
    made = torch.randn(2, 3, 4, 4).contiguous(**LAST)
    with pytest.raises(RuntimeError, match="out: expected rows of their own"):
        native().store(made, torch.zeros(3).expand(2, 4, 4, 3).permute(0, 3, 1, 2))
    freed = made.clone()
    freed.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="made: expected 384 bytes of memory, got 0"):
        native().store(freed, None)


@COMPILED
@pytest.mark.parametrize("change, message", [
    ({"places": [0, 0, 3, -1]}, "channels: expected 3, which the stages fill, got 5"),
    ({"places": [0, 0, 9, 3]}, "stage 0 reads 9 channels where 3 are there"),
    ({"places": [0, 0, 0, 3]}, "stage 0 reads 0 channels"),
    ({"places": [0, 0, 3, 4]}, "stage 0 writes channel 4, expected 3"),
    ({"places": [0, 0]}, "places: expected 4, got 2"),
    ({"images": 0}, "images: expected at least 1 at once, got 0"),
    ({"tensors": []}, "expected a list of more than 4 tensors, got 0"),
    ({"channels": 6}, "channels: expected 5"),
])
def test_a_block_leaves_no_channel_as_it_was(change, message):
    right = {"tensors": [*torch.rand(4, 3), torch.randn(2, 3, 1, 1), None], "places": [0, 0, 3, 3], "eps": [1e-5],
             "channels": 5, "images": 1}
    features = torch.randn(2, 3, 4, 4).contiguous(**LAST)
    assert native().infer(features, *right.values()).shape == (2, 5, 4, 4)
    with pytest.raises(RuntimeError, match=message):
        native().infer(features, *(right | change).values())


@COMPILED
def test_random_calls_are_answered_or_refused():
    """A short run of ``fuzz_kernels.py``, in a process of its own; the long one is run under AddressSanitizer."""
    fuzz = Path(__file__).with_name("fuzz_kernels.py")
    done = subprocess.run([sys.executable, fuzz, "--calls", "630"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-1000:]
    for line in done.stdout.splitlines()[:-1]:
        _, answered, _, refused, _ = line.split()
        assert int(answered) >= 10 and int(refused) >= 5, line


@pytest.fixture
def compiles(monkeypatch, tmp_path):
    """Stand in for the compiler; collect for each build whether PyTorch's lock file lay there."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    found = []

    def stand_in(name, *arguments, **options):
        folder = tmp_path / name
        found.append((folder / "lock").exists())
        with pytest.raises(Timeout):
            FileLock(folder.with_suffix(".lock")).acquire(timeout=0)  # whoever compiles holds it
        (folder / f"{name}.so").touch()

    monkeypatch.setattr(cpp_extension, "load", stand_in)
    return found


def test_the_lock_of_a_killed_compiler_is_removed(compiles, tmp_path, capsys):
    folder = tmp_path / build_name()
    folder.mkdir()
    (folder / "lock").touch()
    native.__wrapped__()
    native.__wrapped__()
    assert compiles == [False, False]
    assert capsys.readouterr().err.splitlines() == ['efficient="native": compiling, about a minute, once']


def test_a_broken_build_is_made_anew(monkeypatch, compiles, tmp_path):
    def broken(name, *arguments, **options):
        raise ImportError(f"{name}.so: file too short")

    (tmp_path / build_name()).mkdir()
    (tmp_path / build_name() / f"{build_name()}.so").touch()
    monkeypatch.setattr(cpp_extension, "load", broken)
    with pytest.warns(UserWarning, match="file too short"):
        assert native.__wrapped__() is Operators
    assert not (tmp_path / build_name()).exists()


def test_other_sources_and_another_pytorch_have_another_build(monkeypatch):
    before = build_name()
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert build_name() != before
