"""Answers to the exercises, right and wrong: what every check is tried on."""

import inspect
import re
from importlib import import_module
from pathlib import Path


class Answers:
    """The answers to one exercise.

    An answer is a class whose members are the names that the exercise asks for; its own name says what it is::

        @ANSWERS.wrong("the order of ResNet")
        class convolution_first:
            def conv_block(in_channels, out_channels): ...
    """

    def __init__(self):
        self.right_answers, self.wrong_answers = {}, {}

    def right(self, answer):
        """Register a right answer."""
        self.right_answers[_label(answer)] = _objects(answer)
        return answer

    def wrong(self, message):
        """Register a wrong answer with a part of the message that it must get."""

        def register(answer):
            self.wrong_answers[_label(answer)] = (_objects(answer), message)
            return answer

        return register

    def objects(self, label):
        """Return an answer's objects by name."""
        return self.right_answers[label] if label in self.right_answers else self.wrong_answers[label][0]


def load(exercise):
    """Return the ``Answers`` to an exercise by its id."""
    return import_module(f"tests.answers.{exercise}").ANSWERS


def cell(exercise, label):
    """Return the cell of a notebook that defines an answer: its module's text, for the class is no module's there."""
    text = Path(__file__).with_name(f"{exercise}.py").read_text(encoding="utf-8")
    registry = inspect.getsource(Answers) + "\n\n" + inspect.getsource(_label) + "\n\n" + inspect.getsource(_objects)
    text = text.replace("from tests.answers import Answers\n", "")
    for module in re.findall(r"^from tests\.answers\.(\w+) import .*$", text, re.MULTILINE):
        other = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
        other = other.replace("from tests.answers import Answers\n", "")
        text = re.sub(rf"^from tests\.answers\.{module} import .*$", lambda _, t=other: t, text, flags=re.MULTILINE)
    return f"{registry}\n\n{text}\nglobals().update(ANSWERS.objects({label!r}))\n"


def _label(answer):
    return answer.__name__.replace("_", " ").strip()


def _objects(answer):
    return {name: value for name, value in vars(answer).items() if not name.startswith("__")}
