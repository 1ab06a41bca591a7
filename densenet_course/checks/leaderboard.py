"""A class's leaderboard of the capstone: a small file, entered from the last check, merged and shown as a table.

It is for the fun of it: the file lies with the learners. Grades come from the check alone.
"""

import json
import math
import unicodedata
from pathlib import Path

from densenet_course import checks
from densenet_course.checks.exercises import capstone
from densenet_course.files import write_json

FILE = Path("leaderboard.json")
MAX_NAME = 40
FIELDS = {"accuracy": float, "parameters": int, "reference_steps": float, "images_seen": int, "held_back": int,
          "sample": bool}


def enter(name, file=FILE):
    """Enter what the judge measured in the last check of the capstone, and say which place that is.

    The same name keeps its best result. Nothing here raises, so that a notebook runs to its end.

    Args:
        name: who enters; ``...`` shows the result and enters nothing.
        file: the leaderboard.
    """
    report = checks.last("capstone")
    result = report.measured if report else {}
    if not result:
        print("Nothing to enter yet: run the check above; it trains your network when it fits the budget.")
        return
    print(_sentence(result))
    if name is ...:
        print("Not entered: write your name instead of ... and run this cell again.")
        return
    try:
        print(_put(valid_name(name), result, Path(file)))
    except (ValueError, OSError) as error:
        print(f"Not entered: {error}")


def _sentence(result):
    data = "the sample's" if result["sample"] else "the"
    return (f"Accuracy {result['accuracy']:.1%} on {result['held_back']:,} of {data} test images; "
            f"{result['parameters']:,} parameters, {result['images_seen']:,} images seen in the "
            f"time of {result['reference_steps']:.0f} reference steps.")


def _put(name, result, file):
    entries, message = load(file)
    before = entries.get(name)
    entries = merge([entries, {name: result}])
    write(entries, file)
    place = f"{name}: place {list(ranked(entries)).index(name) + 1} of {len(entries)} in {file}."
    if before is not None and entries[name] == before:
        place += f" Your best stays {before['accuracy']:.1%}."
    return f"{message}\n{place}".lstrip()


def valid_name(name):
    """Return a name for the board, with single spaces.

    Raises:
        ValueError: it is no text, empty, too long, or holds characters that cannot be printed.
    """
    if not isinstance(name, str):
        raise ValueError(f'name: expected a text such as "Ada", got {name!r}')
    tidy = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 <= len(tidy) <= MAX_NAME or not tidy.isprintable():
        raise ValueError(f"name: expected 1 to {MAX_NAME} printable characters, got {name!r}")
    return tidy


def load(file=FILE):
    """Read a leaderboard; a damaged file is set aside and said so.

    Returns:
        (entries, message or ""): name → {"accuracy", "parameters", "reference_steps", "images_seen", "held_back",
            "sample"}
    """
    file = Path(file)
    try:
        return read(file), ""
    except FileNotFoundError:
        return {}, ""
    except ValueError as error:
        aside = file.with_suffix(".damaged")
        file.replace(aside)
        return {}, f"{error}; it was set aside as {aside}, and a new one begins."


def read(file):
    """Read a leaderboard.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no leaderboard.
    """
    try:
        entries = json.loads(Path(file).read_text(encoding="utf-8"))
        return {valid_name(name): _valid(entry) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} could not be read as a leaderboard ({type(error).__name__}: {error})") from None


def _valid(entry):
    """Return an entry with its fields only; what the judge cannot have measured is refused."""
    values = {key: entry[key] for key in FIELDS}
    for key, kind in FIELDS.items():
        good = isinstance(values[key], kind) or (kind is float and type(values[key]) is int)
        if not good or (kind is int and isinstance(values[key], bool)) or not 0 <= values[key] < math.inf:
            raise ValueError(f"{key}: {values[key]!r}")
    if values["accuracy"] > 1 or values["parameters"] > capstone.MAX_PARAMETERS:
        raise ValueError(f"accuracy {values['accuracy']} with {values['parameters']} parameters")
    return values


def write(entries, file):
    """Write a leaderboard in one step, the best first."""
    write_json(file, ranked(entries))


def merge(boards):
    """Put leaderboards together; a name that is in several keeps its best entry."""
    best = {}
    for name, entry in (pair for board in boards for pair in board.items()):
        if name not in best or _order(entry) < _order(best[name]):
            best[name] = entry
    return best


def collect(files):
    """Merge the files of a class.

    Returns:
        (entries, the best first; a message for each file that was left out)

    Raises:
        ValueError: there is no entry in any of them.
    """
    boards, left_out = [], []
    for file in files:
        try:
            boards.append(read(file))
        except (OSError, ValueError) as error:
            left_out.append(f"left out: {error}")
    entries = ranked(merge(boards))
    if not entries:
        raise ValueError("\n".join([*left_out, "there is no entry in any file"]))
    return entries, left_out


def ranked(entries):
    """Return the entries, the best first: those on the whole data set, by accuracy, then by fewer parameters."""
    return dict(sorted(entries.items(), key=lambda pair: (*_order(pair[1]), pair[0])))


def _order(entry):
    return entry["sample"], -entry["accuracy"], entry["parameters"]


def table(entries):
    """Write the board as text."""
    width = max(4, *map(len, entries))
    lines = [f"{'rank':>4}  {'name':{width}}  accuracy  parameters  reference steps  images seen"]
    for rank, (name, entry) in enumerate(ranked(entries).items(), start=1):
        lines.append(
            f"{rank:4}  {name:{width}}  {entry['accuracy']:8.1%}  {entry['parameters']:10,}  "
            f"{entry['reference_steps']:15.0f}  {entry['images_seen']:11,}{'  sample' * entry['sample']}".rstrip())
    if any(entry["sample"] for entry in entries.values()):
        lines.append("sample: trained and judged on the sample in the package, so not to be compared with the others")
    return "\n".join(lines)
