"""Tell whose work an answer is: what it reaches by name, and the parts of what it builds."""

import contextlib
import dis
import functools
import sys
import types

from torch import nn

COURSE = "densenet_course"
CALLS = ("import_module", "__import__", "exec", "eval", "getattr")  # what finds a part by the text of its name


def foreign_to(value, given, refused):
    """Find work of others in an answer, wherever its code names it.

    Looked at are the object itself, what its code reads by name (globals, closures, defaults, imports inside a body),
    base classes and methods, ``functools.partial`` and decorators, and so on through the learner's own helpers.

    Args:
        value: the learner's object.
        given: dotted names that may be used, for instance "densenet_course.layers".
        refused: packages whose parts may not.

    Returns:
        The dotted name of what was found first, or "".
    """
    search = Search(given, refused)
    search.look(value)
    return next(iter(search.found), "")


def foreign_parts(module, given, refused):
    """List the classes of a network's parts that are of a refused package, the outermost first."""
    search = Search(given, refused)
    for part in module.modules():
        for kind in type(part).__mro__:
            search.meet(f"{kind.__module__}.{kind.__qualname__}")
    return list(search.found)


class Search:
    """A walk through an answer's code.

    Args:
        given, refused: see ``foreign_to``.
    """

    def __init__(self, given, refused):
        self.given, self.refused = tuple(given), tuple(refused)
        self.seen, self.found = {}, {}

    def meet(self, name):
        """Note a dotted name; tell whether it is of a refused package, given or not."""
        if not _within(name, self.refused):
            return False
        if not _within(name, self.given):
            self.found[name.partition(".__")[0]] = None
        return True

    def look(self, value):
        """Look at an object that the answer reaches, once."""
        if id(value) in self.seen:
            return
        self.seen[id(value)] = value
        kind = type(value)
        if kind is functools.partial:
            for part in (value.func, *value.args, *value.keywords.values()):
                self.look(part)
        elif kind in (staticmethod, classmethod, types.MethodType):
            self.look(value.__func__)
        elif kind is property:
            self.look(value.fget)
        elif kind is functools._lru_cache_wrapper:
            self.look(value.__wrapped__)
        elif kind in (list, tuple, dict):
            for part in value.values() if kind is dict else value:
                self.look(part)
        elif issubclass(kind, nn.Module):
            for part in value.modules():
                self._class(type(part))
        elif kind is types.FunctionType:
            self._function(value)
        elif issubclass(kind, type):
            self._class(value)
        else:
            self._class(kind)  # an instance

    def _function(self, function):
        if self.meet(f"{function.__module__}.{function.__qualname__}") or _is_library(function.__module__):
            return
        scope = function.__globals__
        self._code(function.__code__, scope)
        for part in (*_contents(function.__closure__), *(function.__defaults__ or ()),
                     *(function.__kwdefaults__ or {}).values(), vars(function).get("__wrapped__")):
            self.look(part)

    def _class(self, kind):
        for base in kind.__mro__:
            if self.meet(f"{base.__module__}.{base.__qualname__}"):
                return
            if not _is_library(base.__module__):
                for member in list(vars(base).values()):
                    self.look(member)

    def _code(self, code, scope):
        steps = list(dis.get_instructions(code))
        read = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        attributes = [step.argval for step in steps if step.opname in ("LOAD_ATTR", "LOAD_METHOD")]
        for name in read:
            value = scope.get(name)
            if type(value) is types.ModuleType:
                self._module(value, attributes)
            else:
                self.look(value)
        self._imports(steps)
        for constant in code.co_consts:
            if type(constant) is types.CodeType:
                self._code(constant, scope)
            elif type(constant) is str and read.union(attributes) & set(CALLS):
                self.meet(constant)

    def _imports(self, steps):
        """Look at the imports inside a body."""
        module = ""
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if step.opname == "IMPORT_NAME":
                module = step.argval
                if following.opname != "IMPORT_FROM":
                    self.meet(module)
            elif step.opname == "IMPORT_FROM":
                self.meet(f"{module}.{step.argval}")

    def _module(self, module, attributes):
        """Look at what a body reads from a module that it knows by name."""
        if not _within(module.__name__, self.refused) or id(module) in self.seen:
            return
        self.seen[id(module)] = module
        for value in (vars(module).get(name) for name in attributes):
            if type(value) is types.ModuleType:
                self._module(value, attributes)
            else:
                self.look(value)


def _within(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _contents(cells):
    """Return what the cells of a closure hold; one may be empty still."""
    for cell in cells or ():
        with contextlib.suppress(ValueError):
            yield cell.cell_contents


@functools.cache
def _is_library(name):
    """Tell whether a module was installed or belongs to Python: not the learner's, and no need to be looked into."""
    top = str(name).partition(".")[0]
    if top != "__main__" and (top in sys.stdlib_module_names or top in ("torch", "numpy", "torchvision")):
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def refusal(name, lesson):
    """Say that a part is not the learner's own, and what to do.

    Args:
        name: what was found, a dotted name.
        lesson: the stem of the lesson that shows how.
    """
    number, _, title = lesson.partition("_")
    return (f"your answer holds {name}. It is a good one, but here you write it yourself: use Python, torch.nn and "
            f"functions and classes of your own. Lesson {number} ({title.replace('_', ' ')}) shows how.")
