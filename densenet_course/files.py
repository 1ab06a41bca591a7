"""Write files in one step: a process that is stopped half-way leaves the old file whole."""

import contextlib
import json
import os
from pathlib import Path


@contextlib.contextmanager
def replacing(path, *, scratch=None):
    """Give a draft to write, and put it in the file's place when the block ends well; else remove it.

    Args:
        path: the file to make or to replace; its folder is made if missing.
        scratch: a folder on the same disk for the draft; by default the file's own.

    Yields:
        The draft's path; close it before the block ends.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(scratch or path.parent) / f".{path.name}.{os.getpid()}.tmp"
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path, data):
    """Write data to a JSON file in one step; its folder is made if missing.

    Raises:
        OSError: the folder or the file cannot be written.
    """
    with replacing(path) as draft:
        draft.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
