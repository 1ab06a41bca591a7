"""Networks that are large, or made from one that is handed over: committed, they get the notebook's verdicts."""

import sys

import pytest
import torch
from torch import nn

from densenet_course import checks
from densenet_course.checks.engine import probes
from densenet_course.checks.engine.answer import AnswerError, InProcess, perform
from densenet_course.checks.engine.judge import judge
from densenet_course.checks.engine.state import preserved
from densenet_course.checks.exercises.densenet121.probe import mend_biases
from densenet_course.grading import given, player, tracing
from densenet_course.grading.committed import Committed
from densenet_course.grading.committing import COMMITTED
from densenet_course.grading.judging import Worker
from densenet_course.grading.operations import Refused
from densenet_course.grading.verdict import GRADED, Order
from tests import answers
from tests.test_grading_committed import Direct, alike, block, through

SEED = 3
TRIED = {
    "transfer": ["a lazy classifier and a class made on the spot", "no gradients recorded in the features",
                 "a hook in front of each norm", "norms in train mode", "only train puts norms into eval mode",
                 "train returns nothing", "nothing frozen", "only the bias trained"],
    "densenet121": ["lazy layers registered convolution first", "biases everywhere", "a seed inside"],
}


class Here:
    """An ``Answer`` that commits itself, with student's cell and player in this process."""

    def __init__(self, exercise, objects):
        self.student, self.refused = InProcess(objects), ""
        self.sources = {name: Sent(name, self.student) for name in COMMITTED[exercise]}

    def ask(self, probe, cpu_seconds=None, **request):
        if request.get("name") not in self.sources or probe.__name__ in ("status", *given.JUDGES):
            return self.student.ask(probe, cpu_seconds=cpu_seconds, **request)
        for source in self.sources.values():
            source.reuse = f"{probe.__module__}:{probe.__qualname__}".endswith(player.ONE_FOR_ALL)
        before = _replaced()
        player.prepare(None, (), False)
        try:
            with preserved():
                reply = perform(self.sources, probe, through(request))
        finally:
            _put(before)
        self.refused = next((source.refused for source in self.sources.values() if source.refused), "")
        if "error" in reply:
            raise AnswerError(**reply["error"])
        return through(reply["value"])


class Sent(player.Source):
    """A ``Source`` whose student's cell is this process."""

    def __init__(self, name, student):
        super().__init__(None, name)
        self.student, self.probes = student, _replaced()

    def need(self, what, **request):
        here = _replaced()
        _put(self.probes)
        try:
            return through(self.student.ask(getattr(tracing, what), cpu_seconds=60.0, name=self.name,
                                            **through(request)))
        finally:
            _put(here)


def _replaced():
    """Return what a player replaces, as it is at present."""
    modules = [module for name, module in sys.modules.items() if name.startswith("densenet_course.checks.")]
    return [(module, name, getattr(module, name)) for module in modules for name in player.REPLACED
            if callable(getattr(module, name, None))]


def _put(found):
    for module, name, value in found:
        setattr(module, name, value)


@pytest.mark.parametrize(("exercise", "label"), [(name, label) for name, labels in TRIED.items() for label in labels])
def test_what_is_played_gets_the_notebooks_findings(exercise, label):
    objects = answers.load(exercise).objects(label)
    expected = checks.run(exercise, objects, seed=SEED)
    played = Here(exercise, objects)
    got = judge(checks.load(exercise), played, SEED)
    assert not played.refused
    assert [(f.name, f.points, f.message) for f in got.findings] == [
        (f.name, f.points, f.message) for f in expected.findings]


# --- what stands for a module -----------------------------------------------------------------------------------------


class Biased(nn.Module):
    """Its parts have what the judge's have not: biases, one of them as long as a norm, and a norm of another size."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1)
        self.more, self.last, self.head = nn.BatchNorm2d(5), nn.Conv2d(3, 5, 1), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.more(self.last(self.conv(self.norm(x)))).mean((2, 3)))


def test_weights_are_loaded_by_the_kinds_of_parts():
    torch.manual_seed(0)
    module, images = Biased(), torch.randn(2, 3, 6, 5)
    values = {("parameter", (3,)): torch.rand(3), ("parameter", (3, 3, 3, 3)): torch.randn(3, 3, 3, 3),
              ("parameter", (5, 3, 1, 1)): torch.randn(5, 3, 1, 1), ("parameter", (2, 5)): torch.randn(2, 5)}
    script = [{"do": "load", "values": values}, {"do": "run", "images": images}, {"do": "one axis"}]
    played = Direct(lambda: module)()
    got = probes.perform_script(played, script)
    assert alike(got, probes.perform_script(module, script))


def head(bias):
    return lambda: nn.Sequential(block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2, bias=bias))


@pytest.mark.parametrize("bias", [True, False])
def test_biases_are_mended(bias):
    images, module = torch.randn(2, 3, 6, 5), head(bias)().append(nn.Unflatten(1, (2, 1, 1)))
    module.append(nn.Conv2d(2, 2, 1))
    source = Direct(lambda: module)
    played = source()
    played.eval()(images)
    played.mend_biases()
    shapes = [tuple(parameter.shape) for parameter in played.parameters()]
    assert shapes == [(3,), (3,), (4, 3, 3, 3), (2, 4), (2,), (2, 2, 1, 1)]
    with torch.no_grad():
        for tensor in played.parameters():
            tensor.fill_(0.5)
        got = played(images)
        mend_biases(module)
        for tensor in module.parameters():
            tensor.fill_(0.5)
        assert torch.allclose(got, module.eval()(images))


def test_biases_that_are_not_listed_are_not_mended():
    class Hides(nn.Sequential):
        def named_parameters(self, *_, **__):
            return ((name, value) for name, value in super().named_parameters() if name != "1.bias")

    module = Hides(block(), nn.Conv2d(4, 2, 1))
    played, images = Direct(lambda: module)(), torch.randn(2, 3, 6, 5)
    played.mend_biases()
    with torch.no_grad():
        for tensor in played.parameters():
            tensor.zero_()
        assert torch.equal(played(images)[0, :, 0, 0], module[1].bias)


def test_two_tensors_of_one_name_are_refused():
    source = Direct(block)
    described = through(tracing.build({"f": block}, "f", ()))
    described["parameters"].append(described["parameters"][0])
    with pytest.raises(Refused, match="one name"):
        Committed(described, player._Instance(source, "key"))


# --- through a worker -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exercise", "label", "points"), [
    ("densenet121", "a class", 10), ("densenet121", "one layer reads detached maps", 8.5),
    ("transfer", "norms without parameters", 10), ("transfer", "norms in train mode", 7.5)])
def test_a_verdict_is_made_from_what_is_played(exercise, label, points):
    with Worker(isolated=True) as worker:
        verdict = worker.judge(Order(exercise, (answers.cell(exercise, label),), 5))
    assert (verdict.status, verdict.points, verdict.committed, verdict.notes) == (GRADED, points, True, ())
