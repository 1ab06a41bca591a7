"""Who handed a file in: read from the names that platforms give, and looked up in the roster."""

import csv
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

CANVAS = re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<turn>\d+)_(?P<file>.+)", re.DOTALL)
MOODLE = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_file_?(?P<file>.*)", re.DOTALL)
GRADESCOPE = re.compile(r"submission_\d+")
# What a roster calls its columns, best first; compared without case, spaces and underscores.
IDS = ("studentid", "id", "sid", "username", "sisuserid", "sisloginid", "login", "identifier", "idnumber",
       "emailaddress", "email", "student", "fullname", "name")
NAMES = ("name", "fullname", "student")
PARTS_OF_NAME = (("firstname", "lastname"), ("firstname", "surname"))


@dataclass(frozen=True)
class Person:
    """A student as a path or a roster tells.

    Args:
        id: what tells students apart.
        name: for people, or "".
        keys: under what else a roster may know the student.
        row: the roster's row by its own column names, empty where the student is in none.
    """

    id: str
    name: str = ""
    keys: tuple[str, ...] = ()
    row: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Sender:
    """Who handed in a file, and what its path says besides.

    Args:
        person: who.
        late: whether the platform marked it as late.
        turn: a platform's number, which grows with each file.
        file: the file's own name.
        folder: the submission's, in which a platform's own tables name it; "" where there is none.
    """

    person: Person
    late: bool = False
    turn: int = 0
    file: str = ""
    folder: str = ""


def same(text):
    """Return a name for comparing: composed letters, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFC", str(text)).casefold().split())


def sender(parts, stems):
    """Read from a path who handed a file in, as Canvas, Moodle, Gradescope, nbgrader and people name files.

    Args:
        parts: folders and name; what all paths share is left out.
        stems: what exercises are called in file names.

    Returns:
        A ``Sender``, or None where no student is named.
    """
    for part in parts:
        found = CANVAS.fullmatch(part)
        if found and not f"{found['turn']}_{found['file']}".startswith(tuple(stems)):  # jane_2026_01_connections.ipynb
            person = Person(found["id"], found["name"], (found["id"], found["name"]))
            return Sender(person, bool(found["late"]), int(found["turn"]), parts[-1])
        if found := MOODLE.fullmatch(part):
            keys = (f"Participant {found['id']}", found["name"], found["id"])
            return Sender(Person(found["id"], found["name"], keys), turn=0, file=found["file"] or parts[-1])
        if GRADESCOPE.fullmatch(part):
            return Sender(Person(part, "", (part,)), file=parts[-1], folder=part)
    return Sender(_named(parts[0]), file=parts[-1]) if len(parts) > 1 else _by_file_name(parts[0], stems)


def _by_file_name(name, stems):
    """Find the student in a lone file's name: what is left of it without the exercise."""
    rest, ending = Path(name).stem, Path(name).suffix
    for stem in stems:
        rest = rest.replace(stem, "")
    rest = rest.strip(" _-.")
    return Sender(_named(rest), file=name) if rest and ending in (".ipynb", ".zip") else None


def _named(name):
    return Person(unicodedata.normalize("NFC", name), "", (name,))


def read_roster(path):
    """Read a class list, a CSV file with a header: a platform's own export or any with a column for who.

    Returns:
        A list of ``Person``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no table, or no column says who, or two rows name the same student.
    """
    try:
        rows = list(csv.DictReader(Path(path).read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a class list as CSV in UTF-8 ({error})") from None
    people = {}
    for number, row in enumerate(rows, 2):
        person = _person({key or "": value or "" for key, value in row.items() if isinstance(value, str | None)})
        if person is None or "points possible" in same(person.name):  # Canvas's second row
            continue
        if same(person.id) in people:
            raise ValueError(f"{path}, row {number}: {person.id!r} is there twice; each student needs an id of its own")
        people[same(person.id)] = person
    if not people:
        raise ValueError(f"{path}: expected a CSV file with a header and a column such as id, username, email or name; "
                         "found no student")
    return list(people.values())


def _person(row):
    """Return the ``Person`` of a roster's row, or None where nobody is named."""
    columns = {re.sub(r"[\s_]", "", column.casefold()): value.strip() for column, value in row.items()}
    ids = [columns[name] for name in IDS if columns.get(name)]
    whole = [" ".join(columns.get(part, "") for part in pair).strip() for pair in PARTS_OF_NAME]
    names = [columns[name] for name in NAMES if columns.get(name)] + [name for name in whole if name]
    if not ids and not names:
        return None
    keys = tuple(dict.fromkeys([*ids, *names, *filter(None, map(_as_canvas_writes, names))]))
    return Person((ids or names)[0], names[0] if names else "", keys, row)


def _as_canvas_writes(name):
    """Return a sortable name as Canvas writes it into files: "Doe, Jane" → "doejane"."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


class Roster:
    """The class list, asked by whatever a path says of a student.

    Args:
        people: a list of ``Person``; empty where there is no list.
    """

    def __init__(self, people):
        self.people = people
        self.known = {}
        for person in people:
            for key in person.keys:
                self.known.setdefault(same(key), {})[person.id] = person

    def find(self, person):
        """Return the student of the list whom a path means, or the person itself where none or several fit."""
        for key in (person.id, *person.keys):
            found = self.known.get(same(key), {})
            if len(found) == 1:
                return next(iter(found.values()))
        return person
