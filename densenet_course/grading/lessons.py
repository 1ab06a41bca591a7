"""Tell from a notebook's text whether an answer is the lesson's own cell, word for word. Nothing of it is run."""

import ast
from functools import cache
from pathlib import Path

from densenet_course import layers
from densenet_course.checks.engine.copies import REFUSAL


def copied(name, cells):
    """Look for the lesson's cell in what defines a name.

    Comments, documentation, annotations and line breaks make no difference.

    Args:
        name: the learner's name.
        cells: the sources of a notebook's code cells.

    Returns:
        What to say to the learner, or "".
    """
    original = _lessons().get(name)
    return REFUSAL if original and original == _last_definition(name, cells) else ""


@cache
def _lessons():
    tree = ast.parse(Path(layers.__file__).read_text(encoding="utf-8"))
    return {node.name: _form(node) for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _last_definition(name, cells):
    form = None
    for source in cells:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # a magic, or nonsense
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                form = _form(node)
    return form


def _form(node):
    """Write a definition without documentation and annotations."""
    try:
        node = ast.parse(ast.unparse(node)).body[0]
        for part in ast.walk(node):
            if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part) is not None:
                part.body = part.body[1:] or [ast.Pass()]
            if isinstance(part, ast.FunctionDef):
                part.returns = None
            elif isinstance(part, ast.arg):
                part.annotation = None
        return ast.dump(node)
    except RecursionError:
        return None
