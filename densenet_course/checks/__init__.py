"""What each exercise asks, and how an answer is judged: ``check`` in a notebook, ``run`` anywhere else."""

import sys
from importlib import import_module

from densenet_course.checks.engine import progress
from densenet_course.checks.engine.report import CheckFailed, Finding, Report, Shown
from densenet_course.terminal import print_anything

__all__ = ["EXERCISES", "CheckFailed", "Finding", "Report", "check", "compare", "finish", "last", "load", "run"]

EXERCISES = (
    "connections", "conv_block", "dense_block", "transition", "bottleneck", "channel_plan", "densenet", "densenet121",
    "train_epoch", "schedule", "memory", "features", "transfer", "bug_hunt", "capstone", "one_shot",
    "keras_weights",
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
    """Judge an answer and return the report; nothing that an answer does raises, and Ctrl-C only ends the check.

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
    from densenet_course.checks.engine.judge import judge, unjudged

    found = load(exercise)
    answer = InProcess({name: objects[name] for name in found.names if name in objects})
    try:
        report = judge(found, answer, seed)
    except BaseException as error:  # thrown into this thread, or no descriptor or memory is left
        report = unjudged(found, error)
    _last[exercise] = report
    return report


def last(exercise):
    """Return the last report of an exercise in this process, or None."""
    return _last.get(exercise)


def check(exercise=None, *answers):
    """Judge an answer and show the report; without arguments print the progress over all exercises.

    In a notebook a wrong answer does not raise: "Run All" goes on to the score.

    Args:
        exercise: the id of an exercise.
        answers: the learner's objects, in the order in which the notebook defines them.

    Returns:
        In a notebook the ``Report``, which is not shown a second time; else None.

    Raises:
        CheckFailed: something that was attempted is wrong, and this is no notebook.
        KeyError: there is no such exercise.
        TypeError: the number of answers is another one.
    """
    print_anything()
    if exercise is None:
        print(progress.table([(name, load(name).title) for name in EXERCISES]))
        return None
    report = run(exercise, _named(exercise, answers))
    in_notebook = _show(report)
    if not report.judged:
        print("The check itself failed in places, which says nothing about your answer. Run it again.")
    if report.attempted:
        message = progress.record(report)
        if message:
            print(message)
    if in_notebook:
        return Shown(report)
    if report.failed:
        raise CheckFailed(report)
    return None


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

    Where a grade is made elsewhere, these points are practice.

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
        print(f"{report.score}. All solved. {_next(exercise)}")
    else:
        number, _, words = load(exercise).lesson.partition("_")
        print(f"{report.score}. The check above says what is missing; lesson {number} "
              f"({words.replace('_', ' ')}) prepares for it.")
    if report.attempted:
        print("These points are practice where your course makes the grade elsewhere.")
    return report.points


def _next(exercise):
    place = EXERCISES.index(exercise) + 1
    if place == len(EXERCISES):
        return "This was the last exercise."
    return f"Next: {place + 1:02} {load(EXERCISES[place]).title}."


def _show(report):
    """Show a report, as a table where this is a notebook; tell whether it is one."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        print(report)
        return False
    from IPython.display import display

    display(report)
    return True


def _named(exercise, answers):
    names = load(exercise).names
    if len(answers) != len(names):
        wanted = ", ".join([repr(exercise), *names])
        raise TypeError(f"expected check({wanted}), got {len(answers)} answers")
    return dict(zip(names, answers, strict=True))
