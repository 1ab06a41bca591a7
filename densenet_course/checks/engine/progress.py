"""What a learner has solved so far, in a small file beside the notebooks."""

import json
from pathlib import Path

from densenet_course.files import write_json

FILE = Path("progress.json")


def load(path=FILE):
    """Read the file; a damaged one is set aside and said so.

    Returns:
        ({exercise id: {"points": float, "max_points": float}}, message or "")
    """
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {str(k): {"points": float(v["points"]), "max_points": float(v["max_points"])}
                for k, v in entries.items()}, ""
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError:
            return {}, f"{path} cannot be read; progress starts anew."
        return {}, f"{path} could not be read and was set aside as {aside}; progress starts anew."


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
