"""Tell whether an answer is the lesson's own cell, word for word."""

import dis
import types

from densenet_course import layers

REFUSAL = ("this is the lesson's cell, word for word. You have read it well; now write it from memory and in another "
           "form, such as the one that the task names.")


def is_lessons_cell(name, value):
    """Tell whether a function or class does, step by step, what the part of this name does in its lesson.

    Comments, documentation, annotations and line breaks make no difference.

    Args:
        name: the learner's name for it.
        value: the learner's object.
    """
    original = vars(layers).get(name)
    return original is not None and bool(_form(original)) and _form(original) == _form(value)


def _form(value):
    """Return what a function or the methods of a class do, comparable; None for anything else."""
    kind = type(value)
    if kind is types.FunctionType:
        defaults = [default for default in value.__defaults__ or () if type(default) in (int, float)]
        return _steps(value.__code__), defaults
    if kind is type:
        return {name: _form(member) for name, member in vars(value).items() if type(member) is types.FunctionType}
    return None


def _steps(code):
    """List a code's arguments and instructions, without its place in a file.

    How a name of a module is looked up and called depends on whether the compiler has seen its import.
    """
    steps = [("LOAD_ATTR" if step.opname == "LOAD_METHOD" else step.opname, _operand(step, code))
             for step in dis.get_instructions(code) if step.opname not in ("NOP", "PUSH_NULL", "PRECALL")]
    return code.co_argcount, code.co_kwonlyargcount, code.co_varnames, steps


def _operand(step, code):
    if type(step.argval) is types.CodeType:
        return _steps(step.argval)
    if step.opname == "KW_NAMES":
        return repr(code.co_consts[step.arg])
    return "" if step.opcode in dis.hasjabs + dis.hasjrel else repr(step.argval)
