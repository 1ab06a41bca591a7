"""The lesson's own cell, pasted, does not count as an answer; any other form of it does."""

import ast
import inspect
from collections import OrderedDict

import pytest
import torch
from torch import nn

from densenet_course import layers
from densenet_course.checks import load, run
from densenet_course.checks.engine.copies import is_lessons_cell
from tests import answers

CELLS = {"conv_block": "conv_block", "DenseBlock": "dense_block", "transition": "transition",
         "BottleneckLayer": "bottleneck"}


def pasted(name, change=lambda source: source):
    """Define a part of the package anew, from its source."""
    names = {"torch": torch, "nn": nn, "OrderedDict": OrderedDict, "conv_block": layers.conv_block}
    exec(change(inspect.getsource(getattr(layers, name))), names)
    return names[name]


def without_documentation(source):
    """Drop comments, line breaks and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.unparse(tree)


def annotated(source):
    """Say what the first argument of the last function is."""
    return source.replace("in_channels,", "in_channels: int,", 1)


@pytest.mark.parametrize("change", [str, without_documentation, annotated])
@pytest.mark.parametrize("name", CELLS)
def test_the_lessons_cell_is_known_whatever_stands_around_it(name, change):
    assert is_lessons_cell(name, pasted(name, change))


@pytest.mark.parametrize("name", CELLS)
def test_the_lessons_cell_costs_all_findings_that_need_it(name):
    exercise = CELLS[name]
    others = {key: value for key, value in answers.load(exercise).objects(
        next(iter(answers.load(exercise).right_answers))).items() if key != name}
    report = run(exercise, others | {name: pasted(name)})
    needs = {finding: name in names for finding, _, names, _ in load(exercise).parts}
    assert {finding.name: not finding.passed for finding in report.findings} == needs
    assert "the lesson's cell, word for word" in str(report).replace("\n", " ")


@pytest.mark.parametrize("name", CELLS)
def test_what_is_written_in_another_way_is_no_copy(name):
    tried = answers.load(CELLS[name])
    for label in tried.right_answers:
        assert not is_lessons_cell(name, tried.objects(label)[name]), label
    assert not is_lessons_cell(name, pasted(name, lambda source: source.replace("bias=False", "bias=True")
                                            .replace("features = torch", "maps = torch")))
    assert not any(is_lessons_cell(name, value) for value in (None, 3, nn.ReLU, nn.ReLU(), str.upper))
