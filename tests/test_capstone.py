"""The capstone: trained once in full, its budget, and that the labels of the test images stay with the judge."""

import gc
import threading

import pytest
import torch
from torch import nn

from densenet_course import data
from densenet_course.checks import run
from densenet_course.checks.engine.answer import InProcess
from densenet_course.checks.engine.judge import judge
from densenet_course.checks.engine.state import ordinary
from densenet_course.checks.exercises import capstone
from densenet_course.checks.exercises.capstone import training as capstone_training
from densenet_course.checks.exercises.capstone.holdings import holdings
from densenet_course.models import class_densenet
from densenet_course.training.schedules import one_cycle
from tests import answers

REFERENCE = answers.load("capstone").objects("a DenseNetConfig")
SMALL = answers.load("capstone").objects("the blocks in a Sequential")


class Recording(InProcess):
    """An answer that remembers what it was asked."""

    def __init__(self, objects):
        super().__init__(objects)
        self.asked = []

    def ask(self, probe, **request):
        self.asked.append((probe.__name__, request))
        return super().ask(probe, **request)

    def requests(self, name):
        return [request for probe, request in self.asked if probe == name]


def threads_of_a_new_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_the_real_thing():
    threads = threads_of_a_new_thread()
    report = run("capstone", REFERENCE)
    assert report.points == report.max_points == 10, str(report)
    result = capstone.LAST_RESULT
    assert 0.80 < result["accuracy"] < 0.97
    assert result["parameters"] == 80_218
    assert 20 <= result["cpu_seconds"] < 22 or result["images_seen"] == capstone.MAX_IMAGES
    assert threads_of_a_new_thread() == threads  # it trains in one


def test_it_trains_once_and_keeps_the_labels_of_the_test_images(quick_capstone):
    answer = Recording(SMALL)
    assert judge(capstone.EXERCISE, answer).passed
    (training,) = answer.requests("train_and_predict")
    location = data.prepare(download=False)
    train_labels, test_images = data.load("train", location)[1], data.load("test", location)[0]
    for _, request in answer.asked:
        for value in request.values():
            if isinstance(value, torch.Tensor) and value.ndim == 1:
                assert torch.equal(value, train_labels[:len(value)])
    held_back = {image.numpy().tobytes() for image in training["held_back"]}
    assert len(held_back) > 990
    assert held_back <= {image.numpy().tobytes() for image in test_images}


def test_every_check_holds_back_other_images(quick_capstone):
    drawn = []
    for seed in (1, 2):
        answer = Recording({"build_model": lambda: nn.Flatten()})
        judge(capstone.EXERCISE, answer, seed)
        drawn.append(answer.requests("examine")[0]["unseen"])
    assert not torch.equal(*drawn)
    gc.collect()
    assert len(capstone._MEMO) == 0  # nothing of a check stays in memory


def test_a_network_over_the_budget_is_not_trained_and_leaves_no_result():
    capstone.LAST_RESULT.update(accuracy=0.99)
    answer = Recording({"build_model": class_densenet})
    report = judge(capstone.EXERCISE, answer)
    assert [finding.passed for finding in report.findings] == [False, True, False, False, False]
    assert answer.requests("train_and_predict") == []
    assert capstone.LAST_RESULT == {}


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(28, 28), nn.BatchNorm2d(1), nn.Linear(28, 28)
        self.second.weight = self.first.weight
        self.again = [self.first.weight]

    def forward(self, images):
        self.maps = self.norm(images)
        return self.second(self.first(self.maps))


def test_what_a_network_holds_is_counted_once():
    sums = capstone.by_kind(holdings(Tied()))
    assert sums == {"trained": 28 * 28 + 2 * 28 + 2, "frozen": 0, "buffer": 0, "lost": 0, "hidden": 0}
    model = class_densenet()
    assert sum(capstone.by_kind(holdings(model)).values()) == sum(p.numel() for p in model.parameters())
    assert model.training


@pytest.fixture
def clock(monkeypatch):
    """A clock of 10 CPU seconds or 1,000 batches, and a function that sets how many seconds have gone by."""
    now = [100.0]
    monkeypatch.setattr(capstone_training.time, "process_time", lambda: now[0])
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=9.0)
    clock = capstone_training.Clock(optimizer, 100.0, 10.0, 1000 * capstone_training.BATCH_SIZE)

    def at(seconds):
        now[0] = 100 + seconds
        clock.step()
        return optimizer.param_groups[0]["lr"]

    return clock, at


def test_the_learning_rate_follows_the_time_that_is_used(clock):
    clock, at = clock
    for seconds in (1.0, 2.5, 7.0, 10.0):
        assert at(seconds) == pytest.approx(0.2 * one_cycle(seconds / 10, 1))
    assert at(12.0) == 0  # the last step may end too late
    assert list(clock.batches([1, 2, 3])) == []


def test_the_training_ends_after_so_many_images_on_a_fast_machine(clock):
    clock, at = clock
    assert sum(1 for _ in clock.batches([1, 2, 3]) if at(0.001) is not None) == 1000


def test_a_training_with_autocast_inside_a_check_uses_its_new_weights():
    weight = nn.Parameter(torch.ones(4, 4))
    with ordinary():
        outputs = []
        for value in (1.0, 2.0):
            weight.data.fill_(value)
            with torch.autocast("cpu", torch.bfloat16):
                outputs.append((torch.ones(1, 4) @ weight)[0, 0].item())
    assert outputs == [4.0, 8.0]
