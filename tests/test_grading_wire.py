"""The form in which judge and cell exchange values: it comes back equal, or is refused; nothing else can happen."""

import json
import math
import random
import struct

import pytest
import torch

from densenet_course.checks.engine.plain import plain
from densenet_course.grading import wire
from densenet_course.grading.wire import Malformed

FUZZED = 100_000


def through(value):
    message = wire.encode(value)
    tree, body = wire.lengths(message[:8])
    assert len(message) == 8 + tree + body
    return wire.decode(message[8:8 + tree], message[8 + tree:])


def same(a, b):
    if isinstance(a, torch.Tensor):
        return type(b) is torch.Tensor and a.dtype == b.dtype and a.shape == b.shape and bool(
            torch.equal(a.nan_to_num(), b.nan_to_num()))
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b


VALUES = [
    None, True, False, 0, -1, 1 << 4_000, 1.5, -0.0, math.inf, -math.inf, math.nan, "", "é\u202e\x00\U0001f600", [], (),
    {}, [1, (2, [3])], {("parameter", (3, 4)): [None], 7: "a", None: 2.0, True: 3}, [{"f": 1}, {"x": [1]}],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_equal(value):
    assert same(through(value), value)


@pytest.mark.parametrize("kind", wire.TYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_a_tensor_comes_back_equal(kind, shape):
    tensor = (torch.rand(shape) * 100).to(kind)
    assert same(through({"a": [tensor, tensor.transpose(0, -1) if tensor.ndim > 1 else tensor]})["a"][0], tensor)


def test_what_comes_back_is_of_our_own():
    tensor = torch.ones(3)
    through(tensor).zero_()
    assert tensor.sum() == 3


def test_half_of_a_pair_is_written_as_a_question_mark():
    assert through("a\ud800b") == "a?b"


@pytest.mark.parametrize("value", [{1, 2}, object(), 1j, b"a", torch.ones(2, dtype=torch.complex64), range(3), int])
def test_what_is_not_plain_is_not_written(value):
    with pytest.raises(Malformed, match="not plain"):
        wire.encode([value])


def test_what_is_too_long_or_deep_is_not_written(monkeypatch):
    endless = []
    endless.append(endless)
    with pytest.raises(Malformed, match="RecursionError"):
        wire.encode(endless)
    monkeypatch.setattr(wire, "MAX_TREE", 100)
    with pytest.raises(Malformed, match="a message of"):
        wire.encode("x" * 200)


def nested(depth):
    return b"[" * depth + b"]" * depth


REFUSED = {
    "no JSON": b"{", "no text": b"\xff", "NaN": b"[NaN]", "Infinity": b"-Infinity", "very deep": nested(100_000),
    "deep": nested(wire.MAX_DEPTH + 2), "many": b"[" + b"0," * wire.MAX_NODES + b"0]", "long number": b"9" * 4_000,
    "longer number": b"9" * 100_000, "half a pair": b'"\\ud800"', "no tag": b"{}", "two tags": b'{"t":[],"f":"nan"}',
    "unknown tag": b'{"q":[]}', "text as float": b'{"f":"1"}', "list as float": b'{"f":[]}', "no tuple": b'{"t":{}}',
    "no dict": b'{"d":[1]}', "odd pair": b'{"d":[[1]]}', "list as key": b'{"d":[[[],1]]}',
    "tensor as key": b'{"d":[[{"x":["float32",[]]},1]]}', "dict as key": b'{"d":[[{"d":[]},1]]}',
    "no tensor": b'{"x":1}', "unknown type": b'{"x":["object",[]]}', "list as type": b'{"x":[[],[]]}',
    "not there": b'{"x":["float32",[9]]}', "negative": b'{"x":["float32",[-1]]}', "true": b'{"x":["int8",[true]]}',
    "huge": b'{"x":["int8",[2147483647,2147483647,2147483647]]}', "many axes": b'{"x":["int8",[1,1,1,1,1,1,1,1,1]]}',
    "nothing of much": b'{"x":["int8",[0,2147483647,2147483647,2147483647]]}', "fraction": b'{"x":["int8",[1.0]]}',
    "numbers left over": b"null",
}


@pytest.mark.parametrize("tree", REFUSED.values(), ids=REFUSED)
def test_what_is_no_message_is_refused(tree):
    with pytest.raises(Malformed):
        wire.decode(tree, b"\0\0\0\0")


@pytest.mark.parametrize("prefix", [(wire.MAX_TREE + 1, 0), (0, wire.MAX_NUMBERS + 1), (2**32 - 1, 2**32 - 1)])
def test_lengths_over_the_limit_are_refused_before_anything_is_read(prefix):
    with pytest.raises(Malformed, match="a message of"):
        wire.lengths(struct.pack("<II", *prefix))


def test_a_truth_value_of_many_bits_is_one():
    tensor = wire.decode(b'{"x":["bool",[2]]}', b"\x02\x00")
    assert tensor.tolist() == [True, False]
    assert tensor.sum() == 1


PIECES = [b"[", b"]", b"{", b"}", b",", b":", b'"t"', b'"d"', b'"x"', b'"f"', b'"nan"', b'"float32"', b'"bool"',
          b"null", b"true", b"-1", b"2147483647", b"1e999", b"9" * 50, b'"\\ud800"', b"\xff", b"\x00", b"NaN"]


def fuzz(count, seed):
    """Decode ``count`` damaged messages; return how many were taken all the same."""
    draw, taken = random.Random(seed), 0
    messages = [wire.encode(value) for value in
                (*VALUES, {"nonce": "1", "value": [torch.ones(2, 3), (torch.zeros(0, 2), torch.ones(()).bool())]})]
    for _ in range(count):
        data = bytearray(draw.choice(messages))
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(data) + 1)
            piece = draw.choice(PIECES) if draw.random() < 0.7 else draw.randbytes(draw.randint(1, 4))
            data[place:place + draw.choice((0, 0, 1, len(piece)))] = piece
        try:
            tree, body = wire.lengths(bytes(data[:8]))
            rest = bytes(data[8:])
            if draw.random() < 0.8:  # else the lengths hardly ever fit
                tree = min(tree, len(rest))
            value = wire.decode(rest[:tree], rest[tree:tree + body])
        except (Malformed, struct.error):
            continue
        assert same(through(value), value)  # what is taken is plain
        taken += 1
    return taken


def test_damaged_messages_are_refused_or_plain():
    taken = fuzz(FUZZED, seed=0)
    assert 0 < taken < FUZZED


def test_a_message_is_json_that_others_can_read():
    message = wire.encode({"a": 1})
    assert json.loads(message[8:]) == {"d": [["a", 1]]}


@pytest.mark.parametrize("value", [
    {"operations": [["aten.relu.default", [{"#": 0}], {}]], "inputs": 1}, [None, True, 2, 0.5, math.inf, "ü"], []])
def test_a_folded_text_unfolds_to_the_same(value):
    assert wire.unfold(wire.fold(value)) == value


@pytest.mark.parametrize("text", [
    "[" * 30 + "]" * 30, "[" * 200_000 + "]" * 200_000, "{", "", "1" * 5_000, f"[{2 ** 5_000}]", None, 3, b"\xff", []])
def test_a_text_that_is_none_of_ours_is_refused(text):
    with pytest.raises(wire.Malformed, match="no text that was folded"):
        wire.unfold(text)


def test_damaged_texts_are_refused_or_plain():
    draw, taken = random.Random(0), 0
    pieces = ("[", "]", "{", "}", '"', ",", ":", "-", "1e999", "NaN", "null", "\\ud83d", "9" * 2_000, "[" * 30, "\0")
    whole = wire.fold({"operations": [["aten.relu.default", [{"#": 0}, 0.5, None, True], {"dim": [1]}]], "inputs": 1})
    for _ in range(FUZZED):
        text = list(whole)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(text) + 1)
            text[place:place + draw.choice((0, 1, 4))] = draw.choice(pieces)
        try:
            value = wire.unfold("".join(text))
        except Malformed:
            continue
        plain(value)  # raises where it is not
        taken += 1
    assert 0 < taken < FUZZED
