"""Hostile answers earn what they are worth, break nothing and read nothing; odd but right ones are accepted.

Each file of ``attacks`` is one answer; its first lines say of which kind it is, to which exercise, and the points that
it is worth without its tricks.
"""

import os
from pathlib import Path

import pytest

from densenet_course.grading.judging import Worker, isolation
from densenet_course.grading.sandbox import Limits
from densenet_course.grading.server import family
from densenet_course.grading.verdict import INFRA, Order
from tests.test_grading_capstone import HEAD

FOLDER = Path(__file__).with_name("attacks")
FILES = sorted(FOLDER.glob("*.py"))
LIMITS = Limits(cell_seconds=6.0, notebook_seconds=12.0, ask_seconds=12.0, exercise_seconds=24.0)
CANARY = "CANARY-f4b1c7"
SEEN = (CANARY, "WROTE", "GOT ", "OPEN ", "SOCKET", "CONNECTED", "SEES", "RAISED", "TYPED", "FOUND", "root:x:")
POOR = """

class Poor(Around):
    '''Tells each image the class of another one: worth 4 points.'''

    def forward(self, images):
        return self.net(images.flip(0))

"""

NETWORK = '''
import sys

import torch
from torch import nn


def asked_by(name):
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != name:
        frame = frame.f_back
    return frame is not None


class Layer(nn.Sequential):
    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


def norm_relu(c):
    return nn.BatchNorm2d(c), nn.ReLU()


class Net(nn.Sequential):
    bias = False

    def __init__(self, num_classes=1000):
        super().__init__(self.conv(3, 64, 7, stride=2, padding=3), *norm_relu(64), nn.MaxPool2d(3, 2, 1))
        c = 64
        for n in (6, 12, 24, 16):
            for _ in range(n):
                self.append(Layer(*norm_relu(c), self.conv(c, 128, 1), *norm_relu(128),
                                  self.conv(128, 32, 3, padding=1)))
                c += 32
            if n != 16:
                self.extend([*norm_relu(c), self.conv(c, c // 2, 1), nn.AvgPool2d(2)])
                c //= 2
        self.extend([*norm_relu(c), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, num_classes)])

    def conv(self, *sizes, **options):
        return nn.Conv2d(*sizes, bias=self.bias, **options)
'''
BEFORE = {"capstone": HEAD + POOR, "densenet121": NETWORK}  # what the attacks on an exercise are built on


def header(path):
    lines = path.read_text(encoding="utf-8").splitlines()[:3]
    kind, exercise, honest = (line.partition(": ")[2] for line in lines)
    return kind, exercise, float(honest)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    assert isolation() == ("full", "")
    (tmp_path_factory.mktemp("other") / "canary.txt").write_text(CANARY)
    before = os.environ.get("SECRET")
    os.environ["SECRET"] = CANARY
    with Worker(isolated=True, limits=LIMITS) as worker:
        yield worker
    os.environ.pop("SECRET") if before is None else os.environ.update(SECRET=before)



def left_behind(worker):
    """Count what could be left: processes below the fork server, descriptors and mounts of this process."""
    fds = len(list(Path("/proc/self/fd").iterdir()))
    return sorted(set(family(worker.zygote.process.pid)) - worker.zygote.known), fds, Path(
        "/proc/self/mountinfo").read_text()


def test_the_network_around_which_capstones_attack_is_worth_its_points(worker, quick_capstone):
    text = HEAD + POOR + "build_model = Poor"
    assert worker.judge(Order("capstone", (text,), seed=5)).points == 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_answer_earns_what_it_is_worth(path, worker, request):
    kind, exercise, honest = header(path)
    text = BEFORE.get(exercise, "") + path.read_text(encoding="utf-8")
    if exercise == "capstone":
        request.getfixturevalue("quick_capstone")
    zygote, before = worker.zygote, left_behind(worker)
    verdict = worker.judge(Order(exercise, (text,), seed=5))
    assert verdict.status != INFRA, verdict.notes
    assert verdict.max_points == 10
    assert verdict.points <= honest, verdict
    if kind == "odd but right":
        assert verdict.points == honest, verdict
    said = verdict.output + "".join(f.message for f in verdict.findings) + "".join(text for _, text in verdict.errors)
    assert [word for word in SEEN if word in said] == []
    assert all(len(finding.message) <= 1_200 and finding.message.isprintable() for finding in verdict.findings)
    assert worker.zygote is zygote, "the fork server had to be started anew"
    assert left_behind(worker) == before


def test_there_are_enough_of_each_kind():
    kinds = [header(path)[0] for path in FILES]
    assert kinds.count("odd but right") >= 8
    assert len(kinds) - kinds.count("odd but right") >= 60
