"""Judge an answer that builds modules against a solution as text: the findings that all such exercises share."""

from dataclasses import dataclass

import torch

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.expect import alike, expect_parameters, told
from densenet_course.checks.engine.mistakes import Mistake, Solution
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds.modules import ModuleCase

MISFIT = "the check's weights do not fit into your parameters. Mend “parameters” first."
REACHED = "parameters that a gradient reaches, by shape"
DROPOUT = "the same images gave two different outputs. Is a Dropout left in?"
BATCHNORM = (  # options of nn.BatchNorm2d, and what to say of them
    ("eps=1e-3", "BatchNorm's eps is 1e-3 (Keras's default); expected PyTorch's, 1e-5."),
    ("eps=1e-4", "BatchNorm's eps is 1e-4; expected PyTorch's, 1e-5."),
    ("eps=1e-6", "BatchNorm's eps is 1e-6; expected PyTorch's, 1e-5."),
    ("momentum=0.01", "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
    ("momentum=0.99", "BatchNorm's momentum is 0.99, as Keras counts it; expected PyTorch's, 0.1."),
    ("momentum=0.9", "BatchNorm's momentum is 0.9; expected PyTorch's, 0.1."),
    ("momentum=None", "BatchNorm's running statistics are a mean over all batches (momentum=None); expected PyTorch's "
                      "momentum, 0.1."),
    ("track_running_stats=False", "BatchNorm uses the batch's statistics in eval mode too; expected the running ones."),
)
SMALL = ("eps=1e-4", "eps=1e-6")  # these show only where contrasts are small


def batchnorm_mistakes(finding, norm, *others):
    """Make a mistake of each option of BATCHNORM.

    Args:
        finding: the finding that they cost.
        norm: the call in the solution's text, for instance "nn.BatchNorm2d(in_channels)".
        others: further calls that get the same option.
    """
    return [Mistake(finding, message, *(piece for call in (norm, *others)
                                        for piece in (call, f"{call[:-1]}, {option})")))
            for option, message in BATCHNORM]


@dataclass(frozen=True)
class SolvedModule(ModuleCase):
    """How one of the learner's modules is tried; the methods are findings, to be used by an exercise.

    Args:
        solution: what it is held against; it defines ``name``. ``oracle`` is ``solution.builder(name)``.
        is_small: whether a call costs so little that several mistakes at once are looked for in its values, too.
    """

    solution: Solution = None
    is_small: bool = True

    def hold(self, answer, draw, *steps, look, load=True, weighs=True, tolerance=None, told=told):
        """Play a script with a fresh case on both sides, after giving both the same weights by shape.

        Args:
            answer: the answer.
            draw: fresh numbers.
            steps: see ``ModuleCase.play``.
            look: (replies to the steps) → {label: what is compared}.
            load: see ``ModuleCase.play``.
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

        self.solution.hold(answer, draw, probes.play, request, view=view, told=told,
                           tolerance=tolerance or self.tolerance, several=weighs and self.is_small)

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

        self.solution.hold(answer, draw, probes.play, {"name": self.name, "arguments": arguments, "script": script},
                           view=lambda replies: {"parameters": sorted(item[1:] for item in replies[1])}, told=told,
                           several=True)

    def shape(self, answer, draw):
        """The output has the right shape."""
        self.hold(answer, draw, {"do": "run"}, weighs=False,
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
        self.hold(answer, draw, {"do": "run"}, {"do": "run", "train": True}, load=False, look=lambda replies: {
            "output of a fresh module in eval mode (BatchNorm untouched)": replies[0]["output"],
            "output of a fresh module in train mode (BatchNorm untouched)": replies[1]["output"],
        })

    def gradients(self, answer, draw):
        """The gradients reach the input and every parameter, with the right values."""
        self.hold(answer, draw, {"do": "run", "train": True, "upstream": True}, look=_gradients,
                  told=_told_gradients, tolerance=10 * self.tolerance)


def _gradients(replies):
    reply = replies[0]
    if not reply["requires_grad"] or reply["input_gradient"] is None:
        raise Wrong("gradients",
                    cause="no gradient comes back to the input. Is there a detach(), no_grad() or .data on the way?")
    return {"output in train mode": reply["output"], "gradient of the input": reply["input_gradient"],
            REACHED: sorted(reply["gradients"]),
            "gradient of the parameters of shape ": reply["gradients"]}


def _told_gradients(expected, got):
    lost = [shape for shape in expected[REACHED] if shape not in got[REACHED]]
    if lost and alike(expected["output in train mode"], got["output in train mode"]):
        return Wrong("gradients", cause=f"none reaches the parameter of shape {lost[0]}. Is it used, and not detached?")
    return told(expected, got)
