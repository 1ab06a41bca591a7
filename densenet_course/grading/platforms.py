"""The tables that platforms put beside submissions, and times as they and people write them."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from densenet_course.grading.people import Person


def gradescope(data):
    """Read Gradescope's ``submission_metadata.yml``.

    Args:
        data: its bytes.

    Returns:
        Name of a submission's folder → (list of ``Person``, when it was handed in or None).

    Raises:
        ValueError: it is no such table.
    """
    import yaml

    try:
        table = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return {str(folder): _submission(entry) for folder, entry in table.items()}
    except (yaml.YAMLError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"submission_metadata.yml: expected Gradescope's table of submissions ({error})") from None


def _submission(entry):
    people = [_submitter({key.strip(":"): str(value or "") for key, value in one.items()})
              for one in entry.get(":submitters") or []]
    when = entry.get(":created_at")
    return people, aware(when) if isinstance(when, datetime) else moment(when) if isinstance(when, str) else None


def _submitter(values):
    name, keys = values.get("name", ""), [values.get("sid"), values.get("email"), values.get("name")]
    keys = tuple(filter(None, keys))
    return Person(keys[0] if keys else "nobody", name, keys)


def moment(text):
    """Read a time as ISO text, or as nbgrader writes it, with a zone's name behind; None where it is none."""
    text = text.strip()
    try:
        return aware(datetime.fromisoformat(text))
    except ValueError:
        pass
    rest, _, zone = text.rpartition(" ")
    try:
        return datetime.fromisoformat(rest).replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    except (ValueError, OSError, KeyError):  # ZoneInfo raises all three where there is no such zone
        return None


def nbgrader_time(data):
    """Read nbgrader's ``timestamp.txt``; None where it holds no time."""
    return moment(data[:200].decode("utf-8", "replace"))


def due_date(text):
    """Read a due date; a day without a time lasts to its end, and a time without a zone is this machine's.

    Raises:
        ValueError: it is no date.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"due: expected a date such as 2026-12-01 or 2026-12-01T18:00, got {text!r}") from None
    if len(text) <= len("2026-12-01"):
        when = datetime.combine(when.date(), time(23, 59, 59))
    return aware(when)


def aware(when):
    """Return a time with a zone: this machine's where it has none."""
    return when if when.tzinfo else when.astimezone()


def lateness(received, due):
    """Say how late something came, in words, or "" where it did not or where nobody knows."""
    if received is None or due is None or received <= due:
        return ""
    minutes = int((received - due).total_seconds()) // 60
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts[:2]) or "under a minute"
