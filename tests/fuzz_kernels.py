"""Call the compiled passes with random arguments, right and wrong ones.

    python tests/fuzz_kernels.py --calls 400                 as they are compiled for use; takes seconds
    python tests/fuzz_kernels.py --calls 20000 --sanitize    under AddressSanitizer, compiled anew: some minutes
    … --sanitize --vectors                                   with this processor's vectors

Every call must answer, or refuse with a RuntimeError or TypeError; the passes must answer as PyTorch's operators do.
The exit status is 1 where an answer was wrong, or what AddressSanitizer or the system made of it.
"""

import argparse
import collections
import copy
import math
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch.utils import cpp_extension

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from densenet_course.efficient.kernels import LAST, SOURCES, Operators, compiler_flags, native, wide

FORMATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


class Draw:
    """Draw arguments: right ones first, which ``spoiled`` may then change."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        torch.manual_seed(seed)
        self.format = self.random.choice(FORMATS)
        self.size = tuple(self.random.choice(edges) for edges in ((1, 2, 5), (1, 3, 8, 17, 33), (1, 2, 7), (1, 3, 6)))

    def maps(self, channels=None):
        """Draw maps in channels-last, or some channels of wider ones."""
        count, own, height, width = self.size
        channels, more = channels or own, self.random.choice((0, 0, 3))
        maps = torch.randn(count, channels + more, height, width).to(self.format).contiguous(**LAST)
        return maps[:, more:]

    def numbers(self, channels=None):
        return torch.rand(channels or self.size[1]).to(wide(self.format)) + 0.5

    def step(self, channels, makes, kernel):
        """Draw γ, β, mean, variance, weight and bias."""
        weight = torch.randn(makes, channels, kernel, kernel).to(self.format)
        bias = torch.randn(makes).to(self.format) if self.random.random() < 0.5 else None
        return [*(self.numbers(channels) for _ in range(4)), weight, bias]

    def images(self):
        return self.random.choice((1, 2, 64))


def activate(draw):
    return [draw.maps(), draw.numbers(), draw.numbers()]


def store(draw):
    return [draw.maps(), draw.random.choice((None, draw.maps()))]


def send_back(draw):
    return [*(draw.maps() for _ in range(3)), draw.numbers(), draw.numbers(), draw.maps(), draw.random.random() < 0.5]


def finish(draw):
    return [draw.maps(), draw.maps(), *(draw.numbers() for _ in range(3))]


def infer(draw):
    """Draw a block of two bottleneck layers."""
    channels, growth, width = draw.size[1], 3, 5
    tensors, places = [], []
    for reads in (channels, channels + growth):
        tensors += draw.step(reads, width, 1) + draw.step(width, growth, 3)
        places += [0, 0, reads, -1, 1, 1, 0, reads]
    return [draw.maps(), tensors, places, [1e-5] * 4, channels + 2 * growth, draw.images()]


def block(draw):
    """Describe a block of two bottleneck layers that learns: tensors, places, numbers, channels."""
    channels, growth, width = draw.size[1], 3, 5
    tensors, places, numbers = [], [], []
    for i, reads in enumerate((channels, channels + growth)):
        for step in (draw.step(reads, width, 1), draw.step(width, growth, 3)):
            tensors += *step, draw.random.choice((None, torch.tensor(3)))
        uses, moves = draw.random.random() < 0.7, int(draw.random.random() < 0.7)
        places += 0, 0, reads, -1, 1, int(uses), moves, 1, 1, 0, reads, int(uses), 1 - i, moves
        numbers += 1e-5, draw.random.choice((math.nan, 0.1)), 0.0, 1e-5, 0.1, draw.random.choice((0.0, 0.5, 1.0))
    return tensors, places, numbers, channels + 2 * growth


def learn(draw):
    tensors, places, numbers, channels = block(draw)
    return [draw.maps(), tensors, places, numbers, channels, draw.images()]


def learn_backward(draw):
    """Draw what ``learn`` keeps of such a block, and a gradient."""
    tensors, places, numbers, channels = block(draw)
    sources = [None, draw.maps(5), None, draw.maps(5)]
    keep = draw.random.choice((None, draw.maps(3)))
    kept = [draw.maps(channels), draw.numbers(channels)]
    for i, source in enumerate(sources):
        kept += source, tensors[7 * i + 2], tensors[7 * i + 3], keep if i % 2 else None
    parameters = [tensors[7 * i + place] for i in range(4) for place in (0, 1, 4, 5)]
    needs = [int(p is not None and draw.random.random() < 0.8) for p in [True, *parameters]]
    return [draw.maps(channels), kept, parameters, places, numbers, needs, draw.images()]


def pool_of(draw, kernel):
    """Draw the edge of what is averaged before a 1×1 convolution; and something to draw the maps after it with."""
    pool = draw.random.choice((1, 2)) if kernel == 1 and min(draw.size[2:]) > 1 else 1
    made = copy.copy(draw)
    made.size = (*draw.size[:2], *(edge // pool for edge in draw.size[2:]))
    return pool, made


def run(draw):
    kernel, makes = draw.random.choice((1, 3)), 4
    pool, made = pool_of(draw, kernel)
    keep = draw.random.choice((None, made.maps(makes)))
    return [draw.maps(), draw.step(draw.size[1], makes, kernel), 1e-5, [kernel // 2] * 2, pool, made.maps(makes),
            draw.random.random() < 0.5, keep, draw.images()]


def run_backward(draw):
    kernel, makes, channels = draw.random.choice((1, 3)), 4, draw.size[1]
    pool, made = pool_of(draw, kernel)
    above = [made.maps(makes), made.maps(makes), *(draw.numbers(makes) for _ in range(3))]
    if draw.random.random() < 0.5:
        above[1:] = [None] * 4
    below = [draw.maps(), draw.maps(), *(draw.numbers() for _ in range(3))]
    return [draw.step(channels, makes, kernel), 1e-5, [kernel // 2] * 2, pool, draw.random.random() < 0.7, above, below,
            draw.random.random() < 0.5, draw.random.choice((None, made.maps(makes))),
            [draw.random.random() < 0.8 for _ in range(3)], draw.images()]


OPERATIONS = (activate, store, send_back, finish, infer, learn, learn_backward, run, run_backward)


def spoiled(draw, arguments):
    """Change one argument, perhaps inside a list, for one that is like it and may be wrong."""
    arguments = list(arguments)
    place = draw.random.randrange(len(arguments))
    value = arguments[place]
    if isinstance(value, list) and value:
        change = draw.random.random()
        arguments[place] = spoiled(draw, value) if change < 0.8 else value[:-1] if change < 0.9 else value + value[:1]
    elif isinstance(value, torch.Tensor):
        arguments[place] = draw.random.choice(TENSORS)(draw, value)
    elif value is None:
        arguments[place] = draw.maps()
    elif isinstance(value, int) and not isinstance(value, bool):
        arguments[place] = draw.random.choice((-2, -1, 0, 1, 2, 3, 7))
    elif isinstance(value, float):
        arguments[place] = draw.random.choice((0.0, -1.0, float("nan"), 1e30))
    return arguments


def resized(draw, tensor):
    size = list(tensor.shape)
    place = draw.random.randrange(len(size))
    size[place] = draw.random.choice((0, 1, size[place] + 1, max(0, size[place] - 1), 2 * size[place]))
    fresh = torch.randn(size).to(tensor.dtype)
    return fresh.contiguous(**LAST) if fresh.dim() == 4 else fresh


def without_memory(draw, tensor):
    tensor = tensor.clone()
    tensor.untyped_storage().resize_(draw.random.choice((0, max(0, tensor.untyped_storage().nbytes() - 1))))
    return tensor


def expanded(draw, tensor):
    place = draw.random.randrange(tensor.dim())
    return tensor.narrow(place, 0, 1).expand(tensor.shape)


def every_second(draw, tensor):
    place = draw.random.randrange(tensor.dim())
    return tensor.repeat_interleave(2, place)[(slice(None),) * place + (slice(None, None, 2),)]


TENSORS = (
    resized, resized, without_memory, expanded, every_second,
    lambda draw, tensor: None,
    lambda draw, tensor: tensor.contiguous(),
    lambda draw, tensor: tensor.to(draw.random.choice((*FORMATS, torch.int64, torch.complex64, torch.bool))),
    lambda draw, tensor: tensor.transpose(0, -1),
    lambda draw, tensor: tensor.flatten(),
    lambda draw, tensor: tensor.to("meta"),
    lambda draw, tensor: tensor.to_sparse(),
    lambda draw, tensor: torch._neg_view(tensor),
    lambda draw, tensor: tensor.unsqueeze(0),
)


def copied(value):
    """Copy arguments, their layout and what they lie in included, because a pass may write into them."""
    if isinstance(value, list):
        return [copied(part) for part in value]
    return value.clone(**LAST) if isinstance(value, torch.Tensor) and value.dim() == 4 else value


def same(ours, theirs, format):
    ours, theirs = (answer if isinstance(answer, tuple) else (answer,) for answer in (ours, theirs))
    pairs = zip(ours, theirs, strict=True)
    return all(torch.allclose(a.double(), b.double(), TOLERANCE[format], TOLERANCE[format] * max(1, b.abs().max()))
               for a, b in pairs if b.numel())


def try_all(kernels, calls, seed):
    """Make the calls; return how many were answered and refused, by operation, and which were answered wrongly."""
    found, wrong = collections.Counter(), []
    for i in range(calls):
        operation, draw = OPERATIONS[i % len(OPERATIONS)], Draw(seed + i)
        arguments, name = operation(draw), operation.__name__
        is_right = draw.random.random() < 0.3
        if not is_right:
            arguments = spoiled(draw, arguments)
        compared = is_right and hasattr(Operators, name)
        expected = getattr(Operators, name)(*copied(arguments)) if compared else None
        try:
            answer = getattr(kernels, name)(*arguments)
        except (RuntimeError, TypeError) as error:
            found[name, "refused"] += 1
            if is_right:
                wrong.append(f"{name}, seed {seed + i}: refused what is right: {error}")
            continue
        found[name, "answered"] += 1
        if compared and not same(answer, expected, draw.format):
            wrong.append(f"{name}, seed {seed + i}: another answer than PyTorch's operators")
    return found, wrong


def torch_libraries():
    """Return how to link PyTorch's libraries."""
    return [f"-L{path}" for path in cpp_extension.library_paths()] + ["-lc10", "-ltorch_cpu", "-ltorch"]


def library_file(compiler, name):
    """Ask the compiler where one of its libraries lies."""
    command = [compiler, f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def sanitized(vectors, folder):
    """Compile with AddressSanitizer, run this script on it, and return its exit status."""
    library = Path(folder) / "kernels.so"
    flags = compiler_flags() if vectors else ["-O1", "-fopenmp"]
    include = [f"-I{path}" for path in (*cpp_extension.include_paths(), SOURCES[0].parent)]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"
    compiler = cpp_extension.get_cxx_compiler()
    command = [compiler, "-std=c++20", "-shared", "-fPIC", "-fno-omit-frame-pointer", "-fsanitize=address", abi,
               "-g1",  # lines only: where each variable lies takes the compiler hours
               *flags, *include, *map(str, SOURCES), *torch_libraries(), "-o", str(library)]
    subprocess.run(command, check=True)
    preloaded = " ".join(library_file(compiler, name) for name in ("libasan.so", "libstdc++.so.6"))  # it wraps throw
    settings = {"LD_PRELOAD": preloaded, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
    options = [option for option in sys.argv[1:] if option not in ("--sanitize", "--vectors")]
    return subprocess.run([sys.executable, __file__, *options, "--library", str(library)],
                          env=os.environ | settings).returncode


def main():
    parser = argparse.ArgumentParser(description="Call the compiled passes with random arguments.")
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true", help="compile with AddressSanitizer first")
    parser.add_argument("--vectors", action="store_true", help="then with this processor's vectors")
    parser.add_argument("--library", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sanitize:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(sanitized(options.vectors, folder))
    if options.library:
        torch.ops.load_library(options.library)
    found, wrong = try_all(torch.ops.densenet_course if options.library else native(), options.calls, options.seed)
    for operation in OPERATIONS:
        answered, refused = (found[operation.__name__, what] for what in ("answered", "refused"))
        print(f"{operation.__name__:13} {answered:6} answered, {refused:6} refused")
    print(*wrong, f"{len(wrong)} wrong", sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
