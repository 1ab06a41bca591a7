"""The answer's side of memory: wrap a bottleneck layer, use it, and count what is kept for the backward pass."""

import gc

import torch
from torch import nn

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, kind_of, probe, raised
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.layers import BottleneckLayer


class Subject:
    """A bottleneck layer and what the learner's class made of it.

    Args:
        objects: the learner's objects.
        name: which of them.
        arguments: of the bottleneck layer.
        state: of the bottleneck layer.
        momentum: of its BatchNorms.
    """

    def __init__(self, objects, name, arguments, state, momentum):
        self.layer, self.state = BottleneckLayer(*arguments), state
        for norm in norms(self.layer):
            norm.momentum = momentum
        self.layer.load_state_dict(state)
        self.parameters, self.buffers = dict(self.layer.named_parameters()), dict(self.layer.named_buffers())
        self.wrapped = probes.build(objects, name, (self.layer,))

    def begin(self, train):
        """Set the mode, of the layer too in case it is not registered, and the state as at the beginning."""
        self.wrapped.train(train)
        self.layer.train(train)
        with torch.no_grad():
            for key, value in (self.parameters | self.now()).items():
                value.copy_(self.state[key])
                value.grad = None

    def now(self):
        """Return the layer's buffers of this moment; an answer may have put others there."""
        return self.buffers | {key: value for key, value in self.layer.named_buffers() if key in self.buffers}

    def call(self, images):
        """Call the wrapped layer; refuse what is no tensor."""
        output = self.wrapped(images)
        if not isinstance(output, torch.Tensor):
            raise AnswerError("the forward pass", "a tensor", kind_of(output), returned_nothing(output))
        return output


def norms(module):
    """Return a module's BatchNorms."""
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


@probe
def use(objects, name, layer, steps, fresh=True):
    """Wrap a layer and use it step by step, each from the same state.

    Args:
        objects: the learner's objects.
        name: which of them.
        layer: arguments, state and momentum of the layer.
        steps: each a dict: "train", "images" (a list: one call for each, before the backward pass), "needs" (whether
            images need gradients), "grad" (False: under no_grad), "upstream" (a list of gradients, or absent).
        fresh: wrap a new layer for every step.

    Returns:
        One reply for each step, see ``_step``; {"raised": fields of a complaint} where it raised.
    """
    subject, replies = None, []
    for step in steps:
        if fresh or subject is None:
            subject = Subject(objects, name, **layer)
        try:
            replies.append({"raised": None} | _step(subject, **step))
        except AnswerError as error:
            replies.append({"raised": error.fields})
        except Exception as error:
            replies.append({"raised": raised(error)})
    return replies


def _step(subject, train, images, needs=True, grad=True, upstream=None):
    subject.begin(train)
    leaves = [image.clone().requires_grad_(needs) for image in images]
    given = [leaf * 1 for leaf in leaves]  # no leaves: an in-place operation shows as a change, not as an error
    with torch.set_grad_enabled(grad):
        outputs = [subject.call(image) for image in given]
    reply = {
        "outputs": [output.detach().clone() for output in outputs],
        "input_changed": any(not torch.equal(a.detach(), b) for a, b in zip(given, images, strict=True)),
        "requires_grad": all(output.requires_grad for output in outputs),
    }
    if upstream is not None and reply["requires_grad"]:
        for output, gradient in zip(outputs, upstream, strict=True):
            if output.shape != gradient.shape:
                raise AnswerError(f"output: expected shape {tuple(gradient.shape)}, got {tuple(output.shape)}")
        torch.autograd.backward(outputs, upstream)
    return reply | {
        "input_gradients": [leaf.grad for leaf in leaves],
        "gradients": {key: value.grad for key, value in subject.parameters.items()},
        "buffers": {key: value.clone() for key, value in subject.now().items()},
        "settings": _settings(subject),
    }


def _settings(subject):
    """Report what a step should leave alone, as (place, what, value)."""
    parts = [(name or "the layer", part) for name, part in subject.layer.named_modules()]
    return [
        *((name, "training", part.training) for name, part in parts),
        *((name, key, getattr(part, key)) for name, part in parts if isinstance(part, nn.BatchNorm2d)
          for key in ("momentum", "track_running_stats", "eps")),
        *((name, "requires_grad", value.requires_grad) for name, value in subject.parameters.items()),
    ]


@probe
def describe_module(objects, name, layer):
    """Wrap a layer and tell whether it is a part of the wrapper.

    Returns:
        {"missing": names of the layer's parameters that the wrapper does not list, "lost": names of its state that the
        wrapper's state_dict lacks, "modes": for train and for eval, whether all BatchNorms of the layer follow,
        "own modes": whether the wrapper's training does, "extra": further parameters of the wrapper}
    """
    subject = Subject(objects, name, **layer)
    listed = {id(parameter) for parameter in subject.wrapped.parameters()}
    stored = {value.data_ptr() for value in subject.wrapped.state_dict().values()}
    everything = subject.parameters | subject.now()
    modes, own = [], []
    for mode in (True, False):
        subject.layer.train(not mode)
        subject.wrapped.train(mode)
        modes.append(all(norm.training == mode for norm in norms(subject.layer)))
        own.append(subject.wrapped.training == mode)
    known = {id(parameter) for parameter in subject.parameters.values()}
    return {
        "missing": [key for key, parameter in subject.parameters.items() if id(parameter) not in listed],
        "lost": [key for key, value in everything.items() if value.data_ptr() not in stored],
        "modes": modes, "own modes": own,
        "extra": [key for key, value in subject.wrapped.named_parameters() if id(value) not in known],
    }


@probe
def count_bytes(objects, name, layer, images, train, collect=False):
    """Count the bytes kept between forward and backward pass when the input needs gradients.

    Args:
        objects: the learner's objects.
        name: which of them.
        layer: arguments, state and momentum of the layer.
        images: the input.
        train: the mode.
        collect: let Python free cycles of garbage first, which takes a while.

    Returns:
        {"saved": bytes of distinct storages seen by saved-tensor hooks, without parameters, "alive": bytes of what the
        forward pass made and what is still there after it, without its output, "reaches": whether a gradient
        comes back through the layer}
    """
    subject = Subject(objects, name, **layer)
    subject.begin(train)
    counts = {"saved": _saved(subject, images), "alive": _alive(subject, images, collect)}
    return counts | {"reaches": _reaches(subject, images)}


def _reaches(subject, images):
    leaf = images.clone().requires_grad_()
    output = subject.call(leaf)
    if not output.requires_grad:
        return False
    try:
        output.sum().backward()
    except Exception:  # told where gradients are compared
        return True
    gradients = [parameter.grad for parameter in subject.parameters.values() if parameter.grad is not None]
    through = leaf.grad is not None and leaf.grad.std() > 0  # a gradient that passed by the layer is 1 everywhere
    return bool(through) or any(gradient.any().item() for gradient in gradients)


def _saved(subject, images):
    kept = []  # holds on to the tensors, so that no address is used twice

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = subject.call(images.clone().requires_grad_())
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    known = {parameter.untyped_storage().data_ptr() for parameter in subject.parameters.values()}
    del output
    return sum(size for address, size in storages.items() if address not in known)


def _alive(subject, images, collect):
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    made = {}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    storage = tensor.untyped_storage()
                    made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
            return result

    given = images.clone().requires_grad_()
    with Watch():
        output = subject.call(given)
    if collect:
        gc.collect()
    apart = {given.untyped_storage()._cdata, output.untyped_storage()._cdata}
    return sum(size for key, (reference, size) in made.items() if key not in apart and not reference.expired())
