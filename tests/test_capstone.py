"""The capstone: trained once in full, its budget, and that the labels of the test images stay with the judge."""

import threading

import pytest
import torch
from torch import nn

from densenet_course import data
from densenet_course.checks import last, run
from densenet_course.checks.engine.answer import InProcess
from densenet_course.checks.engine.judge import judge
from densenet_course.checks.engine.state import ordinary
from densenet_course.checks.exercises import capstone
from densenet_course.checks.exercises.capstone import clock as capstone_clock
from densenet_course.checks.exercises.capstone.holdings import holdings
from densenet_course.checks.exercises.capstone.joining import ADDED, JOINED, PASSED_ON, joining
from densenet_course.models import class_densenet
from densenet_course.studies import relatives
from densenet_course.training.precision import choose_precision
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
    result = last("capstone").measured
    assert 0.80 < result["accuracy"] < 0.97
    assert result["parameters"] == 80_218
    steps = result["reference_steps"]
    assert capstone.BUDGET <= steps < 1.05 * capstone.BUDGET or result["images_seen"] == capstone.MAX_IMAGES
    assert threads_of_a_new_thread() == threads  # it trains in one


def test_it_trains_once_and_keeps_the_labels_of_the_test_images(quick_capstone):
    answer = Recording(SMALL)
    assert judge(capstone.EXERCISE, answer).passed
    (training,) = answer.requests("train_and_predict")
    location = data.prepare(download=False)
    train_labels, test_images = data.load("train", location)[1], data.load("test", location)[0]
    for _, request in answer.asked:
        for value in request.values():
            if isinstance(value, torch.Tensor) and value.ndim == 1:  # the classes may have other names
                real = train_labels[:len(value)]
                pairs = torch.stack([value, real]).unique(dim=1).T
                assert len(pairs) == len(value.unique()) == len(real.unique())
    assert len(training["labels"].unique()) == 10
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


def test_a_network_over_the_budget_is_not_trained_and_leaves_no_result():
    answer = Recording({"build_model": class_densenet})
    report = judge(capstone.EXERCISE, answer)
    assert [finding.passed for finding in report.findings] == [False, True, True, False, False, False]
    assert answer.requests("train_and_predict") == []
    assert report.measured == {}


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


class Steady:
    """A reference network whose steps take a tenth of a second, however the clock goes."""

    seconds_a_step, steps = 0.1, 0

    def step(self):
        self.steps += 1


@pytest.fixture
def clock(monkeypatch):
    """A clock of 100 reference steps or 1,000 batches, and a function that sets how many seconds have gone by."""
    now = [100.0]
    monkeypatch.setattr(capstone_clock.time, "process_time", lambda: now[0])
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=9.0)
    clock = capstone_clock.Clock(optimizer, Steady(), 100.0, 100, 1000 * capstone_clock.BATCH_SIZE)

    def at(seconds):
        now[0] = 100 + seconds
        clock.step()
        return optimizer.param_groups[0]["lr"]

    return clock, at


def test_the_learning_rate_follows_the_time_that_is_used(clock):
    clock, at = clock
    for seconds in (1.0, 2.5, 7.0, 10.0):
        assert at(seconds) == pytest.approx(0.2 * one_cycle(seconds / 10, 1))
    assert clock.used == pytest.approx(100)
    assert at(12.0) == 0  # the last step may end too late
    assert list(clock.batches([1, 2, 3])) == []


def test_the_training_ends_after_so_many_images_on_a_fast_machine(clock):
    clock, at = clock
    assert sum(1 for _ in clock.batches([1, 2, 3]) if at(0.001) is not None) == 1000


def test_reference_steps_come_after_equally_many_steps_of_the_answer_and_are_not_counted(clock):
    clock, at = clock
    taken = []
    for step in range(1, 61):
        before = clock.reference.steps
        at(step / 10)
        taken += [step] * (clock.reference.steps - before)
    assert taken == [*range(12, 61, 12)]
    assert clock.used == pytest.approx(60)


SLOWNESS = {  # seconds so far → how many times as long a step takes
    "alone": lambda seconds: 1,
    "beside others": lambda seconds: 4,
    "alone at first": lambda seconds: 1 if seconds < 20 else 4,
    "beside others at first": lambda seconds: 4 if seconds < 40 else 1,
    "by turns": lambda seconds: 1 if int(seconds) % 14 < 7 else 3,
}


@pytest.fixture
def images_in(monkeypatch):
    """A function of a slowness: how many images a network sees whose steps cost 0.4 of the reference's."""
    now = [0.0]
    monkeypatch.setattr(capstone_clock.time, "process_time", lambda: now[0])

    def count(slowness):
        now[0] = 0.0

        def cost(seconds):
            now[0] += seconds * slowness(now[0])

        monkeypatch.setattr(capstone_clock.Reference, "_train", lambda self: cost(0.1))
        reference = capstone_clock.Reference(choose_precision(torch.device("cpu")))
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=9.0)
        clock = capstone_clock.Clock(optimizer, reference, now[0], 600, 10**9)
        for _ in clock.batches([None] * 100):
            cost(0.04)
            clock.step()
        return clock.images

    return count


@pytest.mark.parametrize("name", SLOWNESS)
def test_busy_neighbours_neither_help_nor_hurt(images_in, name):
    assert images_in(SLOWNESS[name]) == pytest.approx(1500 * capstone_clock.BATCH_SIZE, rel=0.03)


def test_time_alone_would_make_busy_neighbours_hurt(images_in, monkeypatch):
    monkeypatch.setattr(capstone_clock.Reference, "seconds_a_step", 0.1)
    assert images_in(SLOWNESS["beside others"]) < 400 * capstone_clock.BATCH_SIZE


RELATIVES = {
    "resnet": (lambda: relatives.resnet(8), ADDED), "inception": (lambda: relatives.inception(8), PASSED_ON),
    "densenet": (lambda: relatives.densenet(8), JOINED),
    "efficient": (lambda: class_densenet(growth_rate=8, efficient=True), JOINED),
    "one layer in a block": (lambda: class_densenet(growth_rate=6, block_layers=(1, 1, 1)), JOINED),
}


@pytest.mark.parametrize("name", RELATIVES)
def test_joined_maps_are_told_from_added_ones(name):
    build, expected = RELATIVES[name]
    for seed in range(5):
        torch.manual_seed(seed)
        assert joining(build(), torch.randn(4, 1, 28, 28)) == expected


def test_a_training_with_autocast_inside_a_check_uses_its_new_weights():
    weight = nn.Parameter(torch.ones(4, 4))
    with ordinary():
        outputs = []
        for value in (1.0, 2.0):
            weight.data.fill_(value)
            with torch.autocast("cpu", torch.bfloat16):
                outputs.append((torch.ones(1, 4) @ weight)[0, 0].item())
    assert outputs == [4.0, 8.0]
