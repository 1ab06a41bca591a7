"""The fork server from outside: start it, give it orders, see what memory its cells take, end it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from densenet_course.grading import box

START_SECONDS, ORDER_SECONDS = 300, 60


class Infra(Exception):
    """Ours, not the student's: to be tried again, and never a grade."""


class Zygote:
    """A fork server; a context manager.

    Args:
        isolated: whether in a box; otherwise it is a plain process.

    Raises:
        Infra: it does not start.
    """

    def __init__(self, isolated=True):
        self.isolated = isolated
        self.folder = tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True)
        try:
            self._start(Path(self.folder.name))
        except OSError as error:
            self.close()
            raise Infra(f"the fork server does not start: {error}") from None
        except Infra:
            self.close()
            raise

    def _start(self, folder):
        box.unpack(folder)
        self.control, theirs = socket.socketpair()
        self.control.settimeout(START_SECONDS)
        with theirs:
            order = str(theirs.fileno()), "isolated" if self.isolated else "plain"
            command, environment = box.command(folder, *order), None
            if not self.isolated:
                environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
                command = [sys.executable, "-B", "-m", "densenet_course.grading.zygote", *order]
            with (folder / "stderr").open("wb") as complaints:
                self.process = _start_in_a_lasting_thread(command, env=environment, cwd="/", stderr=complaints,
                                                          stdout=complaints, pass_fds=[theirs.fileno()])
        self._reply()
        self.known, self.own = set(family(self.process.pid)), 0
        self.own = max((_memory(pid) for pid in self.known), default=0)

    def order(self, descriptors=(), **order):
        """Give an order, and return the answer.

        Raises:
            Infra: the fork server is gone, or does not answer.
        """
        try:
            self.control.settimeout(ORDER_SECONDS)
            socket.send_fds(self.control, [json.dumps(order).encode()], descriptors)
            return self._reply()
        except OSError as error:
            raise Infra(f"the fork server is gone: {error}") from None

    def _reply(self):
        line = b""
        while not line.endswith(b"\n"):
            try:
                got = self.control.recv(4096)
            except OSError as error:
                raise Infra(f"the fork server does not answer: {error}") from None
            if not got:
                said = (Path(self.folder.name) / "stderr").read_text(errors="replace")
                raise Infra(f"the fork server has ended: {said.strip()[-300:]}")
            line += got
        return json.loads(line)

    def memory(self):
        """Return the bytes that its cells have beyond its own."""
        return sum(max(0, _memory(pid) - self.own) for pid in family(self.process.pid) if pid not in self.known)

    def close(self):
        """End it, and all that it has started."""
        if hasattr(self, "control"):
            self.control.close()
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _start_in_a_lasting_thread(command, **options):
    """Start a process from a thread that lives as long as it: bubblewrap dies with the thread that started it."""
    started, outcome = threading.Event(), []

    def start_and_wait():
        try:
            outcome.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, **options))
        except OSError as error:
            outcome.append(error)
        started.set()
        if isinstance(outcome[0], subprocess.Popen):
            outcome[0].wait()

    threading.Thread(target=start_and_wait, daemon=True).start()
    started.wait()
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


def family(pid):
    """List a process and all that descend from it, as this system numbers them."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def _memory(pid):
    """Return the bytes of a process that are its own or shared by its like: no file's pages."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = dict(line.split(":", 1) for line in lines if line.startswith("Rss"))
    return sum(int(sizes[name].split()[0]) << 10 for name in ("RssAnon", "RssShmem") if name in sizes)
