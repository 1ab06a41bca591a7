"""Plain values: all that passes between judge and answer. None of the learner's own methods is called on the way."""

import unicodedata

import torch

from densenet_course.checks.engine.wrong import AnswerError

MAX_DEPTH, MAX_ITEMS, MAX_BITS = 24, 200_000, 4_096
MAX_TEXT = 300  # letters of what an answer names or says


def plain(value, depth=MAX_DEPTH):
    """Turn a reply into plain values; tensors are copied to the CPU.

    Types are compared exactly and tensors are read by PyTorch's own methods, because a subclass, an attribute or
    ``__class__`` of the learner's could answer in their place.

    Raises:
        AnswerError: it holds something that is not plain, or too much.
    """
    kind = type(value)
    if value is None or kind in (bool, float):
        return value
    if kind is int:
        if int.bit_length(value) > MAX_BITS:
            raise AnswerError("expected a number of ordinary size, got a whole number of more than 1,200 digits")
        return value
    if kind is str:
        return value
    if depth == 0 or (kind in (list, tuple, dict) and len(value) > MAX_ITEMS):
        raise AnswerError("expected numbers and tensors, got lists that are nested too deep or too long")
    if kind in (list, tuple):
        return kind([plain(item, depth - 1) for item in value])
    if kind is dict:
        return {plain(key, depth - 1): plain(item, depth - 1) for key, item in dict.items(value)}
    if issubclass(kind, torch.Tensor):
        return _plain_tensor(value)
    raise AnswerError(f"expected numbers and tensors, got {kind_of(value)}")


def _plain_tensor(value):
    """Copy a tensor as ``torch.Tensor`` itself, without what a subclass or an attribute puts in the way."""
    if torch._C._dispatch_keys(value).has(torch._C.DispatchKey.Python):  # its numbers are what the subclass says
        raise AnswerError("expected an ordinary tensor with numbers of its own")
    with torch._C.DisableTorchFunctionSubclass():
        try:
            if torch.Tensor.layout.__get__(value) != torch.strided or torch.Tensor.is_quantized.__get__(value):
                raise AnswerError("expected an ordinary dense tensor")
            copy = torch.Tensor.as_subclass(torch.Tensor.detach(value), torch.Tensor)
            if copy.numel() and copy.untyped_storage().nbytes() < _bytes_reached(copy):  # reading on would crash
                raise AnswerError("expected an ordinary tensor with numbers of its own")
            copy = torch.Tensor.to(copy, "cpu", copy=True)
        except (RuntimeError, NotImplementedError, TypeError):
            raise AnswerError("expected an ordinary tensor with numbers of its own") from None
    if type(copy) is not torch.Tensor:
        raise AnswerError("expected an ordinary tensor")
    return copy


def _bytes_reached(tensor):
    """Return how many bytes of its storage a tensor that is not empty reaches."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (tensor.storage_offset() + last + 1) * tensor.element_size()


def class_name(kind):
    """Return the name of a class, cut, whatever its metaclass says."""
    return cut(type.__dict__["__name__"].__get__(kind), 80)


def kind_of(value):
    """Say in a few words what an object is."""
    kind = type(value)
    if issubclass(kind, type):
        return f"the class {class_name(value)}"
    if issubclass(kind, torch.Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            return f"a tensor of shape {tuple(torch.Tensor.shape.__get__(value))}"
    if value is None:
        return "None"
    if value is ...:
        return "..."
    name = class_name(kind)
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"


def clean(text):
    """Drop control characters and those that turn the direction of writing; any white space becomes a space."""
    text = "".join(" " if letter.isspace() else letter for letter in text)
    return "".join(letter for letter in text if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


def cut(text, length=MAX_TEXT):
    """Clean a text, and leave out its middle where it is longer than ``length`` letters."""
    text = str.__str__(text)  # of a subclass, too
    if len(text) > 4 * length:  # the cleaning of a text of megabytes would take long
        text = text[:2 * length] + text[-2 * length:]
    text = clean(text)
    if len(text) <= length:
        return text
    end = length // 3
    return f"{text[:length - end - 3]}...{text[-end:]}"
