"""The check of bug_hunt keeps its eight programs apart, and tells a hidden symptom from a repaired cause."""

import pytest

from densenet_course.checks import load, run
from tests import answers

TRIED = answers.load("bug_hunt")
NAMES = load("bug_hunt").names


def failed(label):
    return [finding.name for finding in run("bug_hunt", TRIED.objects(label)).findings if not finding.passed]


def labels_of(name):
    return [label for label in TRIED.wrong_answers if label.startswith(f"{name}: ")]


@pytest.mark.parametrize("name", NAMES)
def test_the_bug_itself_costs_both_its_points_and_no_other(name):
    (label,) = (label for label in labels_of(name) if "the bug itself" in label)
    assert failed(label) == [f"{name}: symptom", f"{name}: cause"]


@pytest.mark.parametrize("label", [
    "BlockWithHead: padded with zeros",
    "CleanBlock: emptied at the start",
    "densenet_bc: plain layers that count as 121",
    "densenet_28: transitions that round up",
    "one_hot_loss: softmax twice",
    "block_maps: four last blocks of any network",
    "load_old: right names but not strict",
    "SavingLayer: no checkpoint at all",
])
def test_hiding_the_symptom_earns_one_point_of_two(label):
    assert failed(label) == [f"{label.partition(':')[0]}: cause"]


def test_every_bug_is_tried_with_two_wrong_repairs_at_least():
    assert all(len(labels_of(name)) >= 3 for name in NAMES)
    assert sum(len(labels_of(name)) for name in NAMES) == len(TRIED.wrong_answers)


def test_a_program_that_is_not_attempted_leaves_the_others_their_points():
    report = run("bug_hunt", TRIED.right_answers["by hand"] | {"load_old": ...})
    assert report.points == 14
    assert not report.failed
