"""What a cell holds of this package: the names that its notebook imports, the probes, and what these two need.

The rest, above all every solution and every expected value, is not there. The files are cut out of the sources
definition by definition: a function stays when a probe or the notebook names it, or when something that stays does.
"""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

COURSE = "densenet_course"
EXERCISES = f"{COURSE}.checks.exercises"
NOTEBOOK = {  # what each exercise's notebook imports, beside the stubs below
    "dense_block": ["layers.conv_block"],
    "densenet": ["layers.BottleneckLayer", "layers.DenseBlock", "layers.transition"],
    "memory": ["layers.BottleneckLayer"],
    "bug_hunt": ["layers.BottleneckLayer", "layers.DenseBlock", "layers.conv_block", "layers.transition",
                 "measure.saved_bytes"],
    "capstone": ["config.DenseNetConfig", "models.DenseNet"],
    "one_shot": ["layers.conv_block"],
}
STUBS = {  # the checks are here, not there
    "checks/__init__.py": '''"""The checks: while grading they do nothing."""


class Later(float):
    """A report that is not there yet."""

    points, max_points, passed, findings = 0.0, 0.0, False, ()

    def __getattr__(self, name):
        return None


def check(exercise=None, *answers, **options):
    """Judge later, elsewhere."""
    print(f"{exercise or 'progress'}: graded later")
    return Later()


def finish(exercise=None, *answers):
    """Judge later, elsewhere."""
    return check(exercise)


compare = run = last = check
''',
    "checks/leaderboard.py": '''"""The leaderboard: while grading it takes no entry."""


def enter(name=None, file=None):
    """Do nothing."""
    print("leaderboard: not while grading")


show = merge = enter
''',
}
ENGINE = ["checks.engine.answer.InProcess", "checks.engine.answer.PROBES", "checks.engine.answer.AnswerError",
          "checks.engine.answer.texts", "checks.engine.answer.Unjudged"]
JUDGES = ("own_work",)  # probes that the judge answers itself, for a cell could only say that all is well


@cache
def common():
    """Cut out what every cell holds, so that the fork server has it already; see ``files``."""
    return _cut((), None)


@cache
def files(exercise):
    """Cut out what a cell may hold beyond what every cell does.

    Args:
        exercise: the id of an exercise.

    Returns:
        ({path below the package: text}, the modules to import so that their probes are known)
    """
    texts, modules = _cut(NOTEBOOK.get(exercise, ()), exercise)
    there, imported = common()
    return ({path: text for path, text in texts.items() if path not in there},
            [name for name in modules if name not in imported])


def _cut(names, exercise):
    """Cut out names, the probes that any exercise may use, and those of one."""
    cut = Cut()
    for name in [*names, *ENGINE]:
        cut.need(f"{COURSE}.{name}")
    modules = []
    for module in _modules_with_probes(exercise):
        found = [name for name in _probes(module) if name not in JUDGES]
        for name in found:
            cut.need(f"{module}.{name}")
        modules += [module] * bool(found)
    return cut.texts() | STUBS, modules


def probes(exercise):
    """List the names of the probes that a cell knows, as "module:function"."""
    return [f"{module}:{name}" for module in _modules_with_probes(exercise) for name in _probes(module)
            if name not in JUDGES]


def _modules_with_probes(exercise):
    """List the modules that may hold probes: the engine's, those of kinds, the exercise's, and what these import."""
    checks = Path(find_spec(f"{COURSE}.checks").origin).parent
    paths = [*sorted((checks / "engine").glob("*.py")), *sorted((checks / "kinds").glob("*.py"))]
    names = (path.relative_to(checks.parent.parent).with_suffix("").as_posix() for path in paths)
    found = [name.replace("/", ".").removesuffix(".__init__") for name in names]
    waiting = [] if exercise is None else [f"{EXERCISES}.{exercise}"]
    while waiting:
        module = waiting.pop()
        if module not in found and module.startswith(EXERCISES) and _is_module(module):
            found.append(module)
            waiting += [name for node in ast.walk(_tree(module)) if isinstance(node, ast.ImportFrom)
                        for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)) if name]
    return found


def _probes(module):
    return [node.name for node in _tree(module).body if isinstance(node, ast.FunctionDef)
            and any(isinstance(mark, ast.Name) and mark.id == "probe" for mark in node.decorator_list)]


@cache
def _source(module):
    path = Path(find_spec(module).origin)
    return path.name == "__init__.py", path.read_text(encoding="utf-8")


@cache
def _tree(module):
    return ast.parse(_source(module)[1])


def _is_module(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is no package
        return False


class Cut:
    """The definitions that are needed, module by module."""

    def __init__(self):
        self.kept = {}  # module → numbers of its statements, or (number, alias) of an import

    def need(self, dotted):
        """Keep a definition, dotted name, and what it needs."""
        module, _, name = dotted.rpartition(".")
        if not module.startswith(COURSE):
            return
        kept = self.kept.setdefault(module, {})
        for number, node in enumerate(_tree(module).body):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name.partition(".")[0]) == name and (number, alias.name) not in kept:
                        kept[number, alias.name] = alias
                        self._import(node, alias)
            elif name in _defined(node) and number not in kept:
                kept[number] = node
                self._uses(module, node)

    def _import(self, node, alias):
        """Follow an import; what is used of a module that is imported whole is followed where it is used."""
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(COURSE):
            dotted = f"{node.module}.{alias.name}"
            if _is_module(dotted):
                self.kept.setdefault(dotted, {})
            else:
                self.need(dotted)

    def _uses(self, module, node):
        """Keep what a definition names: of its own module, and of modules that it knows by name."""
        whole = _imported_modules(module)
        for part in ast.walk(node):
            if isinstance(part, ast.ImportFrom | ast.Import):
                for alias in part.names:
                    self._import(part, alias)
            elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in whole:
                self.need(f"{whole[part.value.id]}.{part.attr}")
            elif isinstance(part, ast.Name):
                self.need(f"{module}.{part.id}")

    def texts(self):
        """Write the files: {path below the package: text}, with an empty file for each folder."""
        written = {}
        for module, kept in self.kept.items():
            is_folder, source = _source(module)
            path = module.replace(".", "/").removeprefix(f"{COURSE}/")
            written[f"{path}/__init__.py" if is_folder else f"{path}.py"] = _text(module, source, kept)
            for folder in list(Path(path).parents)[:-1]:
                written.setdefault(f"{folder.as_posix()}/__init__.py", "")
        return written


def _text(module, source, kept):
    parts = []
    for number, node in enumerate(_tree(module).body):
        if number in kept:
            first = min([node.lineno, *(mark.lineno for mark in getattr(node, "decorator_list", []))])
            parts.append("\n".join(source.splitlines()[first - 1:node.end_lineno]))
        aliases = [alias for key, alias in kept.items() if type(key) is tuple and key[0] == number]
        if aliases:
            only = (ast.ImportFrom(node.module, aliases, node.level) if isinstance(node, ast.ImportFrom)
                    else ast.Import(aliases))
            parts.append(ast.unparse(only))
    return "\n\n".join(parts) + "\n"


def _defined(node):
    """Name what a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]


@cache
def _imported_modules(module):
    """Map the names under which a module knows other modules of this package to these."""
    found = {}
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(COURSE):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
                      if _is_module(f"{node.module}.{alias.name}")}
    return found
