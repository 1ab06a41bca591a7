"""Answers that attack the check: each gets a report with its own points at most, and nothing escapes ``run``."""

import _thread
import ctypes
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from sys import setrecursionlimit as set_limit  # the C function itself

import pytest
import torch
from torch import nn

from densenet_course import checks
from densenet_course.checks import load, run
from densenet_course.checks.engine.answer import AnswerError, InProcess, Unjudged, perform
from densenet_course.checks.engine.judge import judge
from densenet_course.checks.engine.plain import cut, plain
from tests import answers
from tests.test_dialogue import BLOCK, give

CALLED = []


def call(*_, **__):
    CALLED.append(1)
    return True


class Liar(torch.Tensor):
    """A tensor that answers all questions itself."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        CALLED.append(function)
        return object()


class Dispatching(torch.Tensor):
    @staticmethod
    def __new__(cls, value):
        return torch.Tensor._make_wrapper_subclass(cls, value.shape)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        CALLED.append(function)
        raise RuntimeError("mine")


class Shadowing(torch.Tensor):
    is_sparse = property(call)
    detach = as_subclass = to = __eq__ = __len__ = call


def tensor_with_attributes():
    tensor = torch.ones(2)
    tensor.detach = tensor.to = tensor.as_subclass = call
    return tensor


class Stranger:
    __eq__ = __len__ = __index__ = __float__ = __iter__ = __bool__ = __str__ = __repr__ = __getattr__ = call
    __hash__ = object.__hash__
    __class__ = property(lambda self: CALLED.append(1) or int)


class MyInt(int):
    __eq__ = __index__ = __int__ = __repr__ = __str__ = call
    __hash__ = int.__hash__


class MyList(list):
    __iter__ = __len__ = __getitem__ = call


class MyDict(dict):
    items = __iter__ = __len__ = call


class MyText(str):
    __eq__ = __len__ = __str__ = __repr__ = call
    __hash__ = str.__hash__


def without_numbers():
    tensor = torch.ones(100_000)
    tensor.untyped_storage().resize_(0)
    return tensor


def endless_list():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [
    torch.ones(2).as_subclass(Liar), torch.ones(2).as_subclass(Shadowing), tensor_with_attributes(),
    Dispatching(torch.ones(2)), Stranger(), MyInt(3), MyList([1]), MyDict(a=1), MyText("a"), [Stranger()],
    {"a": MyInt(3)}, endless_list(), without_numbers(), 1 << 10_000, [0] * 300_000, torch.ones(2, device="meta"),
], ids=lambda value: type(value).__name__)
def test_plain_calls_nothing_of_the_learners(value):
    CALLED.clear()
    try:
        arrived = plain(value)
    except AnswerError as error:
        assert len(str(error)) < 400
    else:
        assert type(arrived) is torch.Tensor
        assert torch.equal(arrived, torch.ones(2))
    assert CALLED == []


def test_a_parameter_with_a_hook_arrives_as_a_plain_copy():
    parameter = nn.Parameter(torch.ones(2))
    arrived = InProcess({"x": parameter}).ask(give, name="x")
    assert type(arrived) is torch.Tensor
    assert arrived.data_ptr() != parameter.data_ptr()


def test_an_answer_cannot_reach_what_the_judge_compares_with():
    asked = [3, [4]]

    def edits(first, second):
        second.append(5)
        return 0

    from densenet_course.checks.engine import probes
    InProcess({"f": edits}).ask(probes.call, name="f", arguments=asked, result="int")
    assert asked == [3, [4]]


@pytest.mark.parametrize("name", [20_000_000 * "X", "\x1b[31mred", "\u202egnp", "a\x00b"])
def test_the_name_of_a_class_is_cut_and_cleaned(name):
    strange = type("Strange", (), {})
    strange.__name__ = name.replace("\x00", "")
    message = run("conv_block", {"conv_block": lambda *_: strange()}).findings[0].message
    assert len(message) <= 1_200
    assert message == cut(message, 10**6)


class Evil(Exception):
    def __str__(self):
        raise KeyboardInterrupt

    __traceback__ = property(call)


class Meta(type(Exception)):
    __name__ = property(lambda cls: 3)


class Unnamed(Exception, metaclass=Meta):
    pass


@pytest.mark.parametrize("error", [Evil(), Unnamed(), KeyboardInterrupt(), SystemExit(), AnswerError(Stranger())])
def test_an_exception_that_cannot_be_written_is_a_finding(error):
    def raises(*_):
        raise error

    report = run("conv_block", {"conv_block": raises})
    assert report.points == 0
    assert report.judged
    assert report.findings[0].message


def test_recursion_without_end_is_a_finding():
    def conv_block(*arguments):
        return conv_block(*arguments)

    assert "RecursionError" in run("conv_block", {"conv_block": conv_block}).findings[0].message


@pytest.mark.parametrize("seconds", [0, 0.3])
def test_an_answer_cannot_lower_the_limit_of_recursion_below_the_depth_of_the_check(seconds):
    """The check could call nothing then, not even to clean up; Python 3.11 aborts."""
    limit = sys.getrecursionlimit()

    def lowers(*arguments):
        set_limit(60)
        time.sleep(seconds)
        return BLOCK(*arguments)

    def below(frames):
        return below(frames - 1) if frames else run("conv_block", {"conv_block": lowers})

    report = below(70)  # conftest.py sees whether autocast is left
    assert report.judged
    assert not report.passed  # Python refuses: "the limit is too low"
    assert sys.getrecursionlimit() == limit


def throw(kind):
    """Throw an exception into the thread of the check."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(threading.main_thread().ident), ctypes.py_object(kind))
    time.sleep(0.3)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, SystemExit, ValueError, RecursionError])
def test_what_is_thrown_into_the_check_ends_it_with_a_report(kind):
    def throws(*arguments):
        throw(kind)
        return BLOCK(*arguments)

    report = run("conv_block", {"conv_block": throws})
    assert not report.passed
    assert all(finding.message for finding in report.findings if not finding.passed)


def test_an_interrupt_ends_the_check_at_once():
    def interrupts(*arguments):
        _thread.interrupt_main()
        time.sleep(5)

    start, before = time.monotonic(), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:  # whoever started the tests may have let Ctrl-C be ignored
        report = run("conv_block", {"conv_block": interrupts})
    finally:
        signal.signal(signal.SIGINT, before)
    assert report.points == 0
    assert "interrupted" in report.findings[0].message
    assert time.monotonic() - start < 30


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX only")
def test_a_timer_of_the_answers_does_not_escape():
    def bomb(_, frame):
        while frame is not None and frame.f_code is not judge.__code__:
            frame = frame.f_back
        if frame is None:  # not in the check yet
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            raise RuntimeError("boom")

    before = signal.signal(signal.SIGALRM, bomb)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        report = run("conv_block", {"conv_block": BLOCK})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert report.exercise == "conv_block"


HARMFUL = {
    "closes all descriptors": "os.closerange(3, 256)",
    "closes the output": "os.closerange(0, 3)",
    "uses up the descriptors": "keep = [os.dup(2) for _ in iter(int, 1)] if not limit() else 0",
    "starts no thread": "threading.Thread.start = no_thread",
}
SCRIPT = '''
import os, resource, sys, threading
from torch import nn
from densenet_course.checks import run
KEPT = []

def limit():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            KEPT.append(os.dup(2))
    except OSError:
        pass
    return 1

def no_thread(self):
    raise RuntimeError("can't start new thread")

def conv_block(c, k):
    HARM
    return nn.Conv2d(c, k, 3)

report = run("conv_block", {"conv_block": conv_block})
os._exit(7 if type(report).__name__ == "Report" and not report.passed else 8)
'''


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.parametrize("harm", HARMFUL)
def test_an_answer_that_takes_what_the_check_needs_gets_a_report(harm):
    done = subprocess.run([sys.executable, "-c", SCRIPT.replace("HARM", HARMFUL[harm])], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 7, done.stderr


class Broken:
    """An answer's side that is dead or lies."""

    def __init__(self, reply):
        self.reply = reply

    def ask(self, probe, **request):
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


@pytest.mark.parametrize("reply", [
    struct.error("unpack requires a buffer of 8 bytes"), MemoryError(), EOFError(), BrokenPipeError(),
    ValueError("pickle"), AnswerError(what=Stranger(), cause=3), Stranger(), None, {"value": 3}, "ready",
], ids=lambda reply: type(reply).__name__)
@pytest.mark.parametrize("exercise", ["conv_block", "connections", "train_epoch"])
def test_whatever_the_answers_side_does_becomes_a_finding(exercise, reply):
    report = judge(load(exercise), Broken(reply))
    assert report.points == 0
    assert all(finding.message for finding in report.findings)


def test_our_own_failure_is_told_from_the_answers():
    report = judge(load("conv_block"), Broken(Unjudged("no thread is to be had")))
    assert report.points == 0
    assert not report.judged
    assert "no thread is to be had" in report.findings[0].message
    assert run("conv_block", {"conv_block": BLOCK}).judged


def test_an_error_of_the_package_that_an_answer_raises_is_plain_text():
    from densenet_course.checks.engine import probes

    def raises(*_):
        raise AnswerError(what=Stranger(), expected=[1], got="x" * 10**6, cause="\x1b[31mred")

    reply = perform({"f": raises}, probes.call, {"name": "f", "arguments": (), "result": "int"})
    assert all(type(text) is str and len(text) <= 600 for text in reply["error"].values())


@pytest.mark.parametrize("exercise", [name for name in checks.EXERCISES if name not in ("capstone", "densenet121")])
def test_a_stranger_in_every_place_breaks_nothing(exercise):
    names = load(exercise).names
    report = run(exercise, dict.fromkeys(names, lambda *_, **__: Stranger()))
    assert report.points <= report.max_points / 4
    assert answers.load(exercise).right_answers
