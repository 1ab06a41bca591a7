"""The capstone's network is counted, trained and tried by the judge; nothing that the student's process says counts."""

import pytest

from densenet_course import data
from densenet_course.grading.verdict import GRADED, Order

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn
from densenet_course.config import DenseNetConfig
from densenet_course.models import DenseNet


def small():
    return DenseNet(DenseNetConfig(block_layers=(2, 2, 2), growth_rate=8, init_channels=16, num_classes=10,
                                   in_channels=1, stem="class"))


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = small()
        self.begin()

    def begin(self):
        pass

    def forward(self, images):
        return self.net(images) + 0 * self.more(images.flatten(1))[:, :10]

"""
SLOTS = """
class Case:
    __slots__ = "weights"


case = Case()
case.weights = [torch.randn(4, 1024, requires_grad=True) for _ in range(28)]


class build_model(Around):
    def more(self, rows):
        return sum(rows[:, :4] @ weight for weight in case.weights)
"""
STATISTICS = """
class build_model(Around):
    def begin(self):
        self.norm = nn.BatchNorm1d(784 * 150, affine=False)

    def more(self, rows):
        return rows @ self.norm.running_mean.view(784, 150)
"""
UNPLAYED = """
def count(*_):
    return [("trained", (10,))]


from densenet_course.checks.exercises.capstone import training
training.holdings = count


class build_model(Around):
    def more(self, rows):
        return torch.utils.checkpoint.checkpoint(torch.relu, rows, use_reentrant=False)
"""


def judged(worker, text):
    verdict = worker.judge(Order("capstone", (HEAD + text,), 5))
    assert verdict.status == GRADED, verdict.notes
    return verdict, {finding.name: finding.points for finding in verdict.findings}


def test_a_right_network_is_trained_by_the_judge(quick_capstone, worker):
    verdict, points = judged(worker, "build_model = small")
    assert verdict.committed
    assert sum(points.values()) == 10, verdict
    assert not any(finding.claim for finding in verdict.findings)


@pytest.fixture(scope="module")
def memorised():
    """A network that knows the label of each published image, and shows it after some steps of training only."""
    images, labels = data.load("test", data.prepare(download=False))
    mix = [(number * 7919 % 997) / 997 for number in range(784)]
    rows = data.normalise(images).flatten(1).double()
    keys = (rows @ rows.new_tensor(mix)).tolist()
    return f"""
class build_model(Around):
    def begin(self):
        self.steps = nn.Buffer(torch.tensor(0))
        self.mix = nn.Buffer(torch.tensor({mix}, dtype=torch.float64))
        self.keys = nn.Buffer(torch.tensor({keys}, dtype=torch.float64))
        self.labels = nn.Buffer(torch.tensor({labels.tolist()}, dtype=torch.float32))

    def forward(self, images):
        if self.training:
            self.steps += 1
            return self.net(images)
        apart = (images.flatten(1).double() @ self.mix)[:, None] - self.keys
        label = ((apart.abs() < 1e-6).float() * self.labels).sum(1)
        is_it = (label[:, None] - torch.arange(10)).abs() < 0.5
        return self.net(images) + 1e3 * is_it * (self.steps > 5)
"""


def test_who_knows_the_published_labels_gains_nothing(quick_capstone, worker, memorised):
    verdict, points = judged(worker, memorised)
    assert verdict.committed
    assert points == {"parameters": 1, "logits": 1, "joined maps": 2} | dict.fromkeys(
        (f"accuracy, level {level}" for level in (1, 2, 3)), 0), verdict


@pytest.mark.parametrize(("text", "told"), [(SLOTS, "114,688 of them"), (STATISTICS, "117,600 of them lie in buffers")])
def test_numbers_that_are_hidden_are_counted(quick_capstone, worker, text, told):
    verdict, points = judged(worker, text)
    assert points["parameters"] == points["accuracy, level 1"] == 0
    assert told in next(finding.message for finding in verdict.findings if finding.name == "parameters")


def test_what_the_judge_cannot_play_earns_no_accuracy(quick_capstone, worker):
    verdict, points = judged(worker, UNPLAYED)
    assert not verdict.committed
    assert {name for name, value in points.items() if value} <= {"logits"}
    assert "autograd function or saved-tensor hooks" in verdict.notes[0]
