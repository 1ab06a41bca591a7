"""The bytes that a layer keeps for its backward pass are counted by the judge, on the operations of a step."""

import pytest
import torch

from densenet_course.checks import load, run
from densenet_course.checks.engine.answer import PROBES, AnswerError, InProcess
from densenet_course.checks.engine.judge import judge
from densenet_course.grading import steps
from densenet_course.grading.claims import gate
from densenet_course.grading.counting import Counting
from densenet_course.grading.verdict import Order
from tests import answers
from tests.test_grading_committed import through

ANSWERS = answers.load("memory")
WRONG = ("nothing recomputed", "recomputed in train mode only", "the second half only", "everything kept on ctx",
         "recomputed in eval mode", "detached", "BatchNorm updated twice")
BYTES = {"saved bytes", "saved bytes in eval mode"}


class Here:
    """A student whose cell is this process."""

    order = Order("memory", (), 5)

    def __init__(self, objects):
        self.answer = InProcess(objects)
        self.ask = self.answer.ask

    def ask_by_name(self, name, _, request):
        probe = steps.write if name.endswith(":write") else PROBES[name]
        return through(self.answer.ask(probe, **through(request)))


class Direct(Counting):
    """``Counting`` without cells."""

    def __init__(self, objects):
        self.student, self.player = Here(objects), None

    def _play(self, program, layer, images, upstream):
        return through(steps.play(None, through(program), layer, images, upstream))


def graded(objects, seed=5):
    return judge(load("memory"), Direct(objects), seed)


@pytest.mark.parametrize("label", ANSWERS.right_answers)
def test_right_answers_save_bytes(label):
    report = graded(ANSWERS.objects(label))
    assert report.passed, str(report)


@pytest.mark.parametrize("label", WRONG)
def test_wrong_answers_get_what_they_get_in_the_notebook(label):
    report, noted = graded(ANSWERS.objects(label)), run("memory", ANSWERS.objects(label), seed=5)
    assert [(f.name, f.passed) for f in report.findings] == [(f.name, f.passed) for f in noted.findings]


def test_bytes_count_only_for_what_computes_the_right_thing():
    report = graded(ANSWERS.objects("recomputed in eval mode"))
    assert {f.name for f in report.findings if f.passed} >= BYTES
    judged = {f.name: f for f in gate("memory", report.findings, committed=False)}
    assert {judged[name].points for name in BYTES} == {0}
    assert not any(judged[name].claim for name in BYTES)
    assert "outputs and gradients" in judged["saved bytes"].message


LAYER = {"arguments": (12, 3, 4), "momentum": 0.2}
PLAIN = {"f": ANSWERS.objects("nothing recomputed")["CheckpointedLayer"]}


def plain_step():
    program = through(steps.write(PLAIN, "f", LAYER, (2, 12, 5, 8), True))
    layer = LAYER | {"state": dict(steps._subject(PLAIN, "f", LAYER, True).layer.state_dict())}
    return program, layer, torch.randn(2, 12, 5, 8), torch.randn(2, 3, 5, 8)


def test_what_the_backward_pass_reads_is_counted_by_hand():
    """Of the plain layer: input, normed maps, waist, normed waist, and mean and deviation of each BatchNorm."""
    reply = steps.play(None, *plain_step())
    pixels, statistics = 2 * 5 * 8, 2 * (12 + 12)
    assert reply["saved"] == 4 * (pixels * 4 * 12 + statistics)


def test_the_forward_pass_does_not_see_the_gradient():
    program, *numbers = plain_step()
    assert "refused" in steps.play(None, program | {"forward": 10**6}, *numbers)


def test_a_part_of_a_larger_memory_counts_whole():
    x = {"#": 0}
    widened = [["aten.cat.default", [[x, x, x], 1], {}], ["aten.slice.Tensor", [{"#": 2}, 1, 0, 1], {}]]
    program = {"operations": [*widened, ["aten.mul.Tensor", [{"#": 3}, {"#": 1}], {}]], "forward": 2, "inputs": 2,
               "result": [{"#": 3}, {"#": 4}, []]}
    images = torch.randn(2, 4, 5, 5)
    reply = steps._played(program, images, torch.ones(2, 1, 5, 5), [])
    assert reply["saved"] == 3 * images.nbytes - 2 * 5 * 5 * 4


@pytest.mark.parametrize("program", [None, [], {}, {"refused": "x"}, {"operations": [], "inputs": 2, "forward": "1"},
                                     {"operations": [], "inputs": 14, "forward": 0, "result": []},
                                     {"operations": [["aten.set_.default", [{"#": 0}], {}]], "inputs": 14, "forward": 1,
                                      "result": [{"#": 0}]}])
def test_what_is_no_list_is_refused(program):
    assert "refused" in steps.play(None, program, *plain_step()[1:])


def test_another_list_than_the_layers_is_found_out(monkeypatch):
    write, (_, layer, images, _) = steps.write, plain_step()
    monkeypatch.setattr(steps, "write", lambda objects, **given: write({"CheckpointedLayer": Twice}, **given))
    with pytest.raises(AnswerError, match="do something else than the layer"):
        Direct(ANSWERS.objects("a Function of its own"))._count("CheckpointedLayer", layer, images, True)


class Twice(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return 2 * self.layer(x)
