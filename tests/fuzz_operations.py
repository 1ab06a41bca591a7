"""Play every operation that a list may hold by itself, with random arguments of nearly the right kinds and shapes.

    python tests/fuzz_operations.py --draws 3000
    python tests/fuzz_operations.py --among native --seed 3

A list that is damaged at random holds one operation more or two, of hundreds; here each has its turn, with tensors of
many shapes. Each has a process of its own, and what ends it is told. glibc finds what was written past an end only when
it is asked to:

    MALLOC_CHECK_=3 LD_PRELOAD=libc_malloc_debug.so.0 python tests/fuzz_operations.py

The exit status is 1 where a process was ended.
"""

import argparse
import os
import re
import resource
import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from densenet_course.grading.operations import Refused
from densenet_course.grading.playing import play
from densenet_course.grading.sandbox import Limits
from tests.fuzz_lists import OVERLOADS, Draw

SHAPES = ((2, 3, 4, 4), (1, 3, 4, 4), (2, 3, 8, 8), (2, 5, 4, 4), (2, 3, 4, 4, 4), (2, 3, 3, 3), (6, 3, 3, 3),
          (4, 3, 1, 1), (2, 3, 5), (2, 3), (4, 5), (7, 2), (1, 1), (5,), (4,), (3,), (2,), (1,), (0,), ())
INDICES = ((2,), (3,), (4, 4), (), (2, 3, 4, 4))
MOST = 1_000_000  # numbers that are sent through a backward pass
CPU_SECONDS = 120  # of an operation


def pool(draw):
    """Draw tensors of many shapes and kinds, some of which need a gradient."""
    floating = [torch.randn(shape) for shape in SHAPES]
    floating += [torch.randn(4, 4, 3, 2).permute(3, 2, 0, 1), torch.randn(2, 3, 4, 4).bfloat16(),
                 torch.randn(3).double()]
    for tensor in floating:
        tensor.requires_grad_(draw.random() < 0.5)
    lowest = draw.choice((0, 0, -3))
    return floating + [torch.randint(lowest, draw.choice((2, 5, 100)), shape) for shape in INDICES] + [
        torch.randn(2, 3, 4, 4) > 0, torch.randn(3) > 0]


def draw_and_play(name, number):
    """Play an operation once, forwards and backwards; tell whether it was played."""
    draw = Draw(f"{name}:{number}", among=[name])
    torch.manual_seed(draw.randrange(1 << 30))
    tensors = pool(draw)
    draw.inputs = len(tensors)
    program = {"operations": [draw.step()], "inputs": len(tensors), "result": {"#": len(tensors)}}
    try:
        made = play(program, tensors, {})
        if made.requires_grad and made.numel() < MOST:
            made.sum().backward()
    except (Refused, RuntimeError, NotImplementedError):
        return False
    return True


def try_out(name, draws, seed):
    """Play an operation many times in a process of its own; return how often it was played, None if that was ended."""
    hear, tell = os.pipe()
    child = os.fork()
    if not child:
        limit = Limits().resources["DATA"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        os.write(tell, str(sum(draw_and_play(name, f"{seed}:{number}") for number in range(draws))).encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(hear) as told:
        played = told.read()
    os.waitpid(child, 0)
    return int(played) if played else None


def main():
    parser = argparse.ArgumentParser(description="Play each operation with random arguments.")
    parser.add_argument("--draws", type=int, default=20, help="of each operation")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--among", metavar="PATTERN", default="", help="only operations of which this is a part")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = [name for name in OVERLOADS if re.search(options.among, name)]
    played = {name: try_out(name, options.draws, options.seed) for name in names}
    ended = [name for name, count in played.items() if count is None]
    print(*(f"{name}: its process was ended" for name in ended), sep="\n")
    print(f"{len(names)} operations, {options.draws} draws each: {sum(map(bool, played.values()))} were played, "
          f"{sum(filter(None, played.values()))} times; {len(ended)} ended their process")
    sys.exit(bool(ended))


if __name__ == "__main__":
    main()
