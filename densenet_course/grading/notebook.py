"""A student's notebook: the cells to run, and a copy with the findings written into it."""

import json
import re
import warnings
from dataclasses import dataclass, field

MAX_BYTES, MAX_CELLS = 5 * 2**20, 500


class UnreadableNotebook(ValueError):
    """The bytes are no notebook that can be graded; the message says why."""


@dataclass(frozen=True)
class Cell:
    """What counts of a cell.

    Args:
        kind: "code", "markdown" or "raw".
        source: its text.
        grade_id: nbgrader's name for it, or "".
        locked: whether nbgrader's metadata say that students leave it alone.
        answer: whether they say that the answer belongs there.
    """

    kind: str
    source: str
    grade_id: str = ""
    locked: bool = False
    answer: bool = False


@dataclass(frozen=True)
class Work:
    """What is run of a notebook.

    Args:
        cells: code cells in order, locked ones as they were released.
        places: for each, its place among the notebook's cells, or None where the student had deleted it.
        notes: plain sentences on what was restored.
    """

    cells: tuple[str, ...]
    places: tuple[int | None, ...] = ()
    notes: tuple[str, ...] = field(default=())


def read(data):
    """Read a notebook of any version.

    Args:
        data: the file's bytes.

    Returns:
        A tuple of ``Cell``.

    Raises:
        UnreadableNotebook: it is too large, damaged, or no notebook.
    """
    import nbformat

    if len(data) > MAX_BYTES:
        raise UnreadableNotebook(f"it is larger than {MAX_BYTES // 2**20} MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without an id
            book = nbformat.convert(nbformat.reader.reads(data.decode("utf-8-sig")), 4)
        cells = tuple(_cell(cell) for cell in book.cells)
    except RecursionError:
        raise UnreadableNotebook("it is nested too deep") from None
    except Exception as error:  # nbformat trusts the file, so that whatever lies in it may raise whatever
        raise UnreadableNotebook(f"it is no notebook, or damaged ({type(error).__name__})") from None
    if len(cells) > MAX_CELLS:
        raise UnreadableNotebook(f"it has {len(cells):,} cells; at most {MAX_CELLS} are graded")
    return cells


def _cell(cell):
    source = cell["source"]
    if isinstance(source, list):
        source = "".join(source)
    if not isinstance(source, str) or cell["cell_type"] not in ("code", "markdown", "raw"):
        raise ValueError("a cell without a text")
    marks = (cell.get("metadata") or {}).get("nbgrader") or {}
    name = marks.get("grade_id")
    return Cell(cell["cell_type"], source.encode("utf-8", "replace").decode(), name if isinstance(name, str) else "",
                bool(marks.get("locked")), bool(marks.get("solution")))


def exercise_of(cells, exercises):
    """Name the exercise that most of the cells' grade_ids belong to, or ""."""
    owners = [name for cell in cells for name in exercises if cell.grade_id.startswith(f"{name}-")]
    return max(dict.fromkeys(owners), key=owners.count, default="")


def to_run(cells, released):
    """Choose what is run of a notebook: every code cell, and the locked ones as they were released.

    Args:
        cells: the student's, from ``read``.
        released: the cells of the notebook that was handed out.

    Returns:
        A ``Work``.
    """
    locked = {cell.grade_id: cell.source for cell in released if cell.locked and cell.grade_id}
    sources, places, notes, met = [], [], [], set()
    for place, cell in enumerate(cells):
        if cell.grade_id in locked:
            if cell.grade_id in met:
                notes.append(f"a second cell {cell.grade_id} was left out")
                continue
            met.add(cell.grade_id)
            if cell.kind != "code" or cell.source.strip() != locked[cell.grade_id].strip():
                notes.append(f"the locked cell {cell.grade_id} was changed; the released one was run")
            sources.append(locked[cell.grade_id])
        elif cell.kind == "code":
            sources.append(cell.source)
        else:
            continue
        places.append(place)
    for name in locked.keys() - met:
        notes.append(f"the locked cell {name} was missing; the released one was run")
    absent = [name for name in locked if name not in met]
    return Work((*sources, *(locked[name] for name in absent)), (*places, *(None for _ in absent)),
                tuple(sorted(notes)))


def own_text(cells, released):
    """Return the code that a student wrote: cells that differ from every released one."""
    given = {cell.source.strip() for cell in released}
    return "\n".join(cell.source for cell in cells if cell.kind == "code" and cell.source.strip() not in given
                     and not (cell.grade_id and cell.locked))


def annotated(cells, released, text, errors):
    """Return the notebook as bytes, without outputs, the findings as a cell behind the answer.

    Text that was not handed out is shown letter by letter: a page made from the notebook runs nothing of it.

    Args:
        cells: the student's, from ``read``.
        released: the cells of the notebook that was handed out.
        text: the findings.
        errors: place of a cell → what it raised.
    """
    from nbformat import v4

    behind = max((place for place, cell in enumerate(cells) if cell.answer), default=len(cells) - 1)
    book = v4.new_notebook(metadata={"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python",
                                                    "name": "python3"}})
    given = {_unlinked(cell.source): cell.source for cell in released if cell.kind == "markdown"}
    for place, cell in enumerate(cells):
        if cell.kind == "code":
            book.cells.append(v4.new_code_cell(cell.source))
        else:
            book.cells.append(v4.new_markdown_cell(given.get(_unlinked(cell.source)) or fenced(cell.source)))
        if place in errors:
            book.cells.append(v4.new_markdown_cell("**This cell raised an error while grading.**\n\n"
                                                   + fenced(errors[place])))
        if place == behind:
            book.cells.append(v4.new_markdown_cell(f"**How this was graded**\n\n{fenced(text)}"))
    for count, cell in enumerate(book.cells):
        cell["id"] = f"cell-{count}"
    return (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _unlinked(text):
    """Return a text without the targets of its links, which differ where a notebook is handed out alone."""
    return re.sub(r"\]\([^)]*\)", "]()", text)


def fenced(text):
    """Write a text as a Markdown code block that nothing in the text ends: no markup of it is read."""
    longest, run = 2, 0
    for letter in text:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text}\n{fence}"
