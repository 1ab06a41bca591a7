"""The masters of the exercises, each a py:percent text: read, written for nbgrader, made into student notebooks."""

import shutil
import sys
import tempfile
from pathlib import Path

from densenet_course.checks import EXERCISES
from densenet_course.files import replacing

ROOT = Path(__file__).resolve().parents[2]
PACKED = Path(__file__).resolve().parents[1] / "assets"  # the wheel's copies, see pyproject.toml
IS_CHECKOUT = (ROOT / "notebooks" / "source").is_dir()
MASTERS = ROOT / "notebooks" / "source" / "exercises" if IS_CHECKOUT else PACKED / "masters"
STUDENT = ROOT / "notebooks" / "exercises" if IS_CHECKOUT else PACKED / "exercises"
SOLUTIONS = ROOT / "notebooks" / "solutions"
STUB = "...  # your code here"


def stem(exercise):
    """Return the name of an exercise's notebook without its ending: 03_dense_block."""
    return f"{EXERCISES.index(exercise) + 1:02}_{exercise}"


def read_master(path):
    """Read a master, a py:percent text, as a notebook with steady cell ids.

    Args:
        path: the text.

    Returns:
        An ``nbformat`` notebook without outputs.

    Raises:
        ModuleNotFoundError: jupytext is not installed.
    """
    try:
        import jupytext
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("jupytext reads the masters, nbgrader takes them: "
                                  "python -m pip install jupytext nbgrader") from error
    book = jupytext.read(path, fmt="py:percent")
    book.metadata.clear()
    book.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    for count, cell in enumerate(book.cells):
        cell["id"] = f"{path.stem}-{count}".replace("_", "-")
        cell.metadata.pop("lines_to_next_cell", None)
    return book


def write_masters(folder, exercises=EXERCISES, *, prefix="", links=str):
    """Write masters as notebooks: the source folder of an nbgrader assignment.

    Args:
        folder: where to; made if it is not there.
        exercises: ids.
        prefix: of the file names.
        links: a function that turns a text cell's links into those of another place.
    """
    import nbformat

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for exercise in exercises:
        book = read_master(MASTERS / f"{stem(exercise)}.py")
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = links(cell.source)
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


def main(stems):
    """Make student notebooks, and drafts of the solutions for ``make notebooks`` to execute."""
    chosen = [name.partition("_")[2] for name in stems] or EXERCISES
    generate(STUDENT, chosen)
    write_masters(SOLUTIONS, chosen, prefix=".draft-")


if __name__ == "__main__":
    main(sys.argv[1:])
