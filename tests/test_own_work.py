"""An answer that takes the wanted part from the package is refused, however it reaches it; given parts are not."""

import functools
import importlib

import pytest
import torch
from torch import nn

import densenet_course
from densenet_course import accounting, layers
from densenet_course.checks import EXERCISES, load, run
from densenet_course.checks.engine.own_work import COURSE, foreign_to
from densenet_course.layers import conv_block as taken
from tests import answers
from tests.test_exercises import rules, student_of

PARTS = {"block": taken}


def thin(in_channels, out_channels):
    return layers.conv_block(in_channels, out_channels)


def imported_inside(in_channels, out_channels):
    from torch import nn  # noqa: F401

    from densenet_course.layers import conv_block

    return conv_block(in_channels, out_channels)


def by_its_text(in_channels, out_channels):
    return importlib.import_module("densenet_course.layers").conv_block(in_channels, out_channels)


def helper(*arguments):
    return taken(*arguments)


def through_a_helper(in_channels, out_channels):
    return helper(in_channels, out_channels)


def from_the_top(in_channels, out_channels):
    return densenet_course.layers.conv_block(in_channels, out_channels)


def from_a_table(in_channels, out_channels):
    return PARTS["block"](in_channels, out_channels)


def as_a_default(in_channels, out_channels, build=taken):
    return build(in_channels, out_channels)


def in_a_closure():
    build = taken
    return lambda in_channels, out_channels: build(in_channels, out_channels)


@functools.wraps(taken)
def decorated(*arguments):
    return PARTS["block"](*arguments)


class Holder(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.block = taken(in_channels, out_channels)

    def forward(self, maps):
        return self.block(maps)


class Static:
    @staticmethod
    def conv_block(in_channels, out_channels):
        return taken(in_channels, out_channels)


@pytest.mark.parametrize("answer", [
    taken, thin, imported_inside, by_its_text, through_a_helper, from_the_top, from_a_table, as_a_default,
    in_a_closure(), decorated, Holder, Static.conv_block, functools.partial(taken), functools.cache(thin),
    lambda *arguments: taken(*arguments),
])
def test_the_packages_part_is_refused_however_it_is_reached(answer):
    report = run("conv_block", {"conv_block": answer})
    assert report.points == 0
    assert "own work: your answer holds densenet_course.layers.conv_block" in report.findings[0].message or (
        answer is by_its_text and "own work: your answer holds densenet_course.layers" in report.findings[0].message)
    assert "write it yourself" in report.findings[0].message


def test_a_network_that_holds_a_part_of_the_package_is_refused():
    hidden = layers.__dict__["Bottleneck" + "Layer"]

    def build(*arguments):
        return vars(layers)["Bottleneck" + "Layer"](*arguments)

    assert foreign_to(build, (), (COURSE,)) == ""  # its code does not say so
    report = run("bottleneck", {"BottleneckLayer": build, "layer_cost": ...})
    assert report.points == 0
    assert f"your answer holds {hidden.__module__}.{hidden.__qualname__}" in report.findings[0].message


def test_a_subclass_is_refused():
    class DenseBlock(layers.DenseBlock):
        def extra(self):
            return None

    assert "own work" in run("dense_block", {"DenseBlock": DenseBlock}).findings[0].message


ONE_IMPORT = {  # as they stood in the package, full points each
    "connections": lambda: {"count_connections": accounting.connections, "channels_after": accounting.channels_after},
    "conv_block": lambda: {"conv_block": layers.conv_block},
    "dense_block": lambda: {"DenseBlock": layers.DenseBlock},
    "transition": lambda: {"transition": layers.transition},
    "bottleneck": lambda: {"BottleneckLayer": layers.BottleneckLayer, "layer_cost": accounting.conv_multiply_adds},
    "channel_plan": lambda: {"channel_plan": accounting.channel_plan},
    "densenet": lambda: {"DenseNet": importlib.import_module("densenet_course.models").DenseNet},
    "densenet121": lambda: {"densenet121": importlib.import_module("densenet_course.models").densenet121},
    "train_epoch": lambda: dict.fromkeys(
        ["train_one_epoch", "evaluate"], importlib.import_module("densenet_course.training.loop").evaluate),
    "schedule": lambda: {"learning_rate": importlib.import_module("densenet_course.training.schedules").one_cycle},
    "memory": lambda: {"CheckpointedLayer": importlib.import_module("densenet_course.models").densenet121},
    "features": lambda: {"extract_features": importlib.import_module("densenet_course.models").densenet121},
    "transfer": lambda: {"prepare_for_transfer": importlib.import_module("densenet_course.models").densenet121},
}


@pytest.mark.parametrize("exercise", ONE_IMPORT)
def test_one_import_earns_nothing(exercise):
    report = run(exercise, ONE_IMPORT[exercise]())
    assert report.points == 0
    assert all("own work" in finding.message for finding in report.findings if finding.message)


def test_what_a_task_gives_may_be_used():
    from densenet_course.layers import BottleneckLayer, DenseBlock, conv_block, transition

    class Block(nn.Module):
        def __init__(self, num_layers, in_channels, growth_rate):
            super().__init__()
            self.layers = nn.ModuleList(
                conv_block(in_channels + i * growth_rate, growth_rate) for i in range(num_layers))

        def forward(self, maps):
            for layer in self.layers:
                maps = torch.cat([maps, layer(maps)], 1)
            return maps

    def parts():
        return BottleneckLayer, DenseBlock, transition

    assert run("dense_block", {"DenseBlock": Block}).passed
    assert foreign_to(parts, load("densenet").given, load("densenet").refused) == ""
    assert foreign_to(parts, load("dense_block").given, load("dense_block").refused) != ""


@pytest.mark.parametrize("exercise", [name for name in EXERCISES if name != "capstone"])
def test_right_answers_are_the_learners_own(exercise):
    found = load(exercise)
    for label, objects in answers.load(exercise).right_answers.items():
        for name in found.names:
            assert foreign_to(objects[name], found.given, found.refused) == "", label


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_task_says_what_is_given(exercise):
    """What a notebook imports from the course for the answer is given, and nothing else of it."""
    scope = load(exercise)
    code = "\n".join(cell.source for _, cell in rules.cells_of(student_of(exercise), "code"))
    for line in code.splitlines():
        if line.startswith("from densenet_course.") and not line.startswith("from densenet_course.checks"):
            module, names = line.removeprefix("from ").split("#")[0].split(" import ")
            for name in names.replace(" ", "").split(","):
                assert any(f"{module}.{name}".startswith(given) for given in scope.given), line
