"""The pages: a student's feedback and the class report, from templates that escape every text."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from densenet_course.figures.style import COLOURS
from densenet_course.grading import notebook
from densenet_course.grading.reports import summary
from densenet_course.grading.reports.words import file_name, findings_as_text, visible

MAX_OUTPUT = 4_000  # letters of what a notebook printed


@cache
def _environment():
    pages = Environment(loader=PackageLoader("densenet_course.grading.reports"), autoescape=True, trim_blocks=True,
                        lstrip_blocks=True, undefined=StrictUndefined,
                        finalize=lambda value: visible(value) if type(value) is str else value)
    pages.filters |= {"points": lambda value: f"{round(value, 2):g}", "file_name": file_name}
    pages.globals["colours"] = COLOURS
    return pages


def feedback(room, student, works):
    """Write a student's page as HTML text.

    Args:
        room: a ``Classroom``.
        student: one of its students.
        works: exercise's id → ``notebook.Work`` where the file could be read.
    """
    return _environment().get_template("feedback.html").render(
        room=room, student=student, errors={name: errors(student.entries[name].verdict, work)
                                            for name, work in works.items()}, max_output=MAX_OUTPUT)


def errors(verdict, work):
    """Map the place of each cell that raised to what it raised."""
    found = {}
    for number, message in verdict.errors if verdict else ():
        place = work.places[number] if number < len(work.places) else None
        if place is not None:
            found[place] = message
    return found


def annotated(cells, released, entry, work):
    """Return a student's notebook as bytes, the findings behind the answer."""
    verdict, by_hand = entry.verdict, entry.adjusted
    shown = {place: visible(message) for place, message in errors(verdict, work).items()}
    text = findings_as_text(verdict) if verdict else "not graded yet"
    if by_hand:
        text = f"{by_hand.points:g} points, set by your instructor: {visible(by_hand.reason, keep='')}\n\n{text}"
    return notebook.annotated(cells, released, text, shown)


def class_report(room, ledger, released):
    """Write the class report as HTML text; ``released`` maps an exercise's id to the cells that were handed out."""
    bins, open_totals = summary.histogram(room)
    found, more = summary.mistakes(room)
    return _environment().get_template("class.html").render(
        room=room, spreads=summary.spreads(room), bins=bins, open_totals=open_totals, mistakes=found, more=more,
        concerns=summary.concerns(room), alike=summary.alike(room, ledger, released),
        claims=summary.claims(room), torch=ledger.torch_versions(room.settings["checks"]),
        strays=[(file, why) for file, why, student in room.strays if not student])
