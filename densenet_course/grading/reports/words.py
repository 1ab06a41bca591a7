"""Text of students on our pages and tables: shown letter by letter, never obeyed."""

import csv
import hashlib
import io
import re
import unicodedata

FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a spreadsheet reads as the beginning of a formula
SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}(?<!\.)")
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # Windows keeps these names for itself


def visible(text, keep="\n\t"):
    """Show control characters, and those that turn or hide text, as their numbers.

    Args:
        text: of anybody.
        keep: such characters that stay.
    """
    return "".join(letter if letter in keep or unicodedata.category(letter) not in
                   ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else f"⟨U+{ord(letter):04X}⟩" for letter in str(text))


def cell(value):
    """Return a value for a table: a number as it is, and a text that no spreadsheet takes for a formula."""
    if isinstance(value, int | float):
        return f"{value:g}"
    text = visible(value, keep="")
    return f"'{text}" if str(value).lstrip().startswith(FORMULA) or text.startswith(FORMULA) else text


def table(rows):
    """Write rows as CSV text."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([cell(value) for value in row] for row in rows)
    return stream.getvalue()


def file_name(name):
    """Return a name for a file or folder: the student's own where it is harmless everywhere, else one with a hash."""
    if SAFE_NAME.fullmatch(name) and not DEVICES.fullmatch(name):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:40]
    return f"{slug or 'student'}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def findings_as_text(verdict):
    """Write a verdict's findings as plain lines."""
    lines = [f"{verdict.points:g} of {verdict.max_points:g} points"]
    for one in verdict.findings:
        sign = "right" if one.points == one.max_points else "wrong"
        lines.append(f"  {sign:5}  {one.points:g}/{one.max_points:g}  {one.name}"
                     + (f": {visible(one.message, keep='')}" if one.message else ""))
    lines += [f"  limit  {visible(verdict.limit, keep='')}"] * bool(verdict.limit)
    lines += [f"  note   {visible(note, keep='')}" for note in verdict.notes]
    return "\n".join(lines)
