"""Judge an answer that builds modules: the findings that all such exercises share."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, probe
from densenet_course.checks.engine.expect import TOLERANCE, close, expect, expect_close, expect_parameters, rehearse
from densenet_course.checks.engine.wrong import Wrong

SQUEEZED = "One image alone loses its batch axis. Is there a squeeze()? Keep (N, …) for N = 1, too."


def _no_notes(*arguments):
    return {}


@dataclass(frozen=True)
class ModuleCase:
    """How one of the learner's modules is tried. Each method after ``play`` is a finding, to be used by an exercise.

    Args:
        name: the learner's class or function.
        oracle: builds the judge's own network from the same arguments.
        arguments: (draw) → fresh arguments; pick them so that the roles differ in shape.
        images: (draw, arguments) → a fresh input; call after call of another size.
        suspects: pairs (builder of a wrong network, message that names the mistake).
        notes: (*arguments) → {parameter shape: message} for wrong shapes whose cause is known.
        tolerance: see ``expect_close``.
    """

    name: str
    oracle: Callable
    arguments: Callable
    images: Callable
    suspects: tuple = ()
    notes: Callable = _no_notes
    tolerance: float = TOLERANCE

    def play(self, answer, draw, *steps, load=True):
        """Play a script with a fresh case on both sides, after giving both the same weights by shape.

        Args:
            answer: the answer.
            draw: fresh numbers.
            steps: dicts of keywords for ``probes.perform_script``; a "run" without "images" gets fresh ones, and
                "upstream": True a fresh gradient.
            load: False leaves BatchNorm as it was made, and loads the rest.

        Returns:
            (expected replies, the answer's replies, suspects' replies as pairs (replies, message))
        """
        request = self.request(draw, *steps, load=load)
        arguments, script = request["arguments"], request["script"]
        got = answer.ask(probes.play, **request)
        expected = rehearse(self.oracle(*arguments), script)
        return expected[2:], got[2:], [(replies[2:], message) for replies, message in self._wrong(arguments, script)]

    def request(self, draw, *steps, load=True):
        """Draw a case and make the request for ``probes.play``, see ``play``; its first two steps warm up and load."""
        arguments = self.arguments(draw)
        oracle = self.oracle(*arguments)
        values = probes.values_for(oracle, draw.generator)
        if not load:
            values = {key: value if len(key[1]) > 1 else None for key, value in values.items()}
        script = [{"do": "warm up", "images": self.images(draw, arguments)}, {"do": "load", "values": values}]
        script += [self._complete(step, oracle, draw, arguments) for step in steps]
        return {"name": self.name, "arguments": arguments, "script": script, "seed": draw.integer(0, 10**6)}

    def _complete(self, step, oracle, draw, arguments):
        if step["do"] != "run" or "images" in step:
            return step
        images = self.images(draw, arguments)
        if step.get("upstream") is True:
            shape = rehearse(oracle, [{"do": "run", "images": images}])[0]["output"].shape
            step = step | {"upstream": draw.normal(*shape)}
        return step | {"images": images}

    def _wrong(self, arguments, script):
        for builder, message in self.suspects:
            try:
                yield rehearse(builder(*arguments), script), message
            except (RuntimeError, ValueError, AnswerError):  # for these sizes the mistake raises
                continue

    def parameters(self, answer, draw):
        """The parameters are those it should have, by shape: none missing, none too many, none tied, none frozen."""
        arguments = self.arguments(draw)
        script = [{"do": "warm up", "images": self.images(draw, arguments)}, {"do": "parameters"}]
        got = answer.ask(probes.play, name=self.name, arguments=arguments, script=script)[1]
        expected = rehearse(self.oracle(*arguments), script)[1]
        expect_parameters(expected, got, notes=self.notes(*arguments))
        frozen = [name for name, _, trained in got if not trained]
        if frozen:
            raise Wrong("parameters",
                        cause=f"expected all of them to be trained, but {', '.join(frozen[:3])} are frozen.")

    def shape(self, answer, draw):
        """The output has the right shape, for three sizes of batch and image, and for one image alone."""
        alone = replace(self, images=lambda draw, arguments: self.images(draw, arguments)[:1])
        for case in (self, self, self, alone):
            (expected,), (got,), wrong = case.play(answer, draw, {"do": "run"})
            right = tuple(expected["output"].shape)
            shapes = [(right[1:], SQUEEZED), *((tuple(w[0]["output"].shape), message) for w, message in wrong)]
            expect("output shape", right, tuple(got["output"].shape), suspects=shapes)

    def values_in_eval(self, answer, draw):
        """The output has the right values in evaluation mode, for two sizes."""
        for _ in range(2):
            (expected,), (got,), wrong = self.play(answer, draw, {"do": "run"})
            self._hold("output in eval mode", expected, got, [(w[0], message) for w, message in wrong])

    def values_in_training(self, answer, draw):
        """BatchNorm uses the batch's statistics in training, remembers them, and uses them in evaluation mode."""
        training = {"do": "run", "train": True}
        expected, got, wrong = self.play(answer, draw, training, training, {"do": "run"})
        for i, what in ((0, "output in train mode"), (2, "output in eval mode after two training steps")):
            self._hold(what, expected[i], got[i], [(w[i], message) for w, message in wrong])

    def start_values(self, answer, draw):
        """A fresh module's BatchNorm starts as PyTorch makes it: γ = 1, β = 0, running mean 0 and variance 1."""
        expected, got, wrong = self.play(answer, draw, {"do": "run"}, {"do": "run", "train": True}, load=False)
        for i, mode in enumerate(("eval", "train")):
            self._hold(f"output of a fresh module in {mode} mode (BatchNorm untouched)", expected[i], got[i],
                       [(w[i], message) for w, message in wrong])

    def gradients(self, answer, draw, **options):
        """The gradients reach the input and every parameter, with the right values; ``options`` are the step's."""
        step = {"do": "run", "train": True, "upstream": True} | options
        (expected,), (got,), wrong = self.play(answer, draw, step)
        if not got["requires_grad"] or got["input_gradient"] is None:
            raise Wrong("gradients",
                        cause="no gradient comes back to the input. Is there a detach(), no_grad() or .data on "
                              "the way?")
        self._hold("output in train mode", expected, got, [(w[0], message) for w, message in wrong])
        for shape, value in expected["gradients"].items():
            if shape not in got["gradients"]:
                raise Wrong("gradients",
                            cause=f"none reaches the parameter of shape {shape}. Is it used, and not detached?")
            expect_close(f"gradient of the parameters of shape {shape}", value, got["gradients"][shape],
                         tolerance=10 * self.tolerance)
        expect_close("gradient of the input", expected["input_gradient"], got["input_gradient"],
                     tolerance=10 * self.tolerance)

    def side_effects(self, answer, draw):
        """A call leaves the input as it was, and the next call does not feel it."""
        first = {"do": "run", "images": self.images(draw, arguments := self.arguments(draw))}
        other = {"do": "run", "images": self.images(draw, arguments)}
        alike = {"do": "run", "images": -first["images"]}  # of the same shape: what is kept may go by shape
        script = [{"do": "warm up", "images": first["images"]}, first, other, alike, first]
        replies = answer.ask(probes.play, name=self.name, arguments=arguments, script=script)[1:]
        if any(reply["input_changed"] for reply in replies):
            raise Wrong("input", cause="the call changed the caller's tensor. Is there an in-place operation, such as "
                        "ReLU(inplace=True) or +=, on the input itself?")
        before, *_, after = (reply["output"] for reply in replies)
        if before.shape != after.shape or not close(before, after, tolerance=1e-6):
            raise Wrong("second call",
                        cause=f"the same input gave {tuple(before.shape)} first and {tuple(after.shape)} later, "
                              "or other values. Is something kept on self between calls, or random in eval mode?")

    def fresh(self, answer, draw):
        """Two calls build two modules: nothing shared, start values drawn anew."""
        arguments = self.arguments(draw)
        shared, equal = answer.ask(build_twice, name=self.name, arguments=arguments,
                                   images=self.images(draw, arguments))
        if shared:
            raise Wrong(f"two modules share the parameter {shared}. Build new layers in each call, not once outside.")
        if equal:
            raise Wrong(f"two fresh modules start with equal weights in {equal}. Leave the start values to PyTorch, "
                        "and set no seed inside.")

    def _hold(self, what, expected, got, wrong):
        suspects = [(reply["output"], message) for reply, message in wrong]
        expect_close(what, expected["output"], got["output"], suspects=suspects, tolerance=self.tolerance)


@probe
def build_twice(objects, name, arguments, images):
    """Build a module twice.

    Returns:
        (name of a parameter that both share, name of a weight of 2 or more axes that is equal in both); "" for none.
    """
    pair = [probes.build(objects, name, arguments) for _ in range(2)]
    for module in pair:
        probes.perform_script(module, [{"do": "warm up", "images": images}])
    both = [(key, a, b) for (key, a), b in zip(pair[0].named_parameters(), pair[1].parameters(), strict=False)]
    shared = [key for key, a, b in both if a.data_ptr() == b.data_ptr()]
    equal = [key for key, a, b in both if a.ndim > 1 and torch.equal(a, b)]
    return (shared or [""])[0], (equal or [""])[0]
