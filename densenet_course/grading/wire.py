"""Plain values as bytes: a JSON tree, and the raw numbers of tensors behind it. Never pickle.

Judge and cell write and read the same form. The judge trusts nothing that it reads: every length, depth, type and
number is held against a limit, and a message is refused whole.
"""

import json
import math
import struct

import torch

from densenet_course.checks.engine.plain import plain
from densenet_course.checks.engine.wrong import AnswerError

MAX_TREE, MAX_NUMBERS = 4 << 20, 256 << 20  # bytes of the JSON and of the tensors behind it
MAX_NODES, MAX_DEPTH, MAX_BITS, MAX_AXES = 200_000, 24, 4_096, 8
PREFIX = struct.Struct("<II")
TYPES = {str(kind).removeprefix("torch."): kind for kind in (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool)}
ODD_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Malformed(Exception):
    """These bytes are no message, or this value cannot be one."""


def encode(value):
    """Return a message as bytes.

    Args:
        value: None, truth values, numbers, texts, dense tensors, and lists, tuples and dicts of them.

    Raises:
        Malformed: it holds something else, or too much.
    """
    numbers = []
    try:
        tree = json.dumps(_pack(value, numbers), separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not to be written as JSON: {type(error).__name__}") from None
    body = sum(map(len, numbers))
    _expect_lengths(len(tree), body)
    return b"".join((PREFIX.pack(len(tree), body), tree, *numbers))  # at once: a copy more of a large network hurts


def _pack(value, numbers):
    kind = type(value)
    if value is None or kind in (bool, int):
        return value
    if kind is str:
        return value.encode("utf-8", "replace").decode()  # half of a surrogate pair is no text
    if kind is float:
        return value if math.isfinite(value) else {"f": repr(value)}
    if kind is list:
        return [_pack(item, numbers) for item in value]
    if kind is tuple:
        return {"t": [_pack(item, numbers) for item in value]}
    if kind is dict:
        return {"d": [[_pack(key, numbers), _pack(item, numbers)] for key, item in value.items()]}
    if isinstance(value, torch.Tensor) and str(value.dtype).removeprefix("torch.") in TYPES:
        dense = value.detach().cpu().contiguous()
        numbers.append(dense.reshape(-1).view(torch.uint8).numpy().tobytes())
        return {"x": [str(dense.dtype).removeprefix("torch."), list(dense.shape)]}
    raise Malformed(f"not plain: {kind.__name__}")


def lengths(prefix):
    """Return the lengths of tree and numbers that the first ``PREFIX.size`` bytes announce.

    Raises:
        Malformed: they are over the limit.
    """
    tree, body = PREFIX.unpack(prefix)
    _expect_lengths(tree, body)
    return tree, body


def _expect_lengths(tree, body):
    if tree > MAX_TREE or body > MAX_NUMBERS:
        raise Malformed(f"a message of {tree + body:,} bytes")


def decode(tree, body):
    """Return the value of a message.

    Args:
        tree: the JSON's bytes.
        body: the tensors' bytes.

    Raises:
        Malformed: this is not exactly a message.
    """
    try:
        packed = json.loads(tree, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {type(error).__name__}") from None
    reader = _Reader(body)
    value = reader.value(packed, 0)
    if reader.place != len(body):
        raise Malformed("numbers that belong to nothing")
    return value


def fold(value):
    """Return plain values without tensors as one text: whoever passes it on need not read it, which takes longer."""
    return json.dumps(value, separators=(",", ":"))


def unfold(text):
    """Return the values of a text.

    Raises:
        Malformed: it is none that ``fold`` makes, or nested too deep.
    """
    try:
        return plain(json.loads(text))
    except (ValueError, TypeError, RecursionError, AnswerError) as error:
        raise Malformed(f"no text that was folded: {error}") from None


def _no_constant(text):
    raise ValueError(text)


class _Reader:
    """Unpack a tree, counting what was read.

    Args:
        body: the tensors' bytes.
    """

    def __init__(self, body):
        self.body, self.place, self.nodes = memoryview(body), 0, 0

    def value(self, packed, depth):
        """Return the value of one node."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise Malformed("nested too deep, or too many values")
        kind = type(packed)
        if packed is None or kind in (bool, float):
            return packed
        if kind is int:
            return _short(packed)
        if kind is str:
            return _text(packed)
        if kind is list:
            return [self.value(item, depth + 1) for item in packed]
        if len(packed) != 1:
            raise Malformed("an unknown kind of value")
        (tag, item), = packed.items()
        unpack = {"f": self._float, "t": self._tuple, "d": self._dict, "x": self._tensor}.get(tag)
        if unpack is None:
            raise Malformed("an unknown kind of value")
        return unpack(item, depth)

    def _float(self, item, depth):
        if type(item) is not str or item not in ODD_FLOATS:
            raise Malformed("an unknown kind of number")
        return ODD_FLOATS[item]

    def _tuple(self, item, depth):
        if type(item) is not list:
            raise Malformed("a tuple that is none")
        return tuple(self.value(part, depth + 1) for part in item)

    def _dict(self, item, depth):
        if type(item) is not list or not all(type(pair) is list and len(pair) == 2 for pair in item):
            raise Malformed("a dict that is none")
        pairs = [(self.value(key, depth + 1), self.value(part, depth + 1)) for key, part in item]
        if not all(_is_key(key) for key, _ in pairs):
            raise Malformed("a key that is not plain")
        return dict(pairs)

    def _tensor(self, item, depth):
        if type(item) is not list or len(item) != 2 or type(item[0]) is not str or type(item[1]) is not list:
            raise Malformed("a tensor that is none")
        kind, shape = TYPES.get(item[0]), item[1]
        if kind is None or len(shape) > MAX_AXES or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
            raise Malformed("an unknown kind of tensor")
        size = math.prod(shape) * kind.itemsize
        if size > len(self.body) - self.place:
            raise Malformed("a tensor whose numbers are not there")
        raw = bytearray(self.body[self.place:self.place + size])  # a copy, aligned and of our own
        self.place += size
        if not raw:
            return _empty(shape, kind)
        if kind is torch.bool:  # a byte that is neither 0 nor 1 would be both
            return torch.frombuffer(raw, dtype=torch.uint8).ne(0).reshape(shape)
        return torch.frombuffer(raw, dtype=kind).reshape(shape)


def _empty(shape, kind):
    try:
        return torch.empty(shape, dtype=kind)
    except RuntimeError:  # its strides overflow
        raise Malformed("an unknown kind of tensor") from None


def _short(number):
    if number.bit_length() > MAX_BITS:
        raise Malformed("a whole number that is too long")
    return number


def _text(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed("half of a surrogate pair") from None
    return text


def _is_key(key):
    return type(key) in (str, int, bool, float, type(None)) or (type(key) is tuple and all(map(_is_key, key)))
