"""From what platforms and people make of a class's files to one notebook a student and exercise."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from densenet_course.grading import notebook
from densenet_course.grading.archives import TABLES, files
from densenet_course.grading.people import Roster, sender
from densenet_course.grading.platforms import gradescope, lateness, nbgrader_time


@dataclass(frozen=True)
class HandedIn:
    """The file that counts for an exercise of a student.

    Args:
        student: the student's id.
        exercise: the exercise's id.
        sha: SHA-256 of the file, or "" where it could not be read.
        problem: why it cannot be graded, or "".
        file: its path.
        received: when, as ISO text, or "" where nobody says.
        late: how late, in words, or "".
        notes: plain sentences for student and instructor.
        turn: a platform's number, which grows with each file.
    """

    student: str
    exercise: str
    sha: str = ""
    problem: str = ""
    file: str = ""
    received: str = ""
    late: str = ""
    notes: tuple[str, ...] = ()
    turn: int = field(default=0, compare=False)


@dataclass
class ClassFiles:
    """What a class handed in.

    Args:
        people: student's id → ``Person``, those of the roster included.
        listed: ids of the roster's students.
        works: (student, exercise) → ``HandedIn``.
        strays: (path, why it was not used, id of the student or "").
    """

    people: dict = field(default_factory=dict)
    listed: set = field(default_factory=set)
    works: dict = field(default_factory=dict)
    strays: list = field(default_factory=list)


def collect(source, exercises, keep, *, chosen=(), roster=(), due=None):
    """Look through a folder or zip file of submissions.

    Args:
        source: its path: a tree of nbgrader, a download of Canvas, Moodle or Gradescope, or a folder, a zip file or a
            notebook with the student's name for each.
        exercises: id → stem of the notebook that was handed out.
        keep: called with a notebook's SHA-256 and bytes.
        chosen: ids of the exercises to look for; by default all.
        roster: a list of ``Person``; everybody on it is in the class.
        due: a datetime with a time zone, or None.

    Returns:
        A ``ClassFiles``.

    Raises:
        OSError, ValueError: the source cannot be read.
    """
    found = ClassFiles({person.id: person for person in roster}, {person.id for person in roster})
    known, stems = Roster(list(roster)), [*exercises.values(), *sorted(exercises, key=len, reverse=True)]
    shared, tables, times = _survey(source)
    for file in files(source):
        if file.parts[-1] in TABLES and file.data is not None:
            continue
        senders = list(_senders(file.parts[shared:], stems, tables, times.get(file.parts[:-1])))
        if not senders:
            found.strays.append(("/".join(file.parts), file.problem or "names no student: put it into a folder with "
                                 "the student's name", ""))
        for who, when in senders:
            person = known.find(who.person)
            found.people.setdefault(person.id, person)
            work = _work(file, who, person.id, exercises, keep, when, due)
            if work is None or not work.exercise:
                why = file.problem or "is none of the course's exercises: neither its cells nor its name say which"
                found.strays.append(("/".join(file.parts), why, person.id))
            elif not chosen or work.exercise in chosen:
                _add(found.works, work)
    return found


def _survey(source):
    """Go over all names once: how many folders hold the class as a whole, and what the platforms' tables say."""
    paths, tables, times = [], {}, {}
    for file in files(source):
        paths.append(file.parts)
        if file.data is not None and file.parts[-1] == TABLES[0]:
            tables |= gradescope(file.data)
        elif file.data is not None and file.parts[-1] == TABLES[1]:
            times[file.parts[:-1]] = nbgrader_time(file.data)
    if {"submitted", "source"} <= {path[0] for path in paths}:
        raise ValueError(f"{source}: this is a whole course of nbgrader; give its folder of submissions, "
                         f"{Path(source) / 'submitted'}")
    return _shared(paths), tables, times


def _shared(paths):
    """Count the folders around the class: "submitted", or a lone one in which several students' folders lie."""
    depth = 0
    while paths and len({path[:depth + 1] for path in paths}) == 1 and all(len(path) > depth + 1 for path in paths):
        below = {path[depth + 1] for path in paths if len(path) > depth + 2}
        if paths[0][depth] != "submitted" and len(below) < 2:
            break
        depth += 1
    return depth


def _senders(parts, stems, tables, received):
    """Yield (``Sender``, time or None) of a file: none, one, or several where a group handed it in."""
    who = sender(parts, stems)
    if who is None:
        return
    people, when = tables.get(who.folder, ([], None))
    for person in people:
        yield replace(who, person=person), when
    if not people:
        yield who, received


def _work(file, who, student, exercises, keep, when, due):
    """Return the ``HandedIn`` of a file, its exercise "" where nothing says which; None where it is no notebook."""
    by_name = next((name for name, stem in exercises.items() if stem in file.parts[-1]), "") or next(
        (name for name in sorted(exercises, key=len, reverse=True) if name in file.parts[-1]), "")
    late = lateness(when, due) or ("marked late by the platform" if who.late else "")
    work = HandedIn(student, by_name, problem=file.problem, file="/".join(file.parts), late=late,
                    received=when.isoformat() if when else "", turn=who.turn)
    if file.data is None:
        return work if file.parts[-1].endswith(".ipynb") else None
    try:
        cells = notebook.read(file.data)
    except notebook.UnreadableNotebook as error:
        return replace(work, problem=str(error))
    by_cells = notebook.exercise_of(cells, exercises)
    renamed = by_cells and by_cells != by_name
    notes = (f"the file is called {who.file}; its cells say that it is {by_cells}",) if renamed else ()
    if not (by_cells or by_name):
        return work
    sha = hashlib.sha256(file.data).hexdigest()
    keep(sha, file.data)
    return replace(work, exercise=by_cells or by_name, sha=sha, notes=notes)


def _add(works, work):
    """Let the newest of several files for one exercise count, by the platform's time, then by name."""
    key = work.student, work.exercise
    if key not in works:
        works[key] = work
        return
    old, new = sorted((works[key], work), key=_age)
    if old.sha == new.sha and not old.problem:
        works[key] = new
        return
    note = f"{old.file} was handed in for this exercise, too; it was not graded, because {new.file} is newer or its " \
           "name comes later"
    works[key] = replace(new, notes=(*new.notes, *(note for note in old.notes if "handed in for" in note), note))


def _age(work):
    """Order files by what can be read, when it came, and what it is called."""
    when = datetime.fromisoformat(work.received).timestamp() if work.received else float("-inf")
    return not work.problem, when, work.turn, work.file
