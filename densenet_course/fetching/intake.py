"""Let files into the data folder only when they are whole and right."""

import gzip
import hashlib
import os
import shutil
import zlib
from pathlib import Path

from densenet_course.files import replacing

CHUNK = 1 << 20


class BadFile(Exception):
    """A file offered by a source is not the one that was expected."""


def problem(path, size, sha256):
    """Say what is wrong with a file: None when it has this size in bytes and this SHA-256."""
    try:
        if not path.is_file():
            return "is missing"
        if path.stat().st_size != size:
            return f"has {path.stat().st_size:,} bytes instead of {size:,}"
        with path.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if right else "has the wrong SHA-256"


def problems(root, files):
    """Check all files of a data set.

    Args:
        root: folder above ``FashionMNIST/raw``.
        files: name → (size in bytes, SHA-256).

    Returns:
        name → what is wrong with it; empty when the data set is whole.
    """
    raw = Path(root) / "FashionMNIST" / "raw"
    found = {name: problem(raw / name, *expected) for name, expected in files.items()}
    return {name: reason for name, reason in found.items() if reason}


class Intake:
    """Hold what is still missing under a root, and accept candidates for it. Enter it under the lock.

    Args:
        root: folder above ``FashionMNIST/raw``.
        files: name → (size in bytes, SHA-256).
    """

    def __init__(self, root, files):
        self.raw = Path(root) / "FashionMNIST" / "raw"
        self.incoming = self.raw / ".incoming"  # scratch space on the same disk, so that a rename is enough
        self.files = files
        self.missing = problems(root, files)

    def __enter__(self):
        self.raw.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.incoming, ignore_errors=True)  # left behind by a process that was killed
        for name, reason in self.missing.items():
            if os.path.lexists(self.raw / name):
                aside = set_aside(self.raw / name)
                print(f"FashionMNIST: {self.raw / name} {reason}; kept as {aside.name}, to be replaced", flush=True)
        self.incoming.mkdir()
        return self

    def __exit__(self, *exception):
        shutil.rmtree(self.incoming, ignore_errors=True)

    def accept(self, name, archive):
        """Unpack or copy a file and put it in its place in one step.

        Args:
            name: a name in ``missing``.
            archive: path of the candidate, gzipped where its name ends in ``.gz``; it is left as it is.

        Raises:
            BadFile: its content is not the expected one; nothing has changed then.
        """
        size, sha256 = self.files[name]
        with replacing(self.raw / name, scratch=self.incoming) as draft:
            try:
                with _open(archive) as packed, draft.open("wb") as file:
                    while file.tell() <= size and (chunk := packed.read(CHUNK)):
                        file.write(chunk)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise BadFile(f"{archive.name} is damaged ({error})") from error
            if reason := problem(draft, size, sha256):
                raise BadFile(f"{archive.name} {reason}")
        del self.missing[name]


def _open(archive):
    return gzip.open(archive) if archive.suffix == ".gz" else archive.open("rb")


def set_aside(path):
    """Rename a file to the first free of ``name.bad``, ``name.bad2``, … and return the new path."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.bad{number if number > 1 else ''}")):
        number += 1
    return path.rename(aside)
