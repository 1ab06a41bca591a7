"""Show what an exercise expects beside what an answer does, where shapes or connections are the point."""

import warnings

from densenet_course import layers
from densenet_course.checks.engine import probes, stubs
from densenet_course.checks.engine.answer import AnswerError, InProcess
from densenet_course.checks.engine.draw import Draw
from densenet_course.checks.engine.expect import rehearse
from densenet_course.checks.engine.explain import BLOCK, TRANSITION, Explaining
from densenet_course.checks.engine.report import NOT_ATTEMPTED
from densenet_course.checks.engine.state import preserved
from densenet_course.checks.engine.wrong import Complaint
from densenet_course.checks.exercises.dense_block import connectivity
from densenet_course.checks.exercises.dense_block.mistakes import MISFIT

SIZES = (4, 3, 10)  # num_layers, in_channels, growth_rate, as in lesson 03
CALLS = (((8,), (2, 8, 8, 8)), ((11, 0.5), (2, 11, 7, 9)), ((12, 0.75), (2, 12, 6, 6)))


def draw(exercise, objects):
    """Draw the picture of an exercise; an answer that is wrong or missing never raises.

    Args:
        exercise: an id of ``PICTURES``.
        objects: the learner's objects by name.

    Returns:
        A Matplotlib figure with alt text.

    Raises:
        KeyError: this exercise has no picture.
    """
    if exercise not in PICTURES:
        raise KeyError(f"exercise: expected one with a picture ({', '.join(PICTURES)}); got {exercise!r}")
    return PICTURES[exercise](InProcess(objects))


def show(exercise, objects):
    """Draw the picture and display it in the notebook."""
    from densenet_course.figures import show as display

    figure = draw(exercise, objects)
    with warnings.catch_warnings():  # a letter in an error message that the font lacks
        warnings.simplefilter("ignore")
        display(figure)


def dense_block(answer):
    """Draw who reads whose maps."""
    from densenet_course.figures.side_by_side import readers_beside

    judges = InProcess({"DenseBlock": layers.DenseBlock})
    with preserved():
        expected = connectivity.measure(judges, "DenseBlock", SIZES, Draw())
        explaining = Explaining(answer, (*MISFIT, *BLOCK))
        yours = _attempt(answer, "DenseBlock", lambda: connectivity.measure(explaining, "DenseBlock", SIZES, Draw()))
    return readers_beside(expected, yours)


def transition(answer):
    """Draw what goes in and what comes out."""
    from densenet_course.figures.side_by_side import shapes_beside

    fresh = Draw()
    with preserved():
        scripts = [[{"do": "run", "images": fresh.normal(*shape)}] for _, shape in CALLS]
        expected = [_shape(rehearse(layers.transition(*arguments), script))
                    for (arguments, _), script in zip(CALLS, scripts, strict=True)]
        yours = _attempt(answer, "transition", lambda: [
            _shape_or_message(Explaining(answer, TRANSITION), arguments, script)
            for (arguments, _), script in zip(CALLS, scripts, strict=True)
        ])
    calls = [(f"transition({', '.join(map(str, arguments))})", shape) for arguments, shape in CALLS]
    if not isinstance(yours, str) and all(isinstance(shape, str) for shape in yours):
        yours = yours[0]
    return shapes_beside(calls, expected, yours)


def _shape(replies):
    return tuple(replies[0]["output"].shape)


def _shape_or_message(answer, arguments, script):
    try:
        return _shape(answer.ask(probes.play, name="transition", arguments=arguments, script=script))
    except AnswerError as error:
        return error.cause or error.statement  # without the call, which the picture names


def _attempt(answer, name, measure):
    """Measure, or say in a text why there is nothing to draw."""
    try:
        state = answer.ask(stubs.status, name=name)
        if state != stubs.READY:
            return NOT_ATTEMPTED if state == stubs.STUB else f"{name} is not defined"
        return measure()
    except Complaint as complaint:
        return str(complaint)
    except Exception as error:  # an answer so strange that the measuring stumbled
        return f"this could not be drawn ({type(error).__name__}: {error})"


PICTURES = {"dense_block": dense_block, "transition": transition}
