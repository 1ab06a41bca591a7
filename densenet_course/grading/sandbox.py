"""The judge's side of the boxes: start a fork server, get cells from it, talk with them, end them. It reads only bytes.

Every wait has a deadline. What a student's code can cause is ``Ended``; what it cannot is ``Infra``, and no grade.
"""

import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from densenet_course.grading import box, wire

START_SECONDS, ORDER_SECONDS, TICK = 300, 60, 0.05
KEPT_OUTPUT = 1 << 16


class Infra(Exception):
    """Ours, not the student's: to be tried again, and never a grade."""


class Ended(Exception):
    """A cell has ended, or was ended; the message says why. ``limit`` is the limit that it met, or ""."""

    def __init__(self, message, limit=""):
        super().__init__(message)
        self.limit = limit


@dataclass(frozen=True)
class Limits:
    """What a cell may use.

    Args:
        resources: RLIMIT_* in bytes, processes, seconds of a process, and open files.
        memory: bytes of all its processes, beyond what the fork server has.
        disk: bytes of each of its folders.
        output: bytes printed.
        cell_seconds, notebook_seconds: for one code cell, and for all of them.
        ask_seconds, exercise_seconds: for one question, and for everything together.
        folder: where a cell that is not isolated works.
    """

    resources: dict = field(default_factory=lambda: {
        "DATA": 2_000_000_000, "NPROC": 24, "FSIZE": 64 << 20, "CPU": 120, "NOFILE": 256, "CORE": 0, "MEMLOCK": 0,
        "MSGQUEUE": 0})
    memory: int = 3_000_000_000
    disk: int = 64 << 20
    output: int = 8 << 20
    cell_seconds: float = 20.0
    notebook_seconds: float = 60.0
    ask_seconds: float = 25.0
    exercise_seconds: float = 90.0
    folder: str = ""


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
            self.process = _start_in_a_lasting_thread(command, env=environment, cwd="/", pass_fds=[theirs.fileno()])
        self._reply()
        self.known, self.own = set(_family(self.process.pid)), 0
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
                raise Infra("the fork server has ended")
            line += got
        return json.loads(line)

    def memory(self):
        """Return the bytes that its cells have beyond its own."""
        return sum(max(0, _memory(pid) - self.own) for pid in _family(self.process.pid) if pid not in self.known)

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


class Cell:
    """A process for one student's code, or for the judge's own work on it; a context manager.

    Args:
        zygote: a ``Zygote``.
        limits: ``Limits``.

    Raises:
        Infra: none is to be had.
    """

    def __init__(self, zygote, limits):
        self.zygote, self.limits, self.cpu = zygote, limits, 0.0
        self.place = None
        try:
            self.printed = tempfile.TemporaryFile()
            self.socket, theirs = socket.socketpair()
            self.folder = None if zygote.isolated else tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        except OSError as error:
            raise Infra(f"no cell is to be had: {error}") from None
        self.socket.setblocking(False)
        given = asdict(limits) | {"folder": self.folder.name if self.folder else ""}
        with theirs:
            self.place = zygote.order([theirs.fileno(), self.printed.fileno()], do="spawn", limits=given)

    def talk(self, seconds, **message):
        """Send a message, and return its reply.

        Raises:
            Ended: the cell has ended, met a limit, or wrote what is no reply.
        """
        nonce = secrets.token_hex(8)
        try:
            tree, body = self._exchange(wire.encode({**message, "nonce": nonce}), time.monotonic() + seconds)
            reply = wire.decode(tree, body)
        except wire.Malformed as error:
            raise Ended(f"its process wrote something that is no reply: {error}") from None
        except ConnectionError:
            raise Ended("its process ended before it answered") from None
        except OSError as error:
            raise Infra(f"a cell cannot be reached: {error}") from None
        if type(reply) is not dict or reply.pop("nonce", None) != nonce:
            raise Ended("its process wrote a reply that was not asked for")
        return reply

    def _exchange(self, out, deadline):
        out, got, wanted, look = memoryview(out), bytearray(), wire.PREFIX.size, 0.0
        cut = None
        while True:
            now = time.monotonic()
            if now > deadline:
                raise Ended("it did not come back in time: is there a loop that never ends?", "time")
            if now > look:
                look = now + 3 * TICK
                self._watch()
            readable, writable, _ = select.select([self.socket], [self.socket] * bool(out), [], TICK)
            if writable:
                out = out[self.socket.send(out[:1 << 20]):]
            if not readable:
                continue
            data = self.socket.recv(min(1 << 20, wanted - len(got) + 1))  # one byte too many is seen
            if not data:
                raise Ended("its process ended before it answered")
            got += data
            if cut is None and len(got) >= wanted:
                cut = wire.lengths(bytes(got[:wanted]))
                wanted += sum(cut)
            if len(got) > wanted:
                raise wire.Malformed("more bytes than were announced")
            if cut is not None and len(got) == wanted:
                start = wire.PREFIX.size + cut[0]
                return bytes(got[wire.PREFIX.size:start]), bytes(got[start:])

    def _watch(self):
        if self.zygote.memory() > self.limits.memory:
            raise Ended(f"it took more than {self.limits.memory / 1e9:g} GB of memory", "memory")
        if os.fstat(self.printed.fileno()).st_size > self.limits.output:
            raise Ended(f"it printed more than {self.limits.output >> 20} MB", "output")

    @property
    def output(self):
        """Return the first letters of what was printed so far."""
        return os.pread(self.printed.fileno(), KEPT_OUTPUT, 0).decode("utf-8", "replace")

    def close(self):
        """End the cell and all of its processes.

        Raises:
            Infra: the fork server is gone.
        """
        try:
            if self.place:
                self.zygote.order(do="end", **self.place)
        finally:
            self.socket.close(), self.printed.close()
            if self.folder:
                self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _family(pid):
    """List a process and all that descend from it, as this system numbers them."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


def _memory(pid):
    """Return the bytes of a process that are its own or shared by its like: no file's pages."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    sizes = dict(line.split(":", 1) for line in lines if line.startswith("Rss"))
    return sum(int(sizes[name].split()[0]) << 10 for name in ("RssAnon", "RssShmem") if name in sizes)
