"""A cell from outside: started, talked with, watched, ended. The judge reads nothing of it but bytes.

Every wait has a deadline. What a student's code can cause is ``Ended``; what it cannot is ``Infra``, and no grade.
"""

import os
import secrets
import select
import socket
import tempfile
import time
from dataclasses import asdict, dataclass, field

from densenet_course.grading import wire
from densenet_course.grading.server import Infra

TICK = 0.05  # seconds between two looks at what a cell uses
KEPT_OUTPUT = 1 << 16


class Ended(Exception):
    """A cell has ended, or was ended; the message says why. ``limit`` is the limit that it met, or "".

    ``died`` tells that its process was gone: whether it ended itself or was killed from outside cannot be seen.
    """

    def __init__(self, message, limit="", *, died=False):
        super().__init__(message)
        self.limit, self.died = limit, died


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


class Cell:
    """A process for one student's code, or for the judge's own work on it; a context manager.

    Args:
        zygote: a ``Zygote``.
        limits: ``Limits``.

    Raises:
        Infra: none is to be had.
    """

    def __init__(self, zygote, limits):
        self.zygote, self.limits = zygote, limits
        self.place, self.look = None, 0.0
        try:
            self.printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the cell
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
            raise Ended("its process ended before it answered", died=True) from None
        except OSError as error:
            raise Infra(f"a cell cannot be reached: {error}") from None
        if type(reply) is not dict or reply.pop("nonce", None) != nonce:
            raise Ended("its process wrote a reply that was not asked for")
        return reply

    def _exchange(self, out, deadline):
        out, got, wanted = memoryview(out), bytearray(), wire.PREFIX.size
        cut = None
        while True:
            now = time.monotonic()
            if now > deadline:
                raise Ended("it did not come back in time: is there a loop that never ends?", "time")
            if now > self.look:
                self.look = now + 3 * TICK
                self._watch()
            readable, writable, _ = select.select([self.socket], [self.socket] * bool(out), [], TICK)
            if writable:
                out = out[self.socket.send(out[:1 << 20]):]
            if not readable:
                continue
            data = self.socket.recv(min(1 << 20, wanted - len(got) + 1))  # one byte too many is seen
            if not data:
                raise Ended("its process ended before it answered", died=True)
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
