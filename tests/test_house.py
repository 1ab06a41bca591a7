"""The rooms of the package: what may import what, what stands at the top, and that nothing runs in a circle."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from densenet_course import results

PACKAGE = Path(__file__).resolve().parents[1] / "densenet_course"
# A room is a module or a folder at the top of the package; beside it the rooms whose modules it may import.
MAY = {
    "layers": "", "config": "", "accounting": "", "measure": "", "pretrained": "", "files": "", "recipe": "",
    "results": "", "lesson": "", "terminal": "",
    "export": "files",
    "fetching": "files",
    "training": "recipe files",
    "data": "fetching",
    "doctor": "fetching training grading",
    "efficient": "layers",
    "models": "layers config efficient pretrained",
    "studies": "layers models accounting",
    "figures": "files layers config models accounting measure training studies",
    "explorer": "data models accounting studies figures",
    "checks": "files terminal layers config models accounting measure training data figures",
    "grading": "files checks layers figures",
    "cli": "recipe files terminal models pretrained export training data doctor figures checks grading",
}


def imports(path):
    """Yield the modules of this package that a file imports, at its top and inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("densenet_course"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("densenet_course"):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room_of(path):
    """Name the room that a file stands in."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def arrows():
    """Collect (from room, to room) over the whole package."""
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path != PACKAGE / "__init__.py":
            targets = {name.split(".")[1] for name in imports(path) if "." in name}
            found |= {(room_of(path), target) for target in targets if target != room_of(path)}
    return found


def test_every_room_is_in_the_table_and_the_table_names_nothing_else():
    rooms = {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    rooms |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(MAY)


def test_rooms_import_what_the_table_allows_and_no_other():
    forbidden = sorted(f"{a} → {b}" for a, b in arrows() if b not in MAY[a].split())
    assert not forbidden, f"not allowed by MAY: {', '.join(forbidden)}"


def test_the_table_allows_nothing_that_is_unused():
    allowed = {(room, target) for room, targets in MAY.items() for target in targets.split()}
    assert sorted(allowed - arrows()) == []


def test_no_room_is_reached_from_itself():
    reached = {room: set(targets.split()) for room, targets in MAY.items()}
    for _ in MAY:
        reached = {room: targets.union(*(reached[target] for target in targets)) for room, targets in reached.items()}
    assert [room for room, targets in reached.items() if room in targets] == []


def modules():
    """Map each module's dotted name to those of the package that it imports, at its top and inside functions."""
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
             for path in PACKAGE.rglob("*.py")}
    return {name: {target if target in files else target.rpartition(".")[0] for target in imports(path)} & files.keys()
            for name, path in files.items()}


def test_no_module_is_reached_from_itself():
    """Inside a room, too, imports run one way: also those that stand inside functions."""
    graph = modules()
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1][::-1]))


def test_no_picture_takes_from_another_picture():
    """What two pictures share stands in ``style``, what they compute in ``studies`` or ``measure``."""
    found = {(path.stem, name.split(".")[2]) for path in (PACKAGE / "figures").glob("[a-z]*.py")
             for name in imports(path) if name.startswith("densenet_course.figures.") and ".style." not in name}
    assert found == set()


def test_nothing_private_is_imported_from_another_module():
    found = [f"{path.relative_to(PACKAGE)}: {name}" for path in sorted(PACKAGE.rglob("*.py")) for name in imports(path)
             if name.rsplit(".", 1)[-1].startswith("_")]
    assert found == []


def test_no_module_hides_behind_an_underscore():
    assert [str(path) for path in PACKAGE.rglob("_*.py") if path.name not in ("__init__.py", "__main__.py")] == []


@pytest.mark.parametrize("folder", sorted(path.parent for path in PACKAGE.rglob("__init__.py")),
                         ids=lambda path: path.relative_to(PACKAGE.parent).as_posix())
def test_no_module_bears_the_name_of_a_function_that_its_face_exports(folder):
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    itself = ".".join(folder.relative_to(PACKAGE.parent).parts)
    exported = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    exported |= {name.asname or name.name for node in tree.body if isinstance(node, ast.ImportFrom)
                 and node.module != itself for name in node.names}
    assert not exported & {path.stem for path in folder.iterdir() if path.suffix in {"", ".py"}}


def test_fetching_starts_without_torch():
    """The set-up looks for the data in a second process; torch would take it seconds."""
    line = "import sys, densenet_course.fetching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line]).returncode == 0


def test_results_are_read_by_name_and_an_unknown_name_is_answered_with_those_there_are():
    assert results.read("relatives")["provenance"]["seeds"]
    with pytest.raises(FileNotFoundError, match=r"expected one of ablation, .*; got 'relatves'"):
        results.read("relatves")
