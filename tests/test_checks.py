"""Every check accepts every right answer, and names the mistake of every wrong one.

``--seeds 30`` judges each of them thirty times with other numbers.
"""

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
def test_a_right_answer_is_accepted(exercise, label, seeds):
    for seed in seeds:
        report = run(exercise, answers.load(exercise).objects(label), seed=seed)
        assert report.passed, f"seed {seed}: {report}"
        assert report.points == report.max_points == run(exercise, {}).max_points


@pytest.mark.parametrize(("exercise", "label"), WRONG)
def test_a_wrong_answer_gets_its_own_message(exercise, label, seeds):
    objects, message = answers.load(exercise).wrong_answers[label]
    for seed in seeds:
        report = run(exercise, objects, seed=seed)
        assert not report.passed, f"seed {seed}"
        assert report.points < report.max_points
        wrong = [finding.message for finding in report.findings if not finding.passed]
        assert any(message in text for text in wrong), f"seed {seed}: {report}"
        assert not any("could not be read as an answer" in text for text in wrong), f"seed {seed}: {report}"
