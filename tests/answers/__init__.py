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
    registry = "\n\n".join(inspect.getsource(part) for part in (_Absent, Answers, _label, _objects))
    return f"{registry}\n\n{_text(exercise)}\nglobals().update(ANSWERS.objects({label!r}))\n"


def _text(module, seen=None):
    """Return the text of a module of answers, with that of each module here that it imports, once, in its place."""
    seen = [] if seen is None else seen
    if module in seen:
        return ""
    seen.append(module)
    place = Path(__file__).parent / module.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = re.sub(r"^from tests\.answers import .*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)

    def included(found):
        names = [name.strip() for name in found[2].partition("#")[0].split(",")]
        modules = [f"{found[1]}.{name}" for name in names] if (place.parent / found[1]).is_dir() else [found[1]]
        return "\n".join(_text(name, seen) for name in modules)

    text = re.sub(r"^from tests\.answers\.(\S+) import (.*)$", included, text, flags=re.MULTILINE)
    return re.sub(r"^from densenet_course\S* import (?:.*\bas )?(.*)$", _absent, text, flags=re.MULTILINE)


def _absent(found):
    """Let a module of the course be missing, as some are while grading."""
    names = " = ".join(name.strip() for name in found[1].split(","))
    return f"try:\n    {found[0]}\nexcept ImportError:\n    {names} = _Absent()"


class _Absent:
    """Stands for what is not there; whoever uses it finds out."""

    def __getattr__(self, name):
        return self


def _label(answer):
    return answer.__name__.replace("_", " ").strip()


def _objects(answer):
    return {name: value for name, value in vars(answer).items() if not name.startswith("__")}
