"""Say what PyTorch's errors mean, and what the learner can do about them.

A table holds pairs (pattern, meaning). The first pattern that is found in what was raised gives the meaning: a text in
which {0}, {1} are the pattern's groups, or a function (match, arguments of the call) → text, "" for none.
"""

import re
from functools import wraps

from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.wrong import Wrong

CHANNELS = ("Channels do not fit. Does the stem take in_channels, does each layer join its new maps to all before it, "
            "is the count updated after a block and after a transition?")
SAME = "The second pass must save what the first one did: keep BatchNorm's mode and buffers."
PADDED = "A 3×3 convolution needs padding=1 and no dilation; otherwise a pixel is lost on each side."
OVERWRITTEN = "The gradients still need what was overwritten. Is there an in-place operation on the input"

NETWORK = (
    (r"mat1 and mat2", "The classifier gets another number of values than it reads. Average every map to one number; "
                       "then any image size passes."),
    (r"Sizes of tensors must match", f"Maps are joined along the channels, dim=1. {PADDED}"),
    (r"should contain|channels, but got", CHANNELS),
    (r"Output size is too small", "The maps are halved too often: only transitions between blocks halve them."),
    (r"unexpected keyword", "The names of the arguments are part of the task."),
)
BLOCK = (
    (r"must match except in dimension [023]", "Maps are joined along the channels, dim=1."),
    (r"must match except in dimension 1", f"Do all maps keep height and width? {PADDED}"),
    (r"[Kk]ernel size can't be greater", PADDED),
    (r"modified by an inplace operation", f"{OVERWRITTEN}, or are maps written into a tensor that a layer has read? "
                                          "Use torch.cat."),
    (r"must match the size of tensor", "Maps are joined with torch.cat, not added."),
)
TRANSITION = (
    (r"divisible by groups|type float|'float' object|must be .*int", "The number of channels must be whole: "
     "int(compression * in_channels)."),
    (r"should contain (\d+) elements not (\d+)", "BatchNorm got {0} channels and was built for {1}. It stands in front "
     "and normalises the input's channels."),
    (r"to have (\d+) channels, but got (\d+)", "The convolution got {1} channels and was built for {0}. It reads "
     "in_channels of them."),
    (r"invalid for input of size|size of tensor", "Do odd heights and widths work? The last row or column is dropped: "
     "7 → 3."),
    (r"modified by an inplace operation", f"{OVERWRITTEN}?"),
)
RECOMPUTING = (
    (r"number of tensors was saved|different metadata", SAME),
    (r"a second time", "Is an output or a graph kept between calls?"),
)
LOOP = (
    (r"modified by an inplace operation", "A weight was modified since the forward pass. Is step() called between the "
                                          "forward pass and backward()?"),
    (r"len\(\)|'dataset'|not subscriptable", "batches may be a generator. Count the samples as they come."),
    (r"ZeroDivisionError", "Is batches gone through twice? A generator gives its batches once only."),
    (r"must match the size", "Is argmax taken over axis 1, the classes?"),
    (r"does not require grad", "Is the forward pass inside no_grad()?"),
)


def meaning(raised, table, arguments=()):
    """Return what an error means, or "".

    Args:
        raised: what was raised, in words.
        table: see the module.
        arguments: of the call that raised.
    """
    for pattern, words in table:
        if found := re.search(pattern, raised):
            text = words(found, arguments) if callable(words) else words.format(*found.groups())
            if text:
                return text
    return ""


class Explaining:
    """An answer whose errors are explained.

    Args:
        answer: an ``Answer``.
        table: see the module.
        what: what is tried, in place of the call.
    """

    def __init__(self, answer, table=(), what=""):
        self.answer, self.table, self.what = answer, table, what

    def ask(self, probe, **request):
        """See ``Answer.ask``."""
        try:
            return self.answer.ask(probe, **request)
        except AnswerError as error:
            cause = error.cause or meaning(error.raised, self.table, request.get("arguments", ()))
            raise error.but(what=self.what or error.what, cause=cause) from None


def explained(table):
    """Decorate a finding: errors of the answer get their meaning from a table."""

    def decorate(finding):
        @wraps(finding)
        def look(answer, draw):
            return finding(Explaining(answer, table), draw)

        return look

    return decorate


def expect_no_error(raised, table, what=""):
    """Refuse a call that raised, and say what its error means.

    Args:
        raised: what a probe reports: None, or fields of a ``Complaint`` as ``answer.raised`` gives them.
        table: see the module.
        what: what was tried.

    Raises:
        Wrong: it raised.
    """
    if raised:
        wrong = Wrong(**raised)
        raise wrong.but(what=what or wrong.what, cause=wrong.cause or meaning(wrong.raised, table))


def returned_nothing(value):
    """Ask for a return where an answer gave None; else ""."""
    return "Is there a return?" if value is None else ""
