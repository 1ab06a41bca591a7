"""Write everything that the ledger becomes, each file aside and then in its place: the same ledger, the same bytes."""

from pathlib import Path

from densenet_course.files import replacing
from densenet_course.grading import notebook
from densenet_course.grading.ledger import Ledger
from densenet_course.grading.reports import classroom, exports, pages
from densenet_course.grading.reports.gradebook import gradebook
from densenet_course.grading.reports.words import file_name


def write(out, releases, export=""):
    """Write ``gradebook.csv``, ``class.html``, ``feedback/`` and an export from ``out/ledger.sqlite``.

    Args:
        out: the folder of the grades.
        releases: exercise's id → path of the notebook that was handed out.
        export: a name of ``exports.EXPORTS``, or "".

    Returns:
        Lines to print: what was written, and what was left out.

    Raises:
        OSError: a file cannot be written.
        ValueError: the class lacks what the export needs.
    """
    out = Path(out)
    with Ledger(out / "ledger.sqlite") as ledger:
        room = classroom.read(ledger, releases)
        released = {exercise.id: notebook.read(releases[exercise.id].read_bytes()) for exercise in room.exercises}
        _put(out / "gradebook.csv", gradebook(room))
        for student in room.students:
            _feedback(out / "feedback" / file_name(student.person.id), room, student, ledger, released)
        _put(out / "class.html", pages.class_report(room, ledger, released))
        lines = [f"{len(room.students)} students: {out / 'gradebook.csv'}, {out / 'class.html'} and {out / 'feedback'}"]
        if not room.isolated:
            lines.append("NOT ISOLATED: the students' code ran as ordinary processes of this account")
        if export:
            lines += exports.EXPORTS[export](room, ledger, out / "exports")
    return lines


def _feedback(folder, room, student, ledger, released):
    """Write a student's page and annotated notebooks."""
    works = {}
    for name, entry in student.entries.items():
        if entry.work is None or not entry.work.sha:
            continue
        cells = notebook.read(ledger.notebook(entry.work.sha))
        works[name] = notebook.to_run(cells, released[name])
        _put(folder / f"{name}.ipynb", pages.annotated(cells, released[name], entry, works[name]))
    _put(folder / "index.html", pages.feedback(room, student, works))


def _put(path, content):
    with replacing(path) as draft:
        draft.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
