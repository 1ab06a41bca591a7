"""The files that a class has handed in: read from folders and archives within limits, never unpacked to a disk."""

import io
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

MB = 2**20
MAX_FILE = 5 * MB  # of a notebook
MAX_INNER = 25 * MB  # of an archive that lies in another one, or in a student's folder
MAX_UNPACKED = 100 * MB  # of all that is read of such an archive
MAX_ENTRIES = 2_000  # in such an archive
MAX_NESTING = 3  # archives in archives
TABLES = ("submission_metadata.yml", "timestamp.txt")  # of Gradescope and nbgrader
MAX_TABLE = 20 * MB
NOISE = {"__MACOSX", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "desktop.ini", "__pycache__", ".git",
         ".virtual_documents"}


@dataclass(frozen=True)
class File:
    """One file of a class.

    Args:
        parts: folders and name, the first nearest to SUBMISSIONS; an archive counts as a folder.
        data: its bytes, or None where it was not read.
        problem: why it was not read, in words, or "".
    """

    parts: tuple[str, ...]
    data: bytes | None = None
    problem: str = ""


def files(source):
    """Yield every ``File`` under a folder or in a zip file, in the order of their names.

    Notebooks and the platforms' own tables are read; of other files only the name is told. Links are not followed.

    Raises:
        FileNotFoundError: there is nothing of this name.
        ValueError: it is neither a folder nor a zip file.
    """
    source = Path(source)
    if source.is_dir():
        yield from _folder(source, ())
    elif not source.exists():
        raise FileNotFoundError(f"{source}: expected a folder or a zip file of submissions, found nothing")
    elif not zipfile.is_zipfile(source):
        raise ValueError(f"{source}: expected a folder or a zip file of submissions; this is neither")
    else:
        try:
            with zipfile.ZipFile(source) as archive:  # the instructor's own: as large as it is
                yield from _entries(archive, (), left=None, depth=1)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{source}: expected a zip file, found a damaged one ({error}); fetch it again") from None


def _folder(folder, parts):
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = entry.name.encode("utf-8", "backslashreplace").decode()  # a name need not be text
        here = (*parts, name)
        if name in NOISE:
            continue
        if entry.is_symlink():
            yield File(here, problem="is a link, which is not followed")
        elif entry.is_dir():
            yield from _folder(entry.path, here)
        elif entry.is_file():
            yield from _readable(here, partial(_read, partial(open, entry.path, "rb")))
        else:
            yield File(here, problem="is neither file nor folder")


def _archive(data, parts, depth):
    """Yield the files of a student's archive, which is held to limits."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            count = len(archive.infolist())
            if count > MAX_ENTRIES:
                yield File(parts, problem=f"is an archive of {count:,} files; at most {MAX_ENTRIES:,} are read")
                return
            yield from _entries(archive, (*parts[:-1], parts[-1][:-len(".zip")]), left=[MAX_UNPACKED], depth=depth)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        yield File(parts, problem=f"is no zip file that could be read ({error})")


def _entries(archive, parts, *, left, depth):
    """Yield the files of an open archive; ``left`` holds how many bytes it may still give, where there is a limit."""
    for info in sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename):
        names = tuple(_text(info).split("/"))
        if NOISE & set(names):
            continue
        here = (*parts, *names)
        refused = _refused(info)
        if refused:
            yield File(here, problem=refused)
            continue
        yield from _readable(here, partial(_read, partial(archive.open, info), left=left), depth)


def _text(info):
    """Return an entry's name; some systems write UTF-8 and do not say so."""
    if not info.flag_bits & 0x800:
        try:
            return info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename.encode("utf-8", "backslashreplace").decode()


def _refused(info):
    """Say why an entry is not read, or ""."""
    names = info.orig_filename.split("/")
    if ".." in names or "" in names or "\\" in info.orig_filename or ":" in names[0] or "\0" in info.orig_filename:
        return "has a path that leads out of its archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link, which is not followed"
    return "is encrypted" if info.flag_bits & 1 else ""


def _readable(parts, read, depth=0):
    """Yield a file with its bytes, or the files of an archive; ``read`` takes the most bytes to read."""
    name = parts[-1].lower()
    limit = MAX_INNER if name.endswith(".zip") else MAX_TABLE if name in TABLES else MAX_FILE
    if not name.endswith((".ipynb", ".zip", *TABLES)):
        yield File(parts, problem="is no notebook")
        return
    try:
        data = read(limit)
    except TooLarge as error:
        yield File(parts, problem=str(error))
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        yield File(parts, problem=f"could not be read ({error})")
    else:
        if not name.endswith(".zip"):
            yield File(parts, data)
        elif depth >= MAX_NESTING:
            yield File(parts, problem=f"is an archive in {depth} others; at most {MAX_NESTING} are opened")
        else:
            yield from _archive(data, parts, depth + 1)


class TooLarge(Exception):
    """There is more than may be read."""


def _read(opened, limit, left=None):
    """Read what a function opens to its end; ``left`` holds how many bytes its archive may still give."""
    with opened() as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise TooLarge(f"is larger than {limit // MB} MB")
    if left is not None:
        left[0] -= len(data)
        if left[0] < 0:
            raise TooLarge(f"is in an archive that unpacks to more than {MAX_UNPACKED // MB} MB")
    return data
