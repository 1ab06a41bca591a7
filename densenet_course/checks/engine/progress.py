"""What a learner has solved so far, in a small file beside the notebooks."""

import json
from pathlib import Path

from densenet_course.files import write_json

FILE = Path("progress.json")
MOST_POINTS = 1_000  # of one exercise


def load(path=FILE):
    """Read the file; a damaged one is set aside and said so.

    Returns:
        ({exercise id: {"points": float, "max_points": float}}, message or "")
    """
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): _valid(entry) for name, entry in entries.items()}, ""
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError:
            return {}, f"{path} cannot be read; progress starts anew."
        return {}, f"{path} could not be read and was set aside as {aside}; progress starts anew."


def _valid(entry):
    """Return an entry with its fields only; what no check can have given is refused."""
    points, most = entry["points"], entry["max_points"]
    if {type(points), type(most)} - {int, float} or not 0 <= points <= most <= MOST_POINTS:
        raise ValueError(f"{points!r} of {most!r} points")
    return {"points": float(points), "max_points": float(most)}


def record(report, path=FILE):
    """Keep the best result of an exercise; never fatal.

    Returns:
        A message when it could not be kept, or when the file was damaged; else "".
    """
    path = Path(path)
    entries, message = load(path)
    best = entries.get(report.exercise, {"points": -1.0})
    if report.points <= best["points"]:
        return message
    entries[report.exercise] = {"points": report.points, "max_points": report.max_points}
    try:
        write_json(path, entries)
    except OSError as error:
        return f"progress is not kept: {path} cannot be written ({error.strerror})"
    return message


def table(exercises, path=FILE):
    """Write the progress over all exercises as text.

    Args:
        exercises: pairs (id, title) in order.
        path: the file.
    """
    entries, message = load(path)
    lines = [message] if message else []
    width = max(len(name) for name, _ in exercises)
    solved = 0
    for name, title in exercises:
        entry = entries.get(name)
        done = entry is not None and entry["points"] >= entry["max_points"]
        solved += done
        score = "–" if entry is None else f"{entry['points']:g} of {entry['max_points']:g}"
        lines.append(f"{'✓' if done else ' '} {name:{width}}  {score:>9}  {title}")
    return "\n".join([*lines, f"solved: {solved} of {len(exercises)}"])
