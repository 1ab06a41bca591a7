"""What a network brings into its training: start values that the judge has drawn, and few bytes beside.

A network that knew published images by heart would score without having learnt. What it knows has to lie somewhere: in
its tensors or in its lists of operations. So two networks are built. What differs between them is chance, and the judge
draws it anew: of each such tensor mean and spread remain. All else must come out small when it is compressed. Ones,
zeros, kernels and places by a formula do, a table does not.
"""

import json
import lzma

import torch

# Bytes. A dense network of 48 layers comes to 1,400, lesson 07's to 700; the labels of 10,000 images, of ten classes,
# take 4,153 at least.
MOST = 2_000
PLAIN = 0.5  # the most to which a tensor of regular numbers is compressed
TOO_MUCH = (
    "it brings {:,} bytes along, compressed, and {:,} are allowed: nothing known of the images may be brought. "
    "What counts are numbers that are the same in each build, whole numbers, and the operations of forward. Start "
    "values by chance do not count: they are drawn anew.")
KINDS = "parameters", "buffers"
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]


class Start:
    """What a network that is to be trained has of the student.

    Args:
        described: of the network, see ``tracing.build``; from then on its start values are the judge's.
        other: of another network that was built in the same way.

    Raises:
        AnswerError: it is too much.
    """

    def __init__(self, described, other):
        self.brought = [_draw(described, other)]
        self._expect_little()

    def add(self, program):
        """Count what a list of operations brings; one may keep for the next what it has brought.

        Raises:
            AnswerError: it is too much.
        """
        self.brought.append(written(program))
        self._expect_little()

    def _expect_little(self):
        from densenet_course.checks.engine.answer import AnswerError

        size = _size(self.brought)
        if size > MOST:
            raise AnswerError("the network", cause=TOO_MUCH.format(size, MOST))


def _draw(described, other):
    """Draw start values by chance anew; return what is left of the student's."""
    values = {(kind, number): row[1] for kind in KINDS for number, row in enumerate(described[kind])}
    chance = {place for place, value in values.items() if value.is_floating_point() and not _is_in(other, place, value)}
    if _size(_short(value) for place, value in values.items() if place not in chance) > MOST:
        chance |= {place for place, value in values.items() if place[0] == "parameters" and not _is_plain(value)}
    left = [_structure(described, chance)]
    for (kind, number), value in values.items():
        if (kind, number) in chance:
            value, remains = _drawn(value)
            name, _, *rest = described[kind][number]
            described[kind][number] = name, value, *rest
        else:
            remains = _short(value)
        left.append(remains)
    return b"".join(left)


def _is_in(other, place, value):
    """Tell whether another network has the same numbers in this place."""
    kind, number = place
    return number < len(other[kind]) and _raw(other[kind][number][1]) == _raw(value)


def _is_plain(value):
    return not value.is_floating_point() or _size([_short(value)]) <= max(64, PLAIN * value.nbytes)


def _drawn(value):
    """Draw a tensor from a normal distribution; tell what it has of the old one: mean, spread, and a sign for all."""
    numbers = value.double()
    rough = torch.stack([numbers.mean(), numbers.std(correction=0)]).bfloat16()
    mean, spread = rough.double()
    sign = 1 if (numbers >= 0).all() else -1 if (numbers <= 0).all() else 0
    drawn = torch.randn(value.shape, dtype=torch.float64) * spread + mean
    drawn = drawn.abs() * sign if sign else drawn
    return drawn.to(value.dtype), _raw(rough) + bytes([sign + 1])


def _structure(described, chance):
    """Write down shapes, types, and which tensors are drawn, trained or tied to which."""
    seen, rows = {}, []
    for kind in KINDS:
        for number, (_, value, trained, place) in enumerate(described[kind]):
            is_drawn = (kind, number) in chance
            tied = len(rows) - seen.setdefault(place, len(rows)) if place is not None else 0
            rows.append([kind[0], str(value.dtype), list(value.shape), trained is True, is_drawn, tied])
    return json.dumps(rows).encode()


def written(program):
    """Write a list of operations down so that equal layers look alike: references say how far back they lead.

    Args:
        program: from ``tracing.trace``, or whatever came in its place.
    """
    inputs, last = program["inputs"], 0

    def relative(value, number):
        nonlocal last
        if type(value) is list:
            return [relative(item, number) for item in value]
        place = value.get("#") if type(value) is dict else None
        if type(place) is not int:
            return value
        if place >= inputs:
            return {"#": number - place}
        last, step = place, place - last
        return {"input": step}

    steps = [relative(operation, number) for number, operation in enumerate(program["operations"], inputs)]
    return json.dumps([steps, relative(program["result"], 0)], default=str).encode()


def _short(value):
    """Return a tensor's bytes; one number is enough where all are equal."""
    return _raw(value.flatten()[:1] if (value == value.flatten()[:1]).all() else value)


def _raw(value):
    return value.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""


def _size(parts):
    return len(lzma.compress(b"".join(parts), lzma.FORMAT_RAW, filters=FILTERS))
