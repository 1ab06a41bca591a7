"""Judge an answer that builds modules against a solution: the findings that all such exercises share."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import probe
from densenet_course.checks.engine.expect import TOLERANCE, alike, close, expect_parameters, rehearse, told, without
from densenet_course.checks.engine.mistakes import Mistake, Solution
from densenet_course.checks.engine.wrong import Wrong

MISFIT = "the check's weights do not fit into your parameters. Mend “parameters” first."
REACHED = "parameters that a gradient reaches, by shape"
DROPOUT = "the same images gave two different outputs. Is a Dropout left in?"


def _no_notes(*arguments):
    return {}


@dataclass(frozen=True)
class ModuleCase:
    """How one of the learner's modules is tried. Each method after ``hold`` is a finding, to be used by an exercise.

    Args:
        name: the learner's class or function.
        solution: what it is held against, a ``Solution`` that defines ``name``; or a builder of the right module.
        arguments: (draw) → fresh arguments; pick them so that the roles differ in shape.
        images: (draw, arguments) → a fresh input; call after call of another size.
        suspects: where ``solution`` is a builder: pairs (builder of a wrong module, message that names the mistake).
        notes: (*arguments) → {parameter shape: message} for wrong shapes whose cause is known.
        tolerance: of values, see ``Solution.hold``.
        groups: see ``Solution.hold``; the fewer, the more a module costs.
    """

    name: str
    solution: Solution | Callable
    arguments: Callable
    images: Callable
    suspects: tuple = ()
    notes: Callable = _no_notes
    tolerance: float = TOLERANCE
    groups: int = 800

    def solution_for(self, draw):
        """Return the ``Solution`` for the present finding."""
        if isinstance(self.solution, Solution):
            return self.solution
        return _swapped(self.name, self.solution, self.suspects, draw.finding)

    def request(self, draw, *steps, load=True):
        """Draw a case and make the request for ``probes.play``; its first two steps warm up, and load weights by shape.

        Args:
            draw: fresh numbers.
            steps: dicts for ``probes.perform_script``; a "run" without "images" gets fresh ones, and "upstream": True
                a fresh gradient.
            load: False leaves BatchNorm as it was made, and loads the rest.
        """
        arguments = self.arguments(draw)
        oracle = self.solution_for(draw).objects()[self.name](*arguments)
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

    def hold(self, answer, draw, *steps, look, load=True, weighs=True, tolerance=None, told=told):
        """Play a script with a fresh case on both sides, after giving both the same weights by shape.

        Args:
            answer: the answer.
            draw: fresh numbers.
            steps: see ``request``.
            look: (replies to the steps) → {label: what is compared}.
            load: see ``request``.
            weighs: whether what is compared depends on the weights, which then must fit.
            tolerance: of values; by default the case's.
            told: see ``Solution.hold``.
        """

        request = self.request(draw, *steps, {"do": "parameters"}, load=load)
        weights = {shape for _, shape in request["script"][1]["values"] if len(shape) > 1}

        def view(replies):
            if weighs and weights != {shape for _, shape, _ in replies[-1] if len(shape) > 1}:
                raise Wrong(cause=MISFIT)
            return look(replies[2:-1])

        self.solution_for(draw).hold(answer, draw, probes.play, request, view=view, told=told,
                                     tolerance=tolerance or self.tolerance, groups=self.groups if weighs else 0)

    def parameters(self, answer, draw):
        """The parameters are those it should have, by shape: none missing, none too many, none tied, none frozen."""
        arguments = self.arguments(draw)
        script = [{"do": "warm up", "images": self.images(draw, arguments)}, {"do": "parameters"}]

        def told(expected, got):
            expected, got = ([("", *item) for item in value["parameters"]] for value in (expected, got))
            try:
                expect_parameters(expected, got, notes=self.notes(*arguments))
            except Wrong as wrong:
                return wrong
            return Wrong("parameters", cause="some are frozen (requires_grad=False); expected all to be trained.")

        request = {"name": self.name, "arguments": arguments, "script": script}
        self.solution_for(draw).hold(
            answer, draw, probes.play, request, told=told, groups=self.groups,
            view=lambda replies: {"parameters": sorted(item[1:] for item in replies[1])},
        )

    def shape(self, answer, draw):
        """The output has the right shape, for several images and for one alone."""
        alone = replace(self, images=lambda draw, arguments: self.images(draw, arguments)[:1])
        for case in (self, alone):
            case.hold(answer, draw, {"do": "run"}, weighs=False,
                      look=lambda replies: {"output shape": tuple(replies[0]["output"].shape)})

    def values_in_eval(self, answer, draw):
        """The output has the right values in evaluation mode."""
        self.hold(answer, draw, {"do": "run"}, look=lambda replies: {"output in eval mode": replies[0]["output"]})

    def values_in_training(self, answer, draw):
        """BatchNorm uses the batch's statistics in training, remembers them, and uses them in evaluation mode."""
        self.repeatable(answer, draw)
        training = {"do": "run", "train": True}
        self.hold(answer, draw, training, training, {"do": "run"}, look=lambda replies: {
            "output in train mode": replies[0]["output"],
            "output in eval mode after two training steps": replies[2]["output"],
        })

    def repeatable(self, answer, draw):
        """In train mode too the output depends on the images alone."""
        arguments = self.arguments(draw)
        run = {"do": "run", "images": self.images(draw, arguments), "train": True}
        script = [{"do": "warm up", "images": run["images"]}, run, run]
        replies = answer.ask(probes.play, name=self.name, arguments=arguments, script=script)[1:]
        first, second = (reply["output"] for reply in replies)
        if first.shape == second.shape and torch.isfinite(first).all() and not torch.equal(first, second):
            raise Wrong("output in train mode", cause=DROPOUT)

    def start_values(self, answer, draw):
        """A fresh module's BatchNorm starts as PyTorch makes it: γ = 1, β = 0, running mean 0 and variance 1."""
        arguments = self.arguments(draw)
        script = [{"do": "warm up", "images": self.images(draw, arguments)}, {"do": "one axis"}]
        oracle = rehearse(self.solution_for(draw).objects()[self.name](*arguments), script)[1]
        found = answer.ask(probes.play, name=self.name, arguments=arguments, script=script)[1]
        _expect_untouched(oracle, found)
        self.hold(answer, draw, {"do": "run"}, {"do": "run", "train": True}, load=False, look=lambda replies: {
            "output of a fresh module in eval mode (BatchNorm untouched)": replies[0]["output"],
            "output of a fresh module in train mode (BatchNorm untouched)": replies[1]["output"],
        })

    def gradients(self, answer, draw, **options):
        """The gradients reach the input and every parameter, with the right values; ``options`` are the step's."""
        self.hold(answer, draw, {"do": "run", "train": True, "upstream": True} | options, look=_gradients,
                  told=_told_gradients, tolerance=10 * self.tolerance)

    def clean(self, answer, draw):
        """Gradients flow, the input is left alone, calls and modules are independent."""
        for look in (self.gradients, self.side_effects, self.fresh):
            look(answer, draw)

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


@lru_cache
def _swapped(name, builder, suspects, finding):
    """Make a solution of a builder; a mistake puts another builder in its place."""
    wrong = {f"wrong{i}": other for i, (other, _) in enumerate(suspects)}
    mistakes = [Mistake(finding, message, "right(", f"wrong{i}(") for i, (_, message) in enumerate(suspects)]
    return Solution(f"def {name}(*arguments):\n    return right(*arguments)\n", mistakes, right=builder, **wrong)


def _gradients(replies):
    reply = replies[0]
    if not reply["requires_grad"] or reply["input_gradient"] is None:
        raise Wrong("gradients",
                    cause="no gradient comes back to the input. Is there a detach(), no_grad() or .data on the way?")
    return {"output in train mode": reply["output"], "gradient of the input": reply["input_gradient"],
            REACHED: sorted(reply["gradients"]),
            "gradient of the parameters of shape ": reply["gradients"]}


def _expect_untouched(oracle, found):
    """Refuse γ and β of BatchNorm that do not start at 1 and 0; other shapes than the oracle's are told elsewhere."""
    if sorted(tensor.shape for tensor in oracle) != sorted(tensor.shape for tensor in found):
        return
    wanted, got = ([(tuple(tensor.shape), _constant(tensor)) for tensor in tensors] for tensors in (oracle, found))
    for shape, value in without(got, wanted):
        name, start = next(({1.0: "γ", 0.0: "β"}[start], f"{start:.0f}") for other, start in without(wanted, got)
                           if other == shape)
        came = "at random" if value is None else f"at {value:.4g}"
        raise Wrong(cause=f"BatchNorm's {name} starts {came}; expected {start}. Leave the start values to PyTorch.")


def _constant(tensor):
    """Return the value that all numbers of a tensor have; None where they differ."""
    return tensor[0].item() if (tensor == tensor[0]).all() else None


def _told_gradients(expected, got):
    lost = [shape for shape in expected[REACHED] if shape not in got[REACHED]]
    if lost and alike(expected["output in train mode"], got["output in train mode"]):
        return Wrong("gradients", cause=f"none reaches the parameter of shape {lost[0]}. Is it used, and not detached?")
    return told(expected, got)


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
