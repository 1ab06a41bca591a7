"""The grades as other platforms take them: Gradescope, Canvas, Moodle, nbgrader's own gradebook."""

import html
import json
import zipfile

from densenet_course.files import replacing
from densenet_course.grading.people import CANVAS, MOODLE, same
from densenet_course.grading.reports.nbgrader_book import nbgrader
from densenet_course.grading.reports.words import file_name, table, visible


def gradescope(room, ledger, folder):
    """Write ``gradescope/STUDENT/results.json``, as Gradescope's autograder has it; students without a total wait."""
    graded = [student for student in room.students if student.points is not None]
    for student in graded:
        tests = [test for exercise in room.exercises for test in _tests(exercise, student.entries[exercise.id])]
        _put(folder / "gradescope" / file_name(student.person.id) / "results.json", json.dumps(
            {"score": student.points, "output": _isolation(room), "output_format": "text", "tests": tests}, indent=2)
            + "\n")
    return [f"{len(graded)} files: {folder / 'gradescope'}", *_waiting(room, graded)]


def _tests(exercise, entry):
    """Yield a test of Gradescope's for each finding, or one for the exercise where nothing was looked at."""
    findings = entry.verdict.findings if entry.verdict and not entry.adjusted else ()
    for one in findings:
        yield _test(f"{exercise.id}: {one.name}", one.points, one.max_points, visible(one.message))
    if not findings:
        said = f"set by the instructor: {entry.adjusted.reason}" if entry.adjusted else entry.status
        yield _test(exercise.id, entry.points, exercise.max_points, visible(said))


def _test(name, score, max_score, output):
    return {"name": visible(name), "name_format": "text", "score": score, "max_score": max_score,
            "status": "passed" if score == max_score else "failed", "output": output, "output_format": "text"}


def canvas(room, ledger, folder):
    """Write ``canvas.csv`` for Canvas's "Import Grades", and ``canvas_feedback.zip``; the list must be Canvas's export.

    In the archive the annotated notebooks have the names of the download, by which Canvas knows whose they are.

    Raises:
        ValueError: there is no class list with Canvas's columns.
    """
    columns = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    rows = [(student, student.person.row) for student in room.students if student.person.row]
    if not rows or not {"Student", "ID", "Section"} <= set(rows[0][1]):
        raise ValueError("--export canvas: expected --roster FILE with Canvas's own gradebook (Grades → Export), which "
                         "has the columns Student, ID and Section")
    columns = [name for name in columns if name in rows[0][1]]
    titles = [exercise.title for exercise in room.exercises]
    lines = [[*columns, *titles],
             ["    Points Possible", *[""] * (len(columns) - 1), *(one.max_points for one in room.exercises)]]
    for student, row in rows:
        lines.append([*(row[name] for name in columns), *_points(student)])
    _put(folder / "canvas.csv", table(lines))
    files = {entry.work.file.rpartition("/")[2]: page for _, entry, page in _pages(room, folder)
             if CANVAS.fullmatch(entry.work.file.rpartition("/")[2])}
    return [f"{len(rows)} students: {folder / 'canvas.csv'}", *_zip(folder / "canvas_feedback.zip", files),
            *_unlisted(room)]


def moodle(room, ledger, folder):
    """Write ``moodle.csv``, an offline grading worksheet, and ``moodle_feedback.zip``, in the folders of the download.

    The worksheet has the total, and the points by exercise as its comment.
    """
    lines = [["Identifier", "Full name", "Email address", "Grade", "Maximum Grade", "Feedback comments"]]
    for student in room.students:
        row = {same(name): value for name, value in student.person.row.items()}
        parts = [f"{name}: {entry.status if entry.points is None else format(entry.points, 'g')}"
                 for name, entry in student.entries.items()]
        comment = html.escape("; ".join([*parts, *filter(None, [_isolation(room)])]))  # Moodle takes it for HTML
        number = student.person.id if not row else row.get("identifier", "")
        lines.append([f"Participant {number}" if number.isdigit() else number,
                      row.get("full name", student.person.name), row.get("email address", ""),
                      "" if student.points is None else student.points, room.max_points, comment])
    _put(folder / "moodle.csv", table(lines))
    files = {}
    for name, entry, page in _pages(room, folder):
        if place := _moodle_folder(entry.work.file):
            files |= {f"{place}{name}.ipynb": page, f"{place}index.html": page.with_name("index.html")}
    return [f"{len(room.students)} students: {folder / 'moodle.csv'}", *_zip(folder / "moodle_feedback.zip", files)]


def _moodle_folder(file):
    """Return what stands before a student's files in Moodle's download: a folder, or the beginning of a name."""
    parts = file.split("/")
    found = next((match for match in map(MOODLE.fullmatch, parts) if match), None)
    if not found:
        return ""
    return f"{found[0]}/" if found[0] != parts[-1] else found[0].removesuffix(found["file"])


def _pages(room, folder):
    """Yield (exercise's id, entry, path of the annotated notebook) of all that could be read."""
    for student in room.students:
        for name, entry in student.entries.items():
            if entry.work and entry.work.sha:
                page = folder.parent / "feedback" / file_name(student.person.id) / f"{name}.ipynb"
                yield name, entry, page


def _zip(path, files):
    """Write files under their names into an archive, the same bytes for the same files; none where there are none."""
    if not files:
        path.unlink(missing_ok=True)
        return []
    with replacing(path) as draft, zipfile.ZipFile(draft, "w") as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return [f"{len(files)} files of feedback: {path}"]


def _points(student):
    return ["" if entry.points is None else entry.points for entry in student.entries.values()]


def _isolation(room):
    return "" if room.isolated else "NOT ISOLATED: the students' code ran as ordinary processes of one account."


def _waiting(room, graded):
    names = [student.name for student in room.students if student not in graded]
    return [f"left out, because something is not graded yet: {visible(', '.join(names), '')}"] if names else []


def _unlisted(room):
    names = [student.name for student in room.students if not student.person.row]
    return [f"left out, because the class list does not have them: {visible(', '.join(names), '')}"] if names else []


def _put(path, text):
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


EXPORTS = {"gradescope": gradescope, "canvas": canvas, "moodle": moodle, "nbgrader": nbgrader}
