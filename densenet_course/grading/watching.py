"""What a module does whatever its numbers are: forward passes on decoys, compared operation by operation."""

import copy

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from densenet_course.grading.operations import MAX_CONSTANT, Refused

MOST_LOOKS = 32  # at numbers, in one pass; for each there are passes more
FAR = 10**6


def decoys(state):
    """Draw other numbers for every tensor, positive ones, for some are variances; a layer's outputs stay finite."""
    floating = {name: value for name, value in state.items() if value.is_floating_point()}
    drawn = torch.rand(sum(value.numel() for value in floating.values())).add_(0.5)  # at once: there are many
    drawn = drawn.split([value.numel() for value in floating.values()])
    return {name: value.clone() if name not in floating else None for name, value in state.items()} | {
        name: _scaled(numbers.view(value.shape)).to(value.dtype)
        for (name, value), numbers in zip(floating.items(), drawn, strict=True)}


def _scaled(numbers):
    return numbers.mul_(len(numbers) / numbers.numel()) if numbers.ndim > 1 and len(numbers) else numbers


def leaves(values):
    """List what lies in lists, tuples and dicts; PyTorch's own function knows more kinds, and is slow."""
    if isinstance(values, list | tuple):
        return [leaf for value in values for leaf in leaves(value)]
    if isinstance(values, dict):
        return leaves([*values.values()])
    return [values]


def watched(module, state, shape, lie=None):
    """Run a forward pass on decoys.

    Args:
        module: of the learner's.
        state: its tensors by name.
        shape: of the images.
        lie: (which look at a number, what it is told instead), or None.

    Returns:
        What was done, with the numbers of all tensors that are neither given nor made; and what each look was told.
    """
    images, given = torch.rand(shape), decoys(state)
    with torch.no_grad(), _Watch((images, *given.values()), lie) as watch:
        output = torch.func.functional_call(module, given, (images,))
    return [*watch.done, ("result", [watch.note(value) for value in leaves(output)])], watch.looks


def twin(module):
    """Return a copy, or None of a module that cannot be copied."""
    try:
        return copy.deepcopy(module)
    except Exception:  # of whatever kind: it is the learner's
        return None


def expect_the_same(first, module, other, state, shape):
    """Raise ``Refused`` unless each call does the same, whatever the numbers are.

    Args:
        first: what the first call did, see ``watched``.
        module: of the learner's.
        other: its twin from before that call, which may keep what does not depend on numbers; or None: nothing is kept.
        state, shape: see ``watched``.
    """
    again, looks = watched(module, state, shape)
    if first != again and not (other and _second(other, state, shape) == again):
        raise Refused("the same call did two different things")
    if len(looks) > MOST_LOOKS:
        raise Refused(f"it looks at its numbers more than {MOST_LOOKS} times")
    for number, told in enumerate(looks):
        for lie, may_end in _lies(told):
            _expect_no_choice(again, module, state, shape, (number, lie), may_end)


def _second(module, state, shape):
    watched(module, state, shape)
    return watched(module, state, shape)[0]


def _lies(told):
    """Return what else a look might be told, and whether that may end the call with an error, as an assertion does."""
    if type(told) is bool:
        return [(not told, True)]
    return [(told + 1, False), (told + FAR, True), (told - FAR, True)]


def _expect_no_choice(again, module, state, shape, lie, may_end):
    try:
        done = watched(module, state, shape, lie)[0]
    except Exception:  # of whatever kind: it is the learner's
        done = again if may_end else None
    if done != again:
        raise Refused("it chooses by a number what it does")


class _Watch(TorchDispatchMode):
    """Note every operation, and where its tensors come from.

    Args:
        given: tensors whose numbers differ from pass to pass.
        lie: see ``watched``.
    """

    def __init__(self, given, lie):
        super().__init__()
        self.done, self.known, self.kept, self.looks, self.lie = [], {}, [], [], lie
        self.moving = set()  # memory with numbers that differ from pass to pass
        self._know(given, True)

    def _know(self, values, moving):
        for tensor in leaves(values):
            if isinstance(tensor, torch.Tensor):
                self.kept.append(tensor)  # no other one takes its place
                self.known[id(tensor)] = len(self.known)
                if moving:
                    self.moving.add(tensor.untyped_storage().data_ptr())

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = leaves((args, kwargs or {}))
        note = [self.note(value) for value in given]
        moving = torch.Tag.nondeterministic_seeded in function.tags or any(
            value.untyped_storage().data_ptr() in self.moving for value in given if isinstance(value, torch.Tensor))
        made = function(*args, **(kwargs or {}))
        if moving and torch.Tag.data_dependent_output in function.tags:
            made = self._told(made)
        self._know(made, moving)
        self.done.append((str(function), note))
        return made

    def _told(self, number):
        which, instead = self.lie or (None, None)
        self.looks.append(instead if which == len(self.looks) else number)
        return self.looks[-1]

    def note(self, value):
        """Say where a value comes from; of a tensor from elsewhere its numbers."""
        if not isinstance(value, torch.Tensor):
            return str(value)
        if id(value) in self.known:
            return self.known[id(value)]
        return tuple(value.shape), value.flatten()[:MAX_CONSTANT].tolist()
