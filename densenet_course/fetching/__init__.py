"""Find FashionMNIST, verify it, and lay it out as torchvision does: ``<root>/FashionMNIST/raw/*-ubyte``.

Where the files come from lives in ``sources``; this module decides the order, and that nothing unverified is ever used.
"""

import contextlib
import errno
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from densenet_course.fetching import sample, sources
from densenet_course.fetching.intake import Intake, problems

ENVIRONMENT_VARIABLE = "DENSENET_COURSE_DATA"
# Size in bytes and SHA-256 of the uncompressed IDX files, as published since 2017-08-31.
FILES = {
    "train-images-idx3-ubyte": (47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train-labels-idx1-ubyte": (60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": (7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": (10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
LOCK_SECONDS = 1800
LONG_WAIT, PAUSE_MINUTES = 15, 15  # after so many seconds in vain, lessons run on without asking for so many minutes
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Location:
    """Say where a verified FashionMNIST lies.

    Args:
        root: the folder that ``torchvision.datasets.FashionMNIST(root=...)`` takes.
        source: where the files came from, in plain words.
        is_sample: True for the 6,000 + 1,000 images of the package, False for the full set.
    """

    root: Path
    source: str
    is_sample: bool


def data_root():
    """Name the folder that holds the data.

    Returns:
        The environment variable ``DENSENET_COURSE_DATA`` where it is set; ``data/`` at the repository's root when the
        package runs from a checkout (``../data`` seen from the notebooks, as d2l has it); for an installed package, as
        on Colab, a folder of the user's cache that does not depend on the working directory.

    Raises:
        ValueError: the variable begins with a ``~`` that means no folder here.
    """
    if named := os.environ.get(ENVIRONMENT_VARIABLE):
        try:
            return Path(named).expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"{ENVIRONMENT_VARIABLE}: expected a folder, got {named} ({error}); write it in full, "
                             "without ~") from error
    checkout = Path(__file__).resolve().parents[2]
    return checkout / "data" if (checkout / "pyproject.toml").is_file() else _fallbacks()[0]


def user_cache():
    """Name this course's folder in the user's cache, by the custom of the system; None for a user without a home."""
    try:
        folder = user_cache_path("densenet-course", appauthor=False, opinion=False)
    except RuntimeError:  # of newer versions; older ones leave the ~ as it is
        return None
    return folder if folder.is_absolute() else None


def _fallbacks():
    """Name the folders that serve where the root cannot be written: the user's cache, the temporary folder."""
    temporary = Path(tempfile.gettempdir()) / f"densenet-course-{_user()}"
    return [folder for folder in (user_cache(), temporary) if folder]


def find(root):
    """Look for a verified FashionMNIST on this machine, and change nothing.

    Args:
        root: where it should be. Where that names a folder inside the layout, ``FashionMNIST`` or
            ``FashionMNIST/raw``, the one above counts, too; then the folders that serve where it cannot be written.

    Returns:
        The folder above ``FashionMNIST/raw``; None when there is none.
    """
    above = [root.parents[len(tail) - 1] for tail in (("FashionMNIST",), ("FashionMNIST", "raw"))
             if root.parts[-len(tail):] == tail]
    return next((folder for folder in (root, *above, *_fallbacks()) if not problems(folder, FILES)), None)


def prepare(root=None, *, download=True):
    """Make sure that a verified FashionMNIST lies on this machine, and say where.

    In this order: files already under the root, or in the folders that ``find`` looks into; the operating system's
    copy; torchvision's mirrors; the authors' repository, over HTTPS; the Debian package, fetched and unpacked without
    root; the sample in this package, announced by a framed message each time. Files that
    fail their SHA-256 are renamed to ``*.bad``. Where the root cannot be written, the user's cache is used instead, and
    a message says so. Several processes may call it at once. After a network that only kept us waiting, the next calls
    leave it alone for a quarter of an hour.

    Args:
        root: folder for the data; by default ``data_root()``.
        download: False never uses the network.

    Returns:
        A ``Location``. A sample lies under ``<root>/sample``, so that it is never taken for the full set.

    Raises:
        OSError: the disk is full, or no folder can be written.
        TimeoutError: another process has held the lock for half an hour.
    """
    root = data_root() if root is None else Path(root).expanduser().absolute()
    if found := find(root):  # the usual case, without lock: files only ever arrive whole, by a rename
        if found != root:
            print(f"FashionMNIST: not under {root}, but whole under {found}; using that", flush=True)
        return Location(found, "files that were already there", False)
    try:
        root = _writable_root(root)
        with _lock(root):
            return _fill(root, download)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OSError(error.errno, f"no space left under {root}: FashionMNIST needs 55 MB, and 150 MB while unpacking. "
                      f"Free some, or set {ENVIRONMENT_VARIABLE} to a folder on another disk") from error


def _fill(root, download):
    with Intake(root, FILES) as intake:
        if not intake.missing:
            return Location(root, "files that were already there", False)  # another process was quicker
        choices = [(f"the gzipped files in {intake.raw}", sources.from_folder, intake.raw),
                   (f"the files in {root}", sources.from_folder, root),
                   (f"the operating system's copy in {SYSTEM_FOLDER}", sources.from_folder, SYSTEM_FOLDER)]
        vain = root / ".waited-in-vain"
        if download and not _recent(vain):
            choices += [("torchvision's mirrors", sources.from_torchvision),
                        ("the authors' repository", sources.from_mirrors, sources.AUTHORS),
                        (f"the Debian package {sources.PACKAGE}, fetched with apt-get", sources.from_apt)]
        start = time.monotonic()
        for words, take, *arguments in choices:
            take(intake, *arguments)
            if not intake.missing:
                print(f"FashionMNIST: taken from {words}, verified, now under {root}", flush=True)
                return Location(root, words, False)
        if time.monotonic() - start > LONG_WAIT:
            vain.touch()
    place = sample.install(root)
    print(sample.announcement(root, download), flush=True)
    return Location(place, "the sample in the package densenet_course", True)


def _recent(vain):
    """Tell whether a network that swallows requests has just cost us a long wait; say when it is tried again."""
    minutes = (time.time() - vain.stat().st_mtime) / 60 if vain.exists() else PAUSE_MINUTES
    if not 0 <= minutes < PAUSE_MINUTES:
        return False
    print(f"FashionMNIST: the network did not answer {minutes:.0f} minutes ago and is left alone for "
          f"{PAUSE_MINUTES - minutes:.0f} more; to try it now, delete {vain}", flush=True)
    return True


def _writable_root(root):
    """Return the first folder of root, user's cache and temporary folder in which files can be made."""
    reasons = []
    for folder in (root, *_fallbacks()):
        try:
            (folder / "FashionMNIST" / "raw").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder / "FashionMNIST" / "raw"), (folder / ".prepare.lock").open("a"):
                pass
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            reasons.append(f"cannot write under {folder} ({error.strerror})")
            continue
        if reasons:
            print(f"FashionMNIST: {'; '.join(reasons)}; using {folder} instead", flush=True)
        return folder
    raise PermissionError(f"FashionMNIST needs a folder it can write: {'; '.join(reasons)}. "
                          f"Set {ENVIRONMENT_VARIABLE} to one of yours")


def _user():
    return os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")


@contextlib.contextmanager
def _lock(root):
    from filelock import FileLock, Timeout

    lock = FileLock(root / ".prepare.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("FashionMNIST: another process is preparing the data; waiting for it", flush=True)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise TimeoutError(f"another process has been preparing FashionMNIST for {LOCK_SECONDS // 60} minutes (it "
                               f"holds {root / '.prepare.lock'}); end it, then call prepare() again") from None
    try:
        yield
    finally:
        lock.release()
