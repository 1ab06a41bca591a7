"""Networks that an answer prepares for transfer: built and played with on its side, described on the judge's."""

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, kind_of, probe
from densenet_course.checks.engine.explain import returned_nothing
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds import given

NAME = "prepare_for_transfer"


# The answer's side


@probe
def prepare(objects, name, recipe, num_classes, script, train=True):
    """Build a network, let the learner's function prepare it, and play a script with what comes out.

    Args:
        objects: the learner's objects.
        name: which of them.
        recipe: of the network, see ``given``.
        num_classes: the new number of classes.
        script: the steps, each a tuple of the name of one of the functions below and its arguments.
        train: the network's mode when it is given.

    Returns:
        One reply for each step.
    """
    prepared = hand_over(objects, name, recipe=recipe, num_classes=num_classes, train=train)
    return [_STEPS[step](prepared, *arguments) for step, *arguments in script]


def hand_over(objects, name, recipe, num_classes, train):
    """Build a network, and return what the learner's function makes of it; see ``prepare``.

    Raises:
        AnswerError: what comes out is no module.
    """
    torch.manual_seed(0)
    prepared = objects[name](given.network(recipe).train(train), num_classes)
    if not isinstance(prepared, nn.Module):
        raise AnswerError(f"what {name} gave", "an nn.Module", kind_of(prepared), returned_nothing(prepared))
    return prepared


def _warm_up(prepared, images):
    probes.perform_script(prepared, [{"do": "warm up", "images": images}])


def _tensors(prepared):
    return {
        "parameters": {key: value.detach().clone() for key, value in prepared.named_parameters()},
        "trained": [key for key, value in prepared.named_parameters() if value.requires_grad],
        "buffers": {key: value.clone() for key, value in prepared.named_buffers()},
    }


def _load(prepared, *values):
    with torch.no_grad():
        for parameter in prepared.parameters():
            for value in values:
                if parameter.shape == value.shape:
                    parameter.copy_(value)


def _mode(prepared, train):
    return switch(prepared, train)


def switch(prepared, train):
    """Call ``train()`` or ``eval()``.

    Returns:
        {"training": what the network says of itself then, "returned": None where it returned itself, else the kind of
        what it returned}
    """
    returned = prepared.train() if train else prepared.eval()
    return {"training": bool(prepared.training), "returned": None if returned is prepared else kind_of(returned)}


@torch.no_grad()
def _run(prepared, images):
    output = prepared(images.clone())
    if not isinstance(output, torch.Tensor):
        raise AnswerError("the forward pass", "a tensor", kind_of(output), returned_nothing(output))
    return output


def _fit(prepared, *batches):
    """Take one SGD step on each batch; tell whether the outputs could be trained at all."""
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)
    for images in batches:
        output = prepared(images.clone())
        if not output.requires_grad:
            return False
        optimizer.zero_grad()
        (output - 1).square().mean().backward()
        optimizer.step()
    return True


_STEPS = {"warm up": _warm_up, "tensors": _tensors, "load": _load, "mode": _mode, "run": _run, "fit": _fit}


# The judge's side


class Trial:
    """One network to be prepared, and what should come out.

    Args:
        draw: fresh numbers.
        library: see ``given.draw_network``.
        same: whether the new number of classes is the old one.
    """

    def __init__(self, draw, library, *, same=False):
        self.recipe = given.draw_network(draw, library)
        self.old = self.recipe["sizes"]["num_classes"]
        self.num_classes = self.old if same else draw.random.choice([41, 43, 79, 83])
        self.channels = self.recipe["weights"]["classifier.weight"].shape[1]
        self.weight = draw.normal(self.num_classes, self.channels, scale=self.channels**-0.5)
        self.bias = draw.normal(self.num_classes)
        self.images, self.train = given.draw_images(draw), draw.random.choice([True, False])

    def ask(self, answer, *script, train=None):
        """Play a script with the network that the answer prepares; return the replies. ``train``: see ``prepare``."""
        return answer.ask(prepare, name=NAME, recipe=self.recipe, num_classes=self.num_classes,
                          script=[("warm up", self.images), *script], train=self.train if train is None else train)[1:]

    def load(self):
        """Return the step that makes the judge's numbers the classifier's."""
        return "load", self.weight, self.bias

    def maps(self, *, train=False):
        """Return the last maps (N, C, H, W) before the last ReLU."""
        with torch.no_grad():
            return given.network(self.recipe).train(train).features(self.images)

    def classify(self, pooled):
        """Return the judge's logits of pooled features (N, C)."""
        return F.linear(pooled, self.weight, self.bias)

    def weights_of(self, parameters):
        """Return the names of parameters that have the new classifier's shapes: (weights, biases)."""
        shapes = {key: tuple(value.shape) for key, value in parameters.items()}
        wanted = (self.num_classes, self.channels), (self.num_classes,)
        return [[key for key, shape in shapes.items() if shape == one] for one in wanted]

    def lost(self, tensors):
        """Return the names of the given features' weights and statistics that a prepared network does not hold."""
        held = [*tensors["parameters"].values(), *tensors["buffers"].values()]
        return [key for key, value in self.recipe["weights"].items()
                if key.startswith("features.") and value.is_floating_point()
                and not any(value.shape == other.shape and torch.equal(value, other) for other in held)]

    def expect_classifier(self, tensors):
        """Raise ``Wrong`` unless there is a weight (num_classes, C) and a bias (num_classes,), and no second Linear."""
        weights, biases = self.weights_of(tensors["parameters"])
        matrices = {key: tuple(value.shape) for key, value in tensors["parameters"].items() if value.ndim == 2}
        expected = f"classifier: expected a Linear with {self.channels} inputs and {self.num_classes} outputs"
        if not weights:
            got = ", ".join(f"{columns} → {rows}" for rows, columns in matrices.values())
            causes = {
                (self.num_classes, self.old): " It reads the old classifier's logits; put it in the old one's place.",
                (self.old, self.channels): " The old classifier is still there.",
                (self.num_classes, 1024): " 1024 fits DenseNet-121 only. Ask model.classifier.in_features.",
            }
            cause = next((text for shape, text in causes.items() if shape in matrices.values()), "")
            if not cause and len(matrices) > 1:
                cause = " One linear layer is asked for."
            raise Wrong(f"{expected}, got {got or 'no Linear at all'}.{cause}")
        if not biases:
            raise Wrong(f"{expected} and a bias, got one without bias. Leave nn.Linear's default.")
        trained = [key for key in matrices if key in tensors["trained"]]
        if len(trained) > 1:
            raise Wrong("classifier", cause=f"expected one trained Linear, got {len(trained)}: {', '.join(trained)}.")

    def expect_logits(self, output):
        """Raise ``Wrong`` unless an output is one row of different numbers for each image: nothing else is judged."""
        expected = f"output: expected shape {(len(self.images), self.num_classes)}"
        if output.ndim != 2 or len(output) != len(self.images):
            raise Wrong(f"{expected}, got {tuple(output.shape)}.")
        if not torch.isfinite(output).all() or output.double().std(0).max() == 0:
            raise Wrong("output", cause="it is NaN, infinite, or the same for all images.")
