"""The capstone's network is counted, trained and tried by the judge."""

import pytest

from densenet_course.grading.judging import Worker
from densenet_course.grading.verdict import GRADED, Order

HEAD = """
from densenet_course.config import DenseNetConfig
from densenet_course.models import DenseNet


def small():
    return DenseNet(DenseNetConfig(block_layers=(2, 2, 2), growth_rate=8, init_channels=16, num_classes=10,
                                   in_channels=1, stem="class"))

"""


@pytest.fixture(scope="module")
def worker():
    with Worker(isolated=True) as worker:
        yield worker


def judged(worker, text):
    verdict = worker.judge(Order("capstone", (HEAD + text,), 5))
    assert verdict.status == GRADED, verdict.notes
    return verdict, {finding.name: finding.points for finding in verdict.findings}


def test_a_right_network_is_trained_by_the_judge(quick_capstone, worker):
    verdict, points = judged(worker, "build_model = small")
    assert verdict.committed
    assert sum(points.values()) == 10, verdict
    assert not any(finding.claim for finding in verdict.findings)
