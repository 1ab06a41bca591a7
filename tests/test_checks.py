"""Every check accepts every right answer, and names the mistake of every wrong one."""

import pytest

from densenet_course.checks import EXERCISES, run
from tests import answers

RIGHT = [(name, label) for name in EXERCISES for label in answers.load(name).right_answers]
WRONG = [(name, label) for name in EXERCISES for label in answers.load(name).wrong_answers]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_enough_answers_are_tried(exercise):
    tried = answers.load(exercise)
    assert len(tried.right_answers) >= 3
    assert len(tried.wrong_answers) >= 8


@pytest.mark.parametrize(("exercise", "label"), RIGHT)
def test_a_right_answer_is_accepted(exercise, label):
    report = run(exercise, answers.load(exercise).objects(label))
    assert report.passed, str(report)
    assert report.points == report.max_points == run(exercise, {}).max_points


@pytest.mark.parametrize(("exercise", "label"), WRONG)
def test_a_wrong_answer_gets_its_own_message(exercise, label):
    objects, message = answers.load(exercise).wrong_answers[label]
    report = run(exercise, objects)
    assert not report.passed
    assert report.points < report.max_points
    wrong = [finding.message for finding in report.findings if not finding.passed]
    assert any(message in text for text in wrong), str(report)
    assert not any("could not be read as an answer" in text for text in wrong), str(report)
