"""The notebooks of the exercises: made from their masters, and handed out to a class."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from densenet_course.checks import EXERCISES, load
from densenet_course.checks.engine.report import number
from densenet_course.files import replacing

ROOT = Path(__file__).resolve().parents[2]
MASTERS = ROOT / "notebooks" / "source" / "exercises"
STUDENT = ROOT / "notebooks" / "exercises"
SOLUTIONS = ROOT / "notebooks" / "solutions"
STUB = "...  # your code here"
ADDRESS = "https://github.com/densenet-course/densenet-course"
REQUIREMENT = f"densenet-course @ git+{ADDRESS}"


def stem(exercise):
    """Return the name of an exercise's notebook without its ending: 03_dense_block."""
    return f"{EXERCISES.index(exercise) + 1:02}_{exercise}"


def read_master(path):
    """Read a master, a py:percent text, as a notebook with steady cell ids.

    Args:
        path: the text.

    Returns:
        An ``nbformat`` notebook without outputs.
    """
    import jupytext

    book = jupytext.read(path, fmt="py:percent")
    book.metadata.clear()
    book.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    for count, cell in enumerate(book.cells):
        cell["id"] = f"{path.stem}-{count}".replace("_", "-")
        cell.metadata.pop("lines_to_next_cell", None)
    return book


def write_masters(folder, exercises=EXERCISES, *, prefix=""):
    """Write masters as notebooks: the source folder of an nbgrader assignment.

    Args:
        folder: where to; made if it is not there.
        exercises: ids.
        prefix: of the file names.
    """
    import nbformat

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for exercise in exercises:
        book = read_master(MASTERS / f"{stem(exercise)}.py")
        nbformat.write(book, folder / f"{prefix}{stem(exercise)}.ipynb")


def nbgrader_config(course):
    """Return nbgrader's settings for a course in a folder."""
    from traitlets.config import Config

    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.assignment_id = "densenet"
    config.ClearSolutions.code_stub = {"python": STUB}
    return config


def generate(folder, exercises=EXERCISES):
    """Make the student notebooks from the masters with nbgrader's own tools.

    Args:
        folder: where to; each notebook is replaced when it is complete.
        exercises: ids.

    Source: nbgrader, ``generate_assignment``.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.preprocessors import SaveCells

    steps = GenerateAssignment.preprocessors.default()
    with tempfile.TemporaryDirectory() as course:
        write_masters(Path(course) / "source" / "densenet", exercises)
        config = nbgrader_config(course)
        config.GenerateAssignment.no_database = True
        config.GenerateAssignment.preprocessors = [step for step in steps if step is not SaveCells]  # no gradebook here
        GenerateAssignment(coursedir=CourseDirectory(config=config), config=config).start()
        put(sorted((Path(course) / "release" / "densenet").glob("*.ipynb")), folder)


def put(files, folder):
    """Copy files into a folder, each by way of a temporary file beside its place."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file in files:
        with replacing(Path(folder) / file.name) as draft:
            shutil.copyfile(file, draft)


def release(folder, exercises=EXERCISES):
    """Write a folder to hand out: student notebooks, what to install, and a page for students.

    Args:
        folder: a new or empty folder.
        exercises: ids.

    Raises:
        ValueError: an id is unknown.
        FileExistsError: the folder holds something already.
        FileNotFoundError: this is no clone of the course, so there are no notebooks.
    """
    folder = Path(folder)
    for exercise in exercises:
        if exercise not in EXERCISES:
            raise ValueError(f"exercise: expected some of {', '.join(EXERCISES)}; got {exercise!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: expected a new or empty folder; choose another one, or empty it first")
    missing = [exercise for exercise in exercises if not (STUDENT / f"{stem(exercise)}.ipynb").exists()]
    if missing:
        raise FileNotFoundError(f"no notebooks in {STUDENT}; run this command in a clone of {ADDRESS}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as private:  # of this user only, unlike the folder inside
        draft = Path(private) / "release"
        _write_release(draft, sorted(set(exercises), key=EXERCISES.index))
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)


def _write_release(folder, exercises):
    folder.mkdir()
    for exercise in exercises:
        text = (STUDENT / f"{stem(exercise)}.ipynb").read_text(encoding="utf-8")
        text = text.replace("](../", f"]({ADDRESS}/blob/main/notebooks/")  # the lessons are not in this folder
        (folder / f"{stem(exercise)}.ipynb").write_text(text, encoding="utf-8")
    (folder / "requirements.txt").write_text(f"{REQUIREMENT}\njupyterlab\n", encoding="utf-8")
    (folder / "README.md").write_text(_page(exercises), encoding="utf-8")


def _page(exercises):
    rows = [f"| [{load(name).title}]({stem(name)}.ipynb) | {_minutes(name)} | {number(load(name).max_points)} |"
            for name in exercises]
    total = number(sum(load(name).max_points for name in exercises))
    return f"""# DenseNet exercises

Each notebook states a task, you write the answer, and `check` says what is right and what is not.

```sh
python -m pip install -r requirements.txt
jupyter lab
```

| exercise | difficulty and time | points |
|---|---|---|
{chr(10).join(rows)}
| all | | {total} |

- Run the cells from top to bottom. An answer you have not written yet prints "not attempted yet".
- Write only in the cells that say `{STUB}`. The cells with `check` and `finish` are locked: leave them as they are.
- A cell that loops for ever is stopped after some seconds. What your code prints is hidden while it is checked.
- `check()` alone shows your progress; it is kept in `progress.json` beside the notebooks.
- Hand in the notebooks, not the progress file. Before you do: Kernel → Restart Kernel and Run All Cells.

The lessons that prepare the exercises: {ADDRESS}
"""


def _minutes(exercise):
    """Read difficulty and minutes from the notebook's second line, for instance "easy, 10 minutes"."""
    text = (STUDENT / f"{stem(exercise)}.ipynb").read_text(encoding="utf-8")
    found = re.search(r"\*(\w+) · (\d+) minutes", text)
    return f"{found[1].lower()}, {found[2]} minutes"


def main(stems):
    """Make student notebooks, and drafts of the solutions for ``make notebooks`` to execute."""
    chosen = [name.partition("_")[2] for name in stems] or EXERCISES
    generate(STUDENT, chosen)
    write_masters(SOLUTIONS, chosen, prefix=".draft-")


if __name__ == "__main__":
    main(sys.argv[1:])
