"""Play lists of operations that are damaged at random, under the limits of a cell.

    python tests/fuzz_lists.py --lists 50000 --seed 3     takes some minutes
    python tests/fuzz_lists.py --only 3:1742              one of them, and what it holds

Every list must be played or refused, whatever it holds, and none may show memory that nobody wrote: one in ``PEEKED``
is played twice, with other bytes in fresh memory. The exit status is 1 where one was not; where the process ended, it
is named in the file of ``--at``.
"""

import argparse
import collections
import copy
import ctypes
import random
import resource
import sys
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from densenet_course.grading import operations, tracing, wire
from densenet_course.grading.operations import MAX_CONSTANT, Refused
from densenet_course.grading.playing import play
from densenet_course.grading.sandbox import Limits

SHAPE, PEEKED, M_PERTURB = (2, 3, 4, 4), 8, -6
ENDS = "played", "refused", "refused by PyTorch"


class Subject(nn.Module):
    """Has a little of everything that a list may hold."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1), nn.Linear(5, 4)
        self.scale = nn.Buffer(torch.tensor(2.0))

    def forward(self, x):
        with torch.no_grad():
            self.scale.mul_(0.5)
        with torch.autocast("cpu", torch.bfloat16):
            maps = self.conv(F.relu(self.norm(x)))
        x = torch.cat([x, maps.float() * torch.tensor([0.5, 2.0]).view(2, 1, 1)], 1)
        first, second = x.split([2, 3], 1)
        x = torch.cat([first + torch.rand(len(x), 1, 1, 1), F.max_pool2d(second, 3, 1, 1)], 1)
        return self.head(F.dropout(x, 0.1, self.training).mean((2, 3))) * self.scale


def written():
    """Return the list of the subject's forward pass, and what it is played with."""
    torch.manual_seed(0)
    module = Subject()
    program = tracing.trace({"f": Subject, tracing.MODULES: [module]}, "f", 0, SHAPE, True)
    assert "refused" not in program, program
    return program, [torch.randn(SHAPE), *module.parameters(), *module.buffers()]


OVERLOADS = sorted(f"{name}.{overload}" for name in dir(torch.ops.aten)
                   if isinstance(getattr(torch.ops.aten, name), torch._ops.OpOverloadPacket)
                   for overload in getattr(torch.ops.aten, name).overloads()
                   if operations.is_allowed(name, overload))
NAMES = ["aten.relu", "aten.relu.wrong", "aten.set_.source_Tensor", "aten.as_strided.default", "aten.resize_.default",
         "aten.from_file.default", "aten.__class__.default", "prims.add.default", "item", "constant", "gradients",
         "autocast", "", ".", "..", "aten..", "x", None, 3, [], {}, "\u202e" * 5, "aten.add.Tensor\0"]
NUMBERS = [0, 1, -1, 2, 3, 7, 64, -64, 1 << 20, 1 << 31, -(1 << 31), 1 << 62, -(1 << 63), 1 << 63, 10**400, 0.0, 0.5,
           -1.5, 1e-45, 1e38, 1e308, float("nan"), float("inf"), -float("inf")]
DEEP = [0]
for _ in range(wire.MAX_DEPTH - 6):
    DEEP = [DEEP]
ODD = [None, True, False, "x", "mean", "bilinear", "cuda", "", "\ud83d\ude00", [], [[]], [None], DEEP, {}, {"#": None},
       {"#": "0"}, {"#": True}, {"#": -1}, {"#": 10**30}, {"#": [0]}, {"#": 0, "a": 1}, {"kept": ""}, {"kept": 3},
       {"device": ""}, {"device": "cuda"}, {"dtype": "float32"}, {"dtype": "bool"}, {"dtype": "int64"},
       {"dtype": "bfloat16"}, {"dtype": "load"},
       {"dtype": None}, {"a": 1}, (0, 1), (), torch.ones(2), torch.zeros(0, dtype=torch.int64),
       [torch.ones(2), 1]]


class Draw(random.Random):
    """Draw pieces of lists.

    Args:
        name: the seed.
        inputs: how many values there are before the first step.
        steps: that are damaged.
        among: the operations of new steps.
    """

    def __init__(self, name, inputs=0, steps=(), among=OVERLOADS):
        super().__init__(name)
        self.inputs, self.steps, self.among = inputs, list(steps), among

    def place(self):
        most = self.inputs + len(self.steps)
        return {"#": 0 if self.random() < 0.3 else self.randrange(most) if self.random() < 0.97 else
                self.randint(-2, 2 * most)}

    def size(self):
        return self.choice((0, 1, 1, 2, 2, 3, 4, 5, 8, self.choice(NUMBERS)))

    def sizes(self):
        return [self.size() for _ in range(self.choice((0, 1, 1, 2, 2, 3, 4, 4, 5, 12)))]

    def value(self):
        """Draw anything."""
        return self.choice((self.place, self.place, self.size, self.sizes, lambda: self.choice(NUMBERS),
                            lambda: copy.deepcopy(self.choice(ODD))))()

    def like(self, kind):
        """Draw what an argument of a type of a schema may be, or nearly."""
        if self.random() < 0.05:
            return self.value()
        if kind.startswith("Optional"):
            return None if self.random() < 0.3 else self.like(kind[9:-1])
        if kind.startswith("List"):
            return [self.like(kind[5:-1]) for _ in range(self.choice((0, 1, 2, 2, 3, 4)))]
        odd = {"Device": {"device": ""}, "str": self.choice(("mean", "reflect", "none", "ij", "tanh", "sum", "x")),
               "Generator": None, "bool": self.random() < 0.5, "float": self.choice((0.0, 0.5, 1e-5, -1.0, 1e30))}
        return self.place() if kind == "Tensor" else odd.get(kind, self.size())

    def step(self):
        """Draw a step that an operation's schema allows, or nearly."""
        name = self.choice(self.among)
        packet, overload = name.split(".")
        arguments, named = [], {}
        for argument in getattr(getattr(torch.ops.aten, packet), overload)._schema.arguments:
            if argument.has_default_value() and self.random() < 0.5:
                continue
            if argument.kwarg_only or named:
                named[argument.name] = self.like(str(argument.type))
            else:
                arguments.append(self.like(str(argument.type)))
        return [f"aten.{name}", arguments, named]

    def constant(self):
        """Draw a constant, or what is like one."""
        count = self.choice((0, 1, 2, 6, 6, MAX_CONSTANT, MAX_CONSTANT + 1))
        kind = self.choice(("float32", "float64", "int64", "bool", "uint8", "complex64", "Tensor", "x", None, 3))
        numbers = [self.choice(NUMBERS[:7] if self.random() < 0.9 else NUMBERS)] * count
        return ["constant", [kind, self.choice(([count], [2, 3], self.sizes())),
                             self.choice((numbers, numbers, [numbers], self.value())), self.random() < 0.5], {}]

    def damage(self):
        """Damage the steps in one way."""
        way, number = self.randrange(12), self.randrange(len(self.steps)) if self.steps else 0
        if way < 6 or not self.steps:
            self.steps.append(self.step())
        elif way == 6:
            del self.steps[number]
        elif way == 7:
            self.steps.insert(self.randrange(len(self.steps)), self.steps[number])
        elif way == 8:
            self.shuffle(self.steps)
        elif way == 9:
            self.steps.append(self.constant())
        else:
            self.steps[number] = self.damaged(copy.deepcopy(self.steps[number]))

    def damaged(self, step):
        """Return a damaged step."""
        way = self.randrange(9)
        if type(step) is not list or len(step) < 3 or way == 0:
            return self.choice((None, 3, "abc", [], ["item"], [step, 1], {"a": 1}))
        if way == 1:
            step[0] = self.choice(NAMES)
        elif way == 2:
            step[0] = f"aten.{self.choice(OVERLOADS)}"
        elif way == 3 and isinstance(step[2], dict):
            step[2][self.choice(("dim", "dtype", "out", "self", "memory_format", "generator", "x", 3))] = self.value()
        elif isinstance(step[1], list) and step[1]:
            step[1][self.randrange(len(step[1]))] = self.value()
        else:
            step[1] = self.value()
        return step


def damaged(program, name):
    """Return the damaged list of a name, "seed:number"; the same one each time."""
    draw = Draw(name, program["inputs"], program["operations"])
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        draw.damage()
    damaged = program | {"operations": draw.steps}
    if draw.random() < 0.7:
        damaged["result"] = {"#": program["inputs"] + len(draw.steps) - 1}
    elif draw.random() < 0.1:
        damaged[draw.choice(list(damaged))] = draw.value()
    return damaged


def end_of(program, state):
    """Play a list forwards and backwards; return how it ended, and what came."""
    torch.manual_seed(0)
    inputs = [value.detach().clone().requires_grad_(value.requires_grad) for value in state]
    try:
        made = play(program, inputs, {})
        if made.requires_grad:
            made.sum().backward()
    except Refused:
        return "refused", None
    except (RuntimeError, NotImplementedError):  # PyTorch's words for what the list does
        return "refused by PyTorch", None
    assert not torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    return "played", [made, *(value.grad for value in inputs)]


def bits(tensor):
    """Return a tensor's own numbers, as bytes; NaN has many."""
    if tensor is None or tensor.numel() > 1e5:
        return None
    dense = tensor.detach().resolve_conj().contiguous().view(-1)
    dense = torch.view_as_real(dense) if dense.is_complex() else dense
    return torch.nan_to_num(dense, nan=0.125).tolist() if dense.is_floating_point() else dense.tolist()


def shows_memory(program, state, libc):
    """Tell whether what comes depends on what lies in fresh memory."""
    found = []
    for byte in (0x35, 0xCA):
        libc.mallopt(M_PERTURB, byte)
        end, made = end_of(program, state)
        found.append([*map(bits, made)] if end == "played" else end)
    libc.mallopt(M_PERTURB, 0)
    return found[0] != found[1]


def play_all(lists, seed, at=None):
    """Play damaged lists; return how many ended how, and the names of those that show memory."""
    (program, state), libc = written(), ctypes.CDLL(None)
    ends, wrong = collections.Counter(dict.fromkeys(ENDS, 0)), []
    for number in range(lists):
        name = f"{seed}:{number}"
        if at:
            at.seek(0), at.write(f"{name:20}"), at.flush()
        list_ = damaged(program, name)
        ends[end_of(list_, state)[0]] += 1
        if number % PEEKED == 0 and shows_memory(list_, state, libc):
            wrong.append(name)
    return ends, wrong


def main():
    parser = argparse.ArgumentParser(description="Play lists of operations that are damaged at random.")
    parser.add_argument("--lists", type=int, default=1000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--only", metavar="SEED:NUMBER", help="show this one, and play it")
    parser.add_argument("--at", type=argparse.FileType("w"), help="keeps the name of the list that is played")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    limit = Limits().resources["DATA"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if options.only:
        program, state = written()
        list_ = damaged(program, options.only)
        print(*list_["operations"], list_["result"], sep="\n", flush=True)
        print(end_of(list_, state), shows_memory(list_, state, ctypes.CDLL(None)))
        return
    ends, wrong = play_all(options.lists, options.seed, options.at)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(*(f"{ends[end]} {end}," for end in ENDS), f"{len(wrong)} show memory, {most} MB at most")
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
