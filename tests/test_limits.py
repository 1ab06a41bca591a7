"""Time limits: a grade depends on the answer, not on how busy the machine is or on what PyTorch loads on first use."""

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from densenet_course import checks
from densenet_course.checks import load, run
from densenet_course.checks.engine import timelimit
from densenet_course.checks.engine.timelimit import TimeIsUp, call_with_limit
from tests import answers

BUSY = "while True: pass"


@pytest.fixture
def full_load():
    """Two processes that keep both cores busy, no longer than a test needs them."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    yield
    for process in processes:
        process.kill()
        process.wait()


def endless(*_):
    while True:
        with contextlib.suppress(Exception):
            pass


ENOUGH = threading.Event()


def obstinate(*_):
    """Catch what is thrown to stop it, until the test is over."""
    while not ENOUGH.is_set():
        with contextlib.suppress(BaseException):
            while not ENOUGH.is_set():
                pass


def sleeps(*_):
    time.sleep(60)


def test_who_computes_as_far_as_it_is_let_is_not_idle():
    script = """
import os, subprocess, sys, time
from densenet_course.checks.engine.timelimit import call_with_limit
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
os.nice(10)
def compute():
    start = time.thread_time()
    while time.thread_time() - start < 0.15:
        pass
    return "done"
try:
    print(call_with_limit(compute, cpu_seconds=20, idle_seconds=0.3))
finally:
    for process in busy:
        process.kill()
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout == "done\n", found.stderr


def once_slow(function, seconds):
    """Let the first call of a function compute for some seconds."""
    calls = []

    def slow(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            until = time.thread_time() + seconds
            while time.thread_time() < until:
                pass
        return function(*arguments)

    return slow


RIGHT = next(iter(answers.load("connections").right_answers.values()))


@pytest.mark.parametrize(("stuck", "limits", "message"), [
    (endless, {"cpu_seconds": 0.3}, r"within 0\.3 seconds of computing"),
    (sleeps, {"idle_seconds": 0.3}, r"did nothing for 0\.3 seconds"),
])
def test_an_answer_that_does_not_come_back_is_given_up_and_told_the_limit(stuck, limits, message):
    with pytest.raises(TimeIsUp, match=message):
        call_with_limit(stuck, **limits)
    assert [thread for thread in threading.enumerate() if "endless" in repr(thread)] == []


def test_the_time_of_other_threads_and_processes_does_not_count(full_load):
    other = threading.Thread(target=lambda: time.sleep(0) or _burn(2.0), daemon=True)
    other.start()
    assert call_with_limit(lambda: _burn(0.5) or "came", cpu_seconds=1.0) == "came"
    other.join()


def _burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_what_is_imported_on_the_way_does_not_count(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f"slow_{number}.py").write_text(
            "import time\nuntil = time.thread_time() + 0.1\nwhile time.thread_time() < until:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    def importing():
        for number in range(20):
            __import__(f"slow_{number}")
        return "came"

    assert call_with_limit(importing, cpu_seconds=1.0) == "came"


def test_an_import_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(timelimit, "SPARED_SECONDS", 0.5)
    (tmp_path / "never_ready.py").write_text("while True:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TimeIsUp):
        call_with_limit(lambda: __import__("never_ready"), cpu_seconds=0.5)


@pytest.mark.parametrize("hangs", [endless, obstinate, sleeps])
def test_a_name_that_hangs_costs_its_own_points_only(hangs, monkeypatch, full_load):
    monkeypatch.setattr(timelimit, "CPU_SECONDS", 0.5)
    monkeypatch.setattr(timelimit, "IDLE_SECONDS", 2.0)
    ENOUGH.clear()
    report = run("connections", RIGHT | {"count_connections": hangs})
    ENOUGH.set()
    assert [finding.passed for finding in report.findings if finding.name.startswith("channels")] == [True, True]
    assert report.points == 4
    assert "count_connections did not come back" in report.findings[0].message


def test_an_answer_that_ran_out_of_time_is_asked_once_more(monkeypatch):
    monkeypatch.setattr(timelimit, "CPU_SECONDS", 1.0)
    slow = {name: once_slow(function, 1.5) for name, function in RIGHT.items()}
    assert run("connections", slow).passed


def test_seven_right_programs_keep_their_points_beside_an_endless_one(full_load):
    right = dict(next(iter(answers.load("bug_hunt").right_answers.values())))

    class BlockWithHead(right["BlockWithHead"]):
        def forward(self, images):
            endless()

    report = run("bug_hunt", right | {"BlockWithHead": BlockWithHead})
    assert report.points == 14, str(report)


@pytest.mark.parametrize("exercise", [name for name in checks.EXERCISES if name != "capstone"])
def test_an_endless_loop_ends_the_check_with_a_message(exercise, monkeypatch):
    monkeypatch.setattr(timelimit, "CPU_SECONDS", 0.3)
    report = run(exercise, dict.fromkeys(load(exercise).names, endless))
    assert report.points == 0
    assert "is there a loop that never ends?" in report.findings[0].message


def test_a_name_that_hangs_is_asked_twice_in_all(monkeypatch):
    monkeypatch.setattr(timelimit, "CPU_SECONDS", 0.3)
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        endless()

    assert run("connections", RIGHT | {"count_connections": counted}).points == 4
    assert len(calls) == 2


FRESH = '''
import torch
from torch import nn
from densenet_course.checks import run
from tests import answers

def compiled(c, k):
    layers = nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, k, 3, padding=1, bias=False)
    return torch.compile(nn.Sequential(*layers), backend="eager")

class OnMeta:
    def count_connections(num_layers):
        return num_layers * (num_layers + 1) // 2

    def channels_after(in_channels, num_layers, growth_rate):
        with torch.device("meta"):
            maps = torch.empty(1, in_channels, 2, 2)
            for _ in range(num_layers):
                block = nn.Sequential(nn.BatchNorm2d(maps.shape[1]), nn.Conv2d(maps.shape[1], growth_rate, 1)).eval()
                maps = torch.cat([maps, block(maps)], dim=1)
            return maps.shape[1]

OBJECTS = {"conv_block": {"conv_block": compiled}, "connections": dict(vars(OnMeta)),
           "memory": answers.load("memory").objects(next(iter(answers.load("memory").right_answers)))}
report = run("EXERCISE", OBJECTS["EXERCISE"])
print(report)
raise SystemExit(not report.passed)
'''


@pytest.mark.parametrize("exercise", ["conv_block", "connections", "memory"])
def test_what_pytorch_loads_on_first_use_is_not_charged_to_the_answer(exercise, full_load):
    """In a fresh process, under load: each of these makes PyTorch import its compiler."""
    command = [sys.executable, "-c", FRESH.replace("EXERCISE", exercise)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
