"""Exercises for a class: a folder to hand out, or an assignment of an nbgrader course."""

import contextlib
import importlib.metadata
import re
import tempfile
from pathlib import Path

from densenet_course.checks import EXERCISES, load
from densenet_course.checks.engine.report import number
from densenet_course.cli.masters import STUB, STUDENT, stem, write_masters
from densenet_course.files import replacing

ABOUT = importlib.metadata.metadata("densenet-course")
ADDRESS = dict(line.split(", ") for line in ABOUT.get_all("Project-URL"))["Homepage"]  # of pyproject.toml
TAG = f"v{ABOUT['Version']}"
REQUIREMENT = f"densenet-course @ git+{ADDRESS}@{TAG}"
CONFIG = f"""\
# nbgrader's settings for these exercises; `densenet-course release --nbgrader` wrote the file and leaves it alone.
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "densenet"
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
c.Execute.timeout = 900  # seconds a cell; the capstone's check trains a network
c.CourseDirectory.ignore.append("progress.json")  # a learner's own, no part of the submission
# zip_collect finds the student in .../NAME/03_dense_block.ipynb, in Moodle's NAME_12_assignsubmission_file_/ and in
# Canvas's NAME_12_34_03_dense_block.ipynb.
c.FileNameCollectorPlugin.named_regexp = (
    r".*[/\\\\](?P<student_id>[^/\\\\]+?)(?:(?:_\\d+_assignsubmission_file_?)?[/\\\\]|(?:_LATE)?_\\d+_\\d+_)"
    r"(?P<file_id>\\d\\d_[a-z0-9_]+)[^/\\\\]*\\.ipynb$"
)
"""


def release(folder, exercises=EXERCISES):
    """Write a folder to hand out: student notebooks, what to install, and a page for students.

    Args:
        folder: a new or empty folder.
        exercises: ids.

    Raises:
        ValueError: an id is unknown.
        FileExistsError: the folder holds something already.
        FileNotFoundError: the notebooks of the exercises are not there.
    """
    folder, exercises = Path(folder), _ordered(exercises)
    missing = [exercise for exercise in exercises if not (STUDENT / f"{stem(exercise)}.ipynb").exists()]
    if missing:
        raise FileNotFoundError(f"no {stem(missing[0])}.ipynb in {STUDENT}; make notebooks "
                                f"ONLY=exercises/{stem(missing[0])} makes it in a clone")
    with _new(folder) as draft:
        draft.mkdir()
        for exercise in exercises:
            text = (STUDENT / f"{stem(exercise)}.ipynb").read_text(encoding="utf-8")
            (draft / f"{stem(exercise)}.ipynb").write_text(elsewhere(text), encoding="utf-8")
        _write_pages(draft, exercises)


def release_nbgrader(course, exercises=EXERCISES, *, assignment="densenet"):
    """Write an assignment of an nbgrader course: masters and pages, and settings where there are none.

    Args:
        course: the course's folder; made if it is not there.
        exercises: ids.
        assignment: its name, a new one for each sheet.

    Returns:
        The folder of the assignment's masters.

    Raises:
        ValueError: an id is unknown, or a name that nbgrader refuses.
        FileExistsError: there is an assignment of that name.
        ModuleNotFoundError: jupytext is not installed.
    """
    course, exercises = Path(course), _ordered(exercises)
    if not re.fullmatch(r"[A-Za-z0-9][\w .-]*", assignment):
        raise ValueError(f"assignment: expected letters, digits, _, . and - for a folder's name; got {assignment!r}")
    source = course / "source" / assignment
    with _new(source) as draft:
        write_masters(draft, exercises, links=elsewhere)
        _write_pages(draft, exercises)
    if not (course / "nbgrader_config.py").exists():
        with replacing(course / "nbgrader_config.py") as draft:
            draft.write_text(CONFIG, encoding="utf-8")
    return source


def elsewhere(text):
    """Return a notebook's text with its links to lessons turned into addresses: the lessons are not beside it."""
    return text.replace("](../", f"]({ADDRESS}/blob/{TAG}/notebooks/")


def _ordered(exercises):
    for exercise in exercises:
        if exercise not in EXERCISES:
            raise ValueError(f"exercise: expected some of {', '.join(EXERCISES)}; got {exercise!r}")
    return sorted(set(exercises), key=EXERCISES.index)


@contextlib.contextmanager
def _new(folder):
    """Give a draft of a folder that must be new or empty, and put it in its place when all is written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: expected a new or empty folder; choose another one, or empty it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as private:  # of this user only, unlike the folder inside
        yield Path(private) / "release"
        if folder.exists():
            folder.rmdir()
        (Path(private) / "release").rename(folder)


def _write_pages(folder, exercises):
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
