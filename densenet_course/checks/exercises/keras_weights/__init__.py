"""Exercise keras_weights: a network's weights as Keras's list of arrays, and back."""

from functools import partial

import torch

from densenet_course.checks.engine.expect import alike, told
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.keras_weights.mistakes import (
    BACK,
    FROM_KERAS,
    KEPT,
    LEFT,
    NUMBERS,
    SHAPES,
    TO_KERAS,
)
from densenet_course.checks.exercises.keras_weights.networks import bring_back, carry, network

EXERCISE = Exercise("keras_weights", names=["to_keras", "from_keras"], title="Weights to Keras and back",
                    lesson="13_keras")
TO, FROM = EXERCISE.names
COPIED = {  # options of hold: numbers that are copied are the same; BatchNorm's eps would show
    "tolerance": 1e-6, "told": partial(told, tolerance=1e-6)}


def values(draw, sizes):
    """Draw a state of a network, all numbers different, variances above 0."""
    return {key: value if "tracked" in key else draw.normal(*value.shape).abs() + 0.1 if "var" in key
            else draw.normal(*value.shape) for key, value in network(*sizes).state_dict().items()}


def request(draw):
    """Draw what ``carry`` is asked for."""
    channels, width, classes = sizes = tuple(draw.sample(3, 9, 3))
    if len({channels, width, width + 3, classes, 2}) < 5:  # equal widths would hide a wrong order of axes
        return request(draw)
    return {"name": TO, "sizes": sizes, "values": values(draw, sizes)}


def about(reply):
    """Pick from a reply what must be as before the call."""
    return {"parameters that train": sum(reply["trained"]), "parts in train mode": sum(reply["modes"])}


def _shapes(reply):
    return {"shapes of the arrays": [tuple(array.shape) for array in reply["arrays"]]}


@EXERCISE.finding(SHAPES, points=2, of=TO)
def shapes(answer, draw):
    """The arrays are all there, in Keras's order and shapes."""
    for _ in range(2):
        TO_KERAS.hold(answer, draw, carry, request(draw), view=_shapes)


@EXERCISE.finding(NUMBERS, points=2, of=TO)
def numbers(answer, draw):
    """Each number stands in its place."""
    for _ in range(2):
        TO_KERAS.hold(answer, draw, carry, request(draw),
                      view=lambda reply: {f"array {i}": array for i, array in enumerate(reply["arrays"])},
                      **COPIED)


@EXERCISE.finding(KEPT, points=1, of=TO)
def kept(answer, draw):
    """The model is as before."""
    TO_KERAS.hold(answer, draw, carry, request(draw), view=lambda reply: about(reply) | reply["state"])


def back(draw):
    """Draw what ``bring_back`` is asked for: a network, and the arrays of another one of its sizes."""
    asked = request(draw)
    arrays = TO_KERAS.objects()[TO](_filled(asked["sizes"], values(draw, asked["sizes"])))
    return asked | {"name": FROM, "arrays": [torch.tensor(array) for array in arrays]}


def _filled(sizes, values):
    model = network(*sizes)
    model.load_state_dict(values)
    return model


@EXERCISE.finding(BACK, points=3, of=FROM)
def numbers_back(answer, draw):
    """The model has the weights and statistics of the arrays."""
    for _ in range(2):
        FROM_KERAS.hold(answer, draw, bring_back, back(draw), view=lambda reply: reply["state"], **COPIED)


@EXERCISE.finding(LEFT, points=2, of=FROM)
def left(answer, draw):
    """The model still trains, the caller's arrays are as before, and later changes to them do not reach the model."""
    FROM_KERAS.hold(answer, draw, bring_back, back(draw), view=lambda reply: about(reply) | {
        "arrays in the caller's list after the call": len(reply["shapes"]), "arrays as before": reply["left"]})
    reply = answer.ask(bring_back, **back(draw))
    if not alike(reply["state"], reply["later"]):
        raise Wrong(cause="model and arrays share memory: what happens to the arrays later happens to the model. "
                          "torch.from_numpy does not copy.")
