"""Judge a block of layers that joins maps: what all such exercises ask, whoever reads whom in the block."""

from dataclasses import dataclass

from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError
from densenet_course.checks.engine.explain import explained
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.kinds.modules import ModuleCase

SHAPE, PARAMETERS, VALUES, TRAINING, GRADIENTS = "shape", "parameters", "values", "training", "gradients"


@dataclass(frozen=True)
class Block:
    """How a block is tried that is built from (num_layers, in_channels, growth_rate).

    Args:
        case: the usual sizes; its ``arguments`` take (draw, num_layers).
        short: one or two layers.
        even: for which convolutions in groups would fit.
        equal: for which a shortcut would fit.
        one: one image.
    """

    case: ModuleCase
    short: ModuleCase
    even: ModuleCase
    equal: ModuleCase
    one: ModuleCase

    def register(self, exercise, table, who_reads_whom):
        """Add the findings to an exercise.

        Args:
            exercise: an ``Exercise``.
            table: what errors mean, see ``explain``.
            who_reads_whom: the finding that tells one kind of block from another.
        """
        for name, points, look in (
            (SHAPE, 2, self.shape), (PARAMETERS, 1, self.parameters), ("who reads whom", 2, who_reads_whom),
            (VALUES, 2, self.values), (TRAINING, 1, self.training), (GRADIENTS, 1, self.case.gradients),
            ("repeated calls", 1, self.repeated_calls),
        ):
            exercise.finding(name, points=points)(explained(table)(look))

    def shape(self, answer, draw):
        """(N, C, H, W) becomes (N, C + L·k, H, W), for several layers and for a single one, and for one image."""
        name = self.case.name
        for num_layers, count in ((draw.integer(3, 4), None), (2, None), (1, None), (2, 1)):
            n, c, k = sizes = self.case.arguments(draw, num_layers)
            label = f"{name}({n}, {c}, {k})"

            def view(replies, label=label, why=f"{c} + {n}·{k}"):
                shape = tuple(replies[0]["output"].shape)
                channels = shape[1] if len(shape) == 4 else shape
                return {f"channels after {label}, {why}": channels, f"output shape of {label}": shape}

            run = {"do": "run", "images": self.case.images(draw, sizes, count)}
            request = {"name": name, "arguments": sizes, "script": [run]}
            self.case.solution.hold(answer, draw, probes.play, request, view=view)

    def parameters(self, answer, draw):
        """Each layer has the parameters of one conv block, and PyTorch finds them all."""
        for case in (self.case, self.even, self.equal):
            case.parameters(answer, draw)

    def values(self, answer, draw):
        """The output has the right values in evaluation mode, for long blocks and short ones, and for one image."""
        for case in (self.case, self.short, self.equal, self.one):
            case.values_in_eval(answer, draw)

    def training(self, answer, draw):
        """BatchNorm uses the batch's statistics in training, remembers them, and uses them in eval mode."""
        self._call_after_call(self.case.values_in_training, answer, draw)
        self._call_after_call(self.case.start_values, answer, draw)

    def repeated_calls(self, answer, draw):
        """A call leaves the input alone, the next one does not feel it, and two blocks share nothing."""
        self._call_after_call(self.case.side_effects, answer, draw)
        self.case.fresh(answer, draw)

    def _call_after_call(self, finding, answer, draw):
        """Look for a finding that calls a block several times; tell it where only the first call works."""
        try:
            finding(answer, draw)
        except AnswerError:
            sizes = self.case.arguments(draw)
            once = [{"do": "run", "images": self.case.images(draw, sizes), "train": True}]
            answer.ask(probes.play, name=self.case.name, arguments=sizes, script=once)  # raises if a single call does
            raise Wrong("second call",
                        cause="the first one works, the next one raises. Is a list of maps kept on self? Make it a "
                              "local variable of forward.") from None
