"""The places FashionMNIST can come from; each hands its files to an ``Intake``, or gives up with one printed line.

Downloads are by hand and not by pooch: its downloader waits for a server that drips for as long as that likes, and for
a name look-up without limit, and a class would wait with it.
"""

import contextlib
import errno
import os
import queue
import shutil
import subprocess
import threading
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from densenet_course.fetching.intake import BadFile
from densenet_course.files import replacing

PACKAGE = "dataset-fashion-mnist"
TIMEOUT = 10.0  # seconds without an answer, or without one more byte
SLOW_BYTES, SLOW_SECONDS = 10_000, 20.0  # given up: fewer bytes per second, after so many seconds
# Of the data set's authors, the one source that is both theirs and HTTPS.
AUTHORS = ("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",)
MAX_BYTES = 64 << 20
APT_SECONDS = 300
NO_NETWORK = ("resolv", "onnect", "timed out", "unreachable")  # parts of what apt-get says then


def from_folder(intake, folder):
    """Take files, plain or gzipped, from a folder; say nothing where there are none."""
    for archive in [Path(folder) / f"{name}{ending}" for name in intake.missing for ending in ("", ".gz")]:
        name = archive.name.removesuffix(".gz")
        try:
            if name in intake.missing and archive.is_file():
                intake.accept(name, archive)
        except (BadFile, OSError) as error:
            _give_up(str(folder), error)


def from_torchvision(intake):
    """Download from torchvision's mirrors."""
    from torchvision.datasets import FashionMNIST

    from_mirrors(intake, FashionMNIST.mirrors)


def from_mirrors(intake, mirrors):
    """Download from folders on the web, one after the other."""
    for mirror in mirrors:
        try:
            for name in list(intake.missing):
                archive = intake.incoming / f"{name}.gz"
                _download(f"{mirror.rstrip('/')}/{archive.name}", archive)
                intake.accept(name, archive)
        except (BadFile, OSError, HTTPException, ValueError) as error:
            _give_up(urlsplit(mirror).netloc or mirror, error)
        if not intake.missing:
            return


def _give_up(where, error):
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise error  # another source would not help
    print(f"FashionMNIST: not from {where}: {error}", flush=True)


def _download(url, path):
    start = time.monotonic()
    with replacing(path) as draft, _open(url) as response, draft.open("wb") as file:
        print(f"FashionMNIST: downloading {url}", flush=True)
        while chunk := response.read1(1 << 16):  # what has arrived: a mirror that drips cannot hold us
            if file.tell() == 0 and not chunk.startswith(b"\x1f"):
                raise BadFile(f"{url} is not a gzip file; a web page of the network's login, perhaps")
            file.write(chunk)
            seconds = time.monotonic() - start
            if file.tell() > MAX_BYTES:
                raise BadFile(f"{url} sends more than {MAX_BYTES >> 20} MB")
            if seconds > SLOW_SECONDS and file.tell() < SLOW_BYTES * seconds:
                raise TimeoutError(f"{url} sent only {file.tell():,} bytes in {seconds:.0f} s")


def _open(url):
    """Open a URL within ``TIMEOUT`` seconds, name look-up and all addresses of the host included."""
    answers = queue.SimpleQueue()

    def ask():
        try:
            answers.put(urllib.request.urlopen(url, timeout=TIMEOUT))
        except Exception as error:  # handed to the caller, whatever it is
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=TIMEOUT + 1)
    except queue.Empty:
        raise TimeoutError(f"{url} did not answer within {TIMEOUT:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def from_apt(intake):
    """Fetch the Debian package and unpack it here, without root; do nothing where there is no apt."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return
    folder = intake.incoming / "apt"
    folder.mkdir()
    try:
        package = _apt_download(folder)
        _run(folder, "dpkg-deb", "-x", package.name, "tree")
    except (OSError, subprocess.SubprocessError) as error:
        _give_up("apt", error)
        return
    from_folder(intake, folder / "tree" / "usr" / "share" / "datasets" / "fashion-mnist")


def _apt_download(folder):
    """Return the path of the downloaded package; read the package lists privately where the machine's do not do."""
    print(f"FashionMNIST: asking apt for {PACKAGE} (31 MB)", flush=True)
    try:
        _apt(folder, "download", PACKAGE)
    except OSError as error:
        if any(words in str(error) for words in NO_NETWORK):
            raise
        # No lists yet, or too old ones. An update fails when one repository of many does, so it is not judged here.
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True)
        private = ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]
        with contextlib.suppress(OSError):
            _apt(folder, *private, "update")
        _apt(folder, *private, "download", PACKAGE)
    packages = sorted(folder.glob("*.deb"))
    if not packages:
        raise FileNotFoundError("apt-get download left no .deb file")
    return packages[0]


def _apt(folder, *arguments):
    options = ["-q", "-o", "Acquire::Retries=0", "-o", f"Acquire::http::Timeout={TIMEOUT:.0f}",
               "-o", f"Acquire::https::Timeout={TIMEOUT:.0f}"]
    if hasattr(os, "getuid") and os.getuid() == 0:
        options += ["-o", "APT::Sandbox::User=root"]  # the user _apt may not enter our folder
    _run(folder, "apt-get", *options, *arguments)


def _run(folder, *line):
    done = subprocess.run(line, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, errors="replace", env=os.environ | {"LC_ALL": "C"}, timeout=APT_SECONDS)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"{line[0]} ended with status {done.returncode}")
