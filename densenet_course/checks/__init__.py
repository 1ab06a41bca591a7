"""What each exercise asks, and how an answer is judged: ``check`` in a notebook, ``run`` anywhere else."""

from importlib import import_module

from densenet_course.checks.engine import progress
from densenet_course.checks.engine.report import CheckFailed, Finding, Report
from densenet_course.terminal import print_anything

__all__ = ["EXERCISES", "CheckFailed", "Finding", "Report", "check", "compare", "finish", "last", "load", "run"]

EXERCISES = (
    "connections", "conv_block", "dense_block", "transition", "bottleneck", "channel_plan", "densenet", "densenet121",
    "train_epoch", "schedule", "memory", "features", "transfer", "bug_hunt", "capstone",
)

_last = {}


def load(exercise):
    """Return an ``Exercise`` by its id.

    Raises:
        KeyError: there is none of this id.
    """
    if exercise not in EXERCISES:
        raise KeyError(f"exercise: expected one of {', '.join(EXERCISES)}; got {exercise!r}")
    return import_module(f"densenet_course.checks.exercises.{exercise}").EXERCISE


def run(exercise, objects, *, seed=None):
    """Judge an answer and return the report; a wrong answer never raises.

    Args:
        exercise: the id of an exercise.
        objects: the learner's objects by name; further names do no harm.
        seed: for a report that can be repeated; by default the inputs are fresh each time.

    Returns:
        A ``Report``.

    Raises:
        KeyError: there is no such exercise.
    """
    from densenet_course.checks.engine.answer import InProcess
    from densenet_course.checks.engine.judge import judge

    found = load(exercise)
    report = judge(found, InProcess({name: objects[name] for name in found.names if name in objects}), seed)
    _last[exercise] = report
    return report


def last(exercise):
    """Return the last report of an exercise in this process, or None."""
    return _last.get(exercise)


def check(exercise=None, *answers):
    """Judge an answer and print the report; without arguments print the progress over all exercises.

    Args:
        exercise: the id of an exercise.
        answers: the learner's objects, in the order in which the notebook defines them.

    Raises:
        CheckFailed: something that was attempted is wrong.
        KeyError: there is no such exercise.
        TypeError: the number of answers is another one.
    """
    print_anything()
    if exercise is None:
        print(progress.table([(name, load(name).title) for name in EXERCISES]))
        return
    report = run(exercise, _named(exercise, answers))
    print(report)
    if report.attempted:
        message = progress.record(report)
        if message:
            print(message)
    if report.failed:
        raise CheckFailed(report)


def compare(exercise, *answers):
    """Show what an exercise expects beside what an answer does; a wrong or unattempted one never raises.

    Args:
        exercise: the id of an exercise with a picture: "dense_block" or "transition".
        answers: the learner's objects, in the order in which the notebook defines them.

    Raises:
        KeyError: there is no such picture.
        TypeError: the number of answers is another one.
    """
    from densenet_course.checks import pictures

    pictures.show(exercise, _named(exercise, answers))


def finish(exercise, *answers):
    """Judge an answer once more, say what to do next, and return the points: the last cell of every exercise.

    Args:
        exercise: the id of an exercise.
        answers: the learner's objects, in the order in which the notebook defines them.

    Returns:
        The points; a grading tool reads them as the score of the cell.
    """
    print_anything()
    report = run(exercise, _named(exercise, answers))
    if not report.attempted:
        print(report.score)
    elif report.passed:
        following = EXERCISES[EXERCISES.index(exercise) + 1:][:1]
        then = f"Next: {following[0]}." if following else "This was the last exercise."
        print(f"{report.score}. All solved. {then}")
    else:
        print(f"{report.score}. The check above says what is missing.")
    return report.points


def _named(exercise, answers):
    names = load(exercise).names
    if len(answers) != len(names):
        wanted = ", ".join([repr(exercise), *names])
        raise TypeError(f"expected check({wanted}), got {len(answers)} answers")
    return dict(zip(names, answers, strict=True))
