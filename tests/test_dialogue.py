"""The dialogue between judge and answer: plain data only, whatever a learner does, and nothing of it stays behind."""

import random
import sys
import time
import warnings

import numpy
import pytest
import torch
from torch import nn

from densenet_course import checks
from densenet_course.checks import CheckFailed, check, finish, load, run
from densenet_course.checks.engine import probes, timelimit
from densenet_course.checks.engine.answer import AnswerError, InProcess, probe
from densenet_course.checks.engine.judge import judge
from densenet_course.checks.engine.stubs import is_stub
from tests import answers
from tests.other_process import OtherProcess

TOO_LARGE = {"capstone"}  # it trains; its dialogue is the same


@pytest.fixture(scope="module")
def other_process():
    with OtherProcess() as process:
        yield process


@pytest.mark.parametrize("exercise", [name for name in checks.EXERCISES if name not in TOO_LARGE])
def test_an_answer_may_live_in_another_process(exercise, other_process):
    """The whole report comes out equal when only plain bytes pass: the check needs nothing else of the answer."""
    tried = answers.load(exercise)
    label = next(iter(tried.wrong_answers))
    here = judge(load(exercise), InProcess(tried.objects(label)), seed=5)
    far = judge(load(exercise), other_process.take(exercise, label), seed=5)
    assert [(f.name, f.passed) for f in far.findings] == [(f.name, f.passed) for f in here.findings]
    assert not far.passed
    assert judge(load(exercise), other_process.take(exercise, next(iter(tried.right_answers)))).passed


@probe
def give(objects, name):
    """Report a learner's object as it is."""
    return objects[name]


@pytest.mark.parametrize("value", [nn.ReLU(), object(), {1: nn.ReLU()}, [len], {1, 2}, numpy.float32(1)])
def test_what_is_not_plain_never_reaches_the_judge(value):
    with pytest.raises(AnswerError, match="expected numbers and tensors"):
        InProcess({"x": value}).ask(give, name="x")


def test_a_tensor_subclass_arrives_as_a_tensor():
    class Yes(torch.Tensor):
        def __eq__(self, other):
            return True

    arrived = InProcess({"x": torch.ones(2).as_subclass(Yes)}).ask(give, name="x")
    assert type(arrived) is torch.Tensor


class SaysYes(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def test_a_number_that_equals_everything_arrives_as_a_number():
    result = InProcess({"f": lambda: SaysYes(3)}).ask(probes.call, name="f", arguments=(), result="int")["result"]
    assert type(result) is int
    assert result == 3


def BLOCK(in_channels, out_channels):
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(),
                         nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False))


def with_side_effect(effect):
    def conv_block(in_channels, out_channels):
        block = BLOCK(in_channels, out_channels)
        effect()
        return block

    return conv_block


def ignore(*_):
    pass


def fiddle():
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(1 if torch.get_num_threads() > 1 else 2)
    torch.manual_seed(random.randrange(10**6))
    numpy.random.seed(1)  # noqa: NPY002
    random.random()
    warnings.simplefilter("error")


def situation():
    return (
        torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), torch.get_rng_state().tolist(),
        numpy.random.get_state()[1].tolist(), random.getstate(), list(warnings.filters),  # noqa: NPY002
        sys.stdout, sys.stderr,
    )


def test_what_an_answer_does_to_the_session_is_undone():
    before = situation()
    run("conv_block", {"conv_block": with_side_effect(fiddle)})
    assert situation() == before


@pytest.mark.parametrize("change", [
    lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_grad_enabled(False),
    lambda: torch.manual_seed(0), lambda: torch.set_num_threads(1),
])
def test_the_state_of_the_session_does_not_matter(change):
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        change()
        changed = situation()
        assert run("conv_block", {"conv_block": BLOCK}).passed
        assert situation() == changed  # and is left as the learner had it
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(True)
        torch.set_num_threads(threads)


@pytest.mark.parametrize("context", [torch.inference_mode, lambda: torch.autocast("cpu"), torch.no_grad])
def test_a_context_around_the_check_does_not_matter(context):
    with context():
        assert run("conv_block", {"conv_block": BLOCK}).passed


def noisy():
    import os

    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(2, b"to the descriptor\n")
    warnings.warn("a warning", stacklevel=1)


def test_nothing_is_printed_while_an_answer_is_judged(capfd):
    assert run("conv_block", {"conv_block": with_side_effect(noisy)}).passed
    assert capfd.readouterr() == ("", "")


class Strange(BaseException):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [
    ValueError("bad"), SystemExit(0), KeyboardInterrupt(), GeneratorExit(), Strange(), MemoryError(), StopIteration(),
    RecursionError("deep"), ExceptionGroup("many", [ValueError("one")]),
])
@pytest.mark.parametrize("exercise", checks.EXERCISES)
def test_whatever_an_answer_raises_becomes_a_finding(exercise, error):
    def raises(*arguments, **keywords):
        raise error

    report = run(exercise, dict.fromkeys(load(exercise).names, raises))
    assert report.points == 0
    assert report.failed
    assert type(error).__name__ in report.findings[0].message
    assert not any("could not be read" in finding.message for finding in report.findings)


STRANGE = {
    "a class": int, "a module": nn.ReLU(), "a generator": (i for i in range(3)), "a text": "conv_block", "a number": 3,
    "a function that returns nothing": lambda *a, **k: ignore(), "NaN": lambda *a, **k: float("nan"),
    "a tensor of integers": lambda *a, **k: torch.ones(2, 2, dtype=torch.int64), "infinite": lambda *a, **k: 1e999,
    "returns a class": lambda *a, **k: nn.ReLU, "returns a generator": lambda *a, **k: (i for i in range(3)),
    "returns a module that returns None": lambda *a, **k: torch.nn.Flatten(start_dim=9), "a list": [1, 2],
    "returns an identity": lambda *a, **k: nn.Identity(), "returns its arguments": lambda *a, **k: a,
}


@pytest.mark.parametrize("label", STRANGE)
@pytest.mark.parametrize("exercise", checks.EXERCISES)
def test_strange_objects_earn_nothing_much_and_break_nothing(exercise, label):
    report = run(exercise, dict.fromkeys(load(exercise).names, STRANGE[label]))
    assert not report.passed
    assert report.points <= report.max_points / 2
    assert all(finding.message for finding in report.findings if not finding.passed)
    assert not any("could not be read" in finding.message for finding in report.findings), str(report)


@pytest.mark.parametrize("value", [..., None])
@pytest.mark.parametrize("exercise", checks.EXERCISES)
def test_an_unattempted_answer_is_told_so(exercise, value, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = load(exercise).names
    check(exercise, *[value] * len(names))  # returns
    assert finish(exercise, *[value] * len(names)) == 0
    assert capsys.readouterr().out.count("not attempted yet") == 2
    assert list(tmp_path.iterdir()) == []  # no progress to keep


def test_stubs_are_told_from_answers():
    def stub(x):
        """Do something."""
        ...

    def raising(x):
        raise NotImplementedError

    def forgot_return(x):
        x + 1

    class Stub(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            ...

        def forward(self, x):
            ...

    class OnlyTheConstructorWritten(nn.Module):
        def __init__(self, a):
            super().__init__()
            self.a = a

        def forward(self, x):
            ...

    class Inherits(OnlyTheConstructorWritten):
        pass

    class Empty(nn.Module):
        pass

    class OnlyNew:
        def __new__(cls, a):
            return nn.ReLU()

    class Short(nn.Sequential):
        pass

    class Called(type):
        def __call__(cls, a):
            return nn.ReLU()

    class ByMetaclass(metaclass=Called):
        pass

    class Attribute(nn.Module):
        forward = torch.relu

    class ClassMethod:
        @classmethod
        def build(cls, a):
            return nn.ReLU()

    class StubOfNew:
        def __new__(cls, a):
            ...

    answers = [forgot_return, Inherits, nn.ReLU, nn.ReLU(), 3, "...", lambda x: x, OnlyNew, Short, ByMetaclass,
               Attribute, ClassMethod]
    stubs = [stub, raising, Stub, OnlyTheConstructorWritten, Empty, StubOfNew, ..., None]
    assert [value for value in stubs if not is_stub(value)] == []
    assert [value for value in answers if is_stub(value)] == []


def test_a_half_written_answer_is_judged_in_its_half(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    right = next(iter(answers.load("connections").right_answers.values()))
    check("connections", right["count_connections"], ...)  # no CheckFailed: what was attempted is right
    assert "not attempted yet" in capsys.readouterr().out
    report = run("connections", {"count_connections": right["count_connections"], "channels_after": ...})
    assert 0 < report.points < report.max_points


def test_a_missing_name_is_told_so():
    report = run("conv_block", {})
    assert "conv_block is not defined" in report.findings[0].message
    assert report.failed


def test_an_answer_left_behind_changes_nothing_when_it_ends(capfd, monkeypatch):
    monkeypatch.setattr(timelimit, "IDLE_SECONDS", 0.2)
    run("conv_block", {"conv_block": lambda c, k: time.sleep(2)})
    before = situation()
    time.sleep(2.2)
    assert situation() == before
    print("still heard")
    assert "still heard" in capfd.readouterr().out


def test_the_message_shows_the_line_that_raised():
    def conv_block(in_channels, out_channels):
        return nn.Sequential(nn.BatchNorm2d(in_channels), nonsense)  # noqa: F821

    message = run("conv_block", {"conv_block": conv_block}).findings[0].message
    assert "NameError: name 'nonsense' is not defined" in message
    assert "nn.Sequential(nn.BatchNorm2d(in_channels), nonsense)" in message


def test_unknown_exercises_and_wrong_calls_are_refused():
    with pytest.raises(KeyError, match="expected one of connections, conv_block"):
        run("conv_blok", {})
    with pytest.raises(TypeError, match="expected check\\('conv_block', conv_block\\), got 2 answers"):
        check("conv_block", BLOCK, BLOCK)


def test_check_prints_the_report_and_raises(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckFailed, match=r"^look again at .*values") as caught:
        check("conv_block", lambda c, k: nn.Conv2d(c, k, 3, padding=1, bias=False))
    assert caught.value.report.exercise == "conv_block"
    assert len(str(caught.value)) < 80  # a notebook's or terminal's line
    printed = capsys.readouterr().out
    assert f"conv_block: {caught.value.report.points:g} of 10 points" in printed
    check("conv_block", BLOCK)
    assert "conv_block: 10 of 10 points" in capsys.readouterr().out


def test_a_report_of_several_mistakes_names_each_and_fits_a_notebook():
    text = str(run("conv_block", {"conv_block": lambda c, k: nn.Conv2d(c, k, 3, padding=1)}))
    assert max(map(len, text.splitlines())) <= 104
    assert "the convolution has a bias" in " ".join(text.split()).lower()
    assert "BatchNorm and ReLU are missing." in " ".join(text.split())


def test_each_check_draws_fresh_inputs():
    seen = []

    def conv_block(in_channels, out_channels):
        seen.append((in_channels, out_channels))
        return BLOCK(in_channels, out_channels)

    run("conv_block", {"conv_block": conv_block}, seed=1)
    first = seen.copy()
    seen.clear()
    run("conv_block", {"conv_block": conv_block}, seed=2)
    assert seen != first
