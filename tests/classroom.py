"""A class made by a script: right, half-right, wrong, broken, hostile and late notebooks, in the folders of nbgrader.

``python -m tests.classroom FOLDER [STUDENTS]`` makes one; ``tests.quick_run`` grades one.
"""

import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat

from densenet_course.cli.masters import MASTERS, STUB, STUDENT, read_master, stem

DUE = "2026-03-01"
EXERCISES = ("connections", "conv_block")
RELEASES = {name: STUDENT / f"{stem(name)}.ipynb" for name in EXERCISES}
BIAS = """\
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), convolution)"""
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
RAISES = f"def count_connections(n):\n    raise ValueError({MARKUP + chr(27) + '[31m=1+1' + chr(0x202e)!r})\n"
CHEAT = "import densenet_course.checks as checks\n\nchecks.finish = lambda *_: 10.0\n"
NAMES = ("=cmd|' !A0", MARKUP.replace("/", "∕")[:120], "\u202egnp.exe", "@SUM(1+1)", "Žofie O'Neil, jr.", "con", "-2+3")
POINTS = {"right": (10, 10), "half": (5, 9), "stub": (0, 0), "syntax": (0, 10), "raises": (4, 10),
          "cheat": (0, 0), "edited": (10, 10), "damaged": (0, 10), "one": (10, 0), "renamed": (10, 10),
          "late": (10, 10)}


@dataclass(frozen=True)
class Pupil:
    """A student: name, and what kind of work they hand in; a key of ``POINTS``."""

    name: str
    kind: str


def pupils(count=40):
    """Return the class; the kinds come in turn, and seven names are hostile or odd."""
    kinds = ("right", "half", "right", "syntax", "late", "raises", "right", "cheat", "edited", "one", "renamed", "stub",
             "damaged", "half", "right")
    names = [*NAMES, *(f"student{number:03}" for number in range(count))][:count]
    return [Pupil(name, kinds[number % len(kinds)]) for number, name in enumerate(names)]


def make(folder, count=40, exercises=EXERCISES):
    """Write a class as ``folder/STUDENT/densenet/NOTEBOOK.ipynb`` with timestamps; return its ``Pupil``s."""
    cache = {}
    for pupil in pupils(count):
        place = Path(folder) / pupil.name / "densenet"
        place.mkdir(parents=True)
        when = "2026-03-02 09:30:00" if pupil.kind == "late" else "2026-02-27 12:00:00"
        (place / "timestamp.txt").write_text(f"{when} UTC")
        for exercise in exercises[:1] if pupil.kind == "one" else exercises:
            if (pupil.kind, exercise) not in cache:
                cache[pupil.kind, exercise] = notebook(exercise, pupil.kind)
            name = "my solution" if pupil.kind == "renamed" else stem(exercise)
            if pupil.kind == "renamed" and exercise != exercises[0]:
                name += " (2)"
            (place / f"{name}.ipynb").write_bytes(cache[pupil.kind, exercise])
    return pupils(count)


def notebook(exercise, kind="right"):
    """Return a student's notebook as bytes."""
    book = nbformat.read(STUDENT / f"{stem(exercise)}.ipynb", as_version=4)
    solved = {cell.metadata.nbgrader.grade_id: cell.source for cell in
              read_master(MASTERS / f"{stem(exercise)}.py").cells if "nbgrader" in cell.metadata}
    first = exercise == EXERCISES[0]
    answers = [cell for cell in book.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    for number, cell in enumerate(answers):
        cell.source = solved[cell.metadata.nbgrader.grade_id]
        if kind in ("stub", "cheat") or (kind == "half" and first and number):
            cell.source = _stub(exercise, cell.metadata.nbgrader.grade_id)
        elif kind == "half" and not first:
            cell.source = _stub(exercise, cell.metadata.nbgrader.grade_id).replace(f"    {STUB}", BIAS)
        elif kind == "syntax" and first:
            cell.source = "def count_connections(n:\n    return 1\n"
        elif kind == "raises" and first and "count_connections" in cell.source:
            cell.source = RAISES
    if kind == "cheat":
        answers[0].source += "\n" + CHEAT
    if kind == "edited":
        book.cells[-1].source = "10.0"
        book.cells = [cell for cell in book.cells if cell.metadata.get("nbgrader", {}).get("grade_id", "") !=
                      f"{exercise}-check"]
    text = nbformat.writes(book)
    return (text[:len(text) // 2] if kind == "damaged" and first else text).encode()


def _stub(exercise, grade_id):
    book = nbformat.read(STUDENT / f"{stem(exercise)}.ipynb", as_version=4)
    return next(cell.source for cell in book.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def pack(target, entries):
    """Write a zip file from name → bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return target


if __name__ == "__main__":
    make(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40)
