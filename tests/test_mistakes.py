"""Every known mistake is an edit that can be made, and as an answer it is refused with its own message."""

import importlib
import pkgutil

import pytest

from densenet_course import checks
from densenet_course.checks import exercises, run
from densenet_course.checks.engine.mistakes import Solution


def solutions(exercise):
    """List the solutions as text that an exercise's modules hold."""
    package = importlib.import_module(f"{exercises.__name__}.{exercise}")
    inside = pkgutil.iter_modules(getattr(package, "__path__", []), f"{package.__name__}.")
    modules = [package, *(importlib.import_module(name) for _, name, _ in inside)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Solution)]
    return list(dict.fromkeys(found))


SOLUTIONS = {exercise: solutions(exercise) for exercise in checks.EXERCISES}
MISTAKES = [(exercise, solution, mistake) for exercise, found in SOLUTIONS.items() for solution in found
            for mistake in solution.mistakes]
NAMES = [f"{exercise}-{i}-{mistake.finding}" for i, (exercise, _, mistake) in enumerate(MISTAKES)]


def objects(exercise):
    """Return what an exercise asks for, from its solutions."""
    return {name: value for solution in SOLUTIONS[exercise] for name, value in solution.objects().items()}


@pytest.fixture(autouse=True)
def _helpers_may_be_the_packages(monkeypatch, exercise):
    """Let an answer hold parts of the package: what a mistake's edit names stands for a helper of the learner's."""
    monkeypatch.setattr(checks.load(exercise), "refused", ())


@pytest.mark.parametrize("exercise", [exercise for exercise, found in SOLUTIONS.items() if found])
def test_the_solution_is_accepted(exercise, seeds):
    for seed in seeds:
        report = run(exercise, objects(exercise), seed=seed)
        assert report.passed, f"seed {seed}: {report}"


@pytest.mark.parametrize(("exercise", "solution", "mistake"), MISTAKES, ids=NAMES)
def test_an_edit_applies_alone_and_costs_a_finding_that_exists(exercise, solution, mistake):
    made = solution.objects((mistake,))
    assert made is not None, f"an edit finds no place: {mistake}"
    assert made.keys() == solution.objects().keys()
    assert mistake.finding in [name for name, *_ in checks.load(exercise).parts]
    for old, new in mistake.edits:
        assert old != new


@pytest.mark.parametrize(("exercise", "solution", "mistake"), MISTAKES, ids=NAMES)
def test_a_mistake_is_named(exercise, solution, mistake, seeds):
    for seed in seeds:
        report = run(exercise, objects(exercise) | solution.objects((mistake,)), seed=seed)
        messages = " ".join(finding.message for finding in report.findings).lower()
        assert not report.passed, f"seed {seed}: accepted, {mistake}"
        assert mistake.message.lower() in messages, f"seed {seed}: {report}"


@pytest.mark.parametrize("exercise", ["conv_block"])
def test_edits_that_exclude_each_other_make_no_solution(exercise):
    (solution,) = SOLUTIONS[exercise]
    reflected, repeated = (next(mistake for mistake in solution.mistakes if what in mistake.message)
                           for what in ("mirrored pixels", "repeated pixels"))
    assert solution.objects((reflected, repeated)) is None  # padding_mode twice is no Python


@pytest.mark.parametrize("exercise", ["densenet"])
def test_the_whole_network_of_the_check_has_the_papers_number_of_parameters(exercise):
    from densenet_course import accounting
    from densenet_course.checks.exercises.densenet import GOLDEN
    from densenet_course.config import DenseNetConfig

    block_layers, growth_rate, init_channels, num_classes, in_channels = GOLDEN
    config = DenseNetConfig(block_layers=block_layers, growth_rate=growth_rate, init_channels=init_channels,
                            num_classes=num_classes, in_channels=in_channels, stem="cifar", compression=0.5)
    network = objects(exercise)["DenseNet"](*GOLDEN)
    assert sum(parameter.numel() for parameter in network.parameters()) == accounting.parameters(config)
