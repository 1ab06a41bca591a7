"""Inside a cell: run a notebook's code, and perform probes beside what it defined. Nothing here knows an answer.

A cell reads messages from its socket and answers each with one. From the first cell of a notebook on nothing in this
process can be trusted: the judge believes no more than the bytes that it gets.
"""

import importlib
import os
import random
import sys
from pathlib import Path

import numpy
import torch

from densenet_course.grading import player, steps, tracing, wire

MAX_ERROR, IDLE_SECONDS = 500, 5.0
COMMITTING = (tracing.build, tracing.prepare, tracing.settle, tracing.mend, tracing.switch, tracing.trace, steps.write,
              steps.play)


class Channel:
    """Messages over a socket, as the cell's side reads and writes them.

    Args:
        socket: a stream socket.
    """

    def __init__(self, socket):
        self.socket, self.nonce = socket, None

    def receive(self):
        """Return the next message; end the process when there is none any more."""
        tree, body = wire.lengths(self._exactly(wire.PREFIX.size))
        message = wire.decode(self._exactly(tree), self._exactly(body))
        self.nonce = message.pop("nonce")
        return message

    def send(self, **reply):
        """Answer the last message."""
        self.socket.sendall(wire.encode({"nonce": self.nonce, **reply}))

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            got = self.socket.recv(min(1 << 20, count - len(data)))
            if not got:
                os._exit(0)
            data += got
        return bytes(data)


def serve(socket):
    """Answer messages until the other side closes."""
    channel = Channel(socket)
    cell = Cell(channel)
    while True:
        message = channel.receive()
        try:
            reply = getattr(cell, message.pop("do"))(**message)
        except Exception as error:  # of the message's own, or a way that the notebook found: the judge takes it as such
            reply = {"error": {"what": f"{type(error).__name__}: {error}"[:MAX_ERROR]}}
        try:
            channel.send(**reply)
        except wire.Malformed as error:
            channel.send(error={"what": f"what came out cannot be sent: {error}"})


class Cell:
    """What the judge may ask for, a method for each kind of message.

    Args:
        channel: to the judge.
    """

    def __init__(self, channel):
        self.channel, self.shell, self.answer, self.modules = channel, None, None, []

    def begin(self, exercise, files, modules, names, hidden, seed):
        """Unpack the course's given part, and make an interpreter for the notebook."""
        self.names = names
        _unpack(files)
        for name in hidden:  # a package that shows what is to be written
            sys.modules[name] = None
        for module in modules:
            importlib.import_module(module)
        from densenet_course.checks.engine.answer import PROBES
        PROBES.update({f"{probe.__module__}:{probe.__qualname__}": probe for probe in COMMITTING})
        random.seed(seed), numpy.random.seed(seed)  # noqa: NPY002 - the notebook may use it
        torch.default_generator.manual_seed(seed)  # no other device is here
        return {"value": None}

    def run(self, source):
        """Run one code cell; tell what it raised, or None."""
        if self.shell is None:
            self.shell = _interpreter()
        try:
            result = self.shell.run_cell(source, store_history=False)
            error = result.error_before_exec or result.error_in_exec
        except BaseException as caught:
            error = caught
        sys.stdout.flush()
        return {"value": None if error is None else _told(error)}

    def ask(self, probe, request, cpu_seconds):
        """Perform a probe beside what the notebook defined."""
        from densenet_course.checks.engine.answer import PROBES, AnswerError, InProcess, Unjudged, texts

        if self.answer is None:
            space = self.shell.user_ns if self.shell else {}
            self.answer = InProcess({name: space[name] for name in self.names if name in space})
        try:
            value = self.answer.ask(PROBES[probe], cpu_seconds=cpu_seconds, **request)
            return {"value": wire.fold(value) if probe == player.FOLDED else value}
        except AnswerError as error:
            return {"error": texts(error)}
        except Unjudged as error:
            return {"error": {"what": str(error)}}

    def hold(self, names, alone):
        """Be a player: hold what the student's cell commits to, in place of a notebook's objects."""
        self.objects = player.prepare(self.channel, names, alone)
        return {"value": None}

    def perform(self, probe, request):
        """Perform a probe beside what a student has committed to."""
        from densenet_course.checks.engine.answer import PROBES, perform
        from densenet_course.checks.engine.state import preserved

        for source in self.objects.values():
            source.reuse, source.trains = probe.endswith(player.ONE_FOR_ALL), probe.endswith(player.TRAINED)
        with preserved():
            reply = perform(self.objects, PROBES[probe], request)
        refused = next((source.refused for source in self.objects.values() if source.refused), "")
        return {"refused": refused} if refused else reply


def _unpack(files):
    """Write the given part of the course, and let imports find it, also below packages that are there already."""
    import densenet_course
    from densenet_course import grading

    root = Path.cwd() / "course"
    folders = {folder for name in files for folder in Path(name).parents}
    for folder in sorted(folders):
        (root / folder).mkdir(exist_ok=True)
        package = sys.modules.get(".".join([densenet_course.__name__, *folder.parts]))
        if package is not None:
            package.__path__.append(str(root / folder))
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    del grading.__path__[:]  # nothing of the grader is for the notebook
    from densenet_course.checks.engine import timelimit
    timelimit.IDLE_SECONDS = IDLE_SECONDS


def _interpreter():
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    InteractiveShell.enable_gui = lambda self, gui=None: None  # "%matplotlib inline" asks for it
    InteractiveShell.ask_exit = lambda self: None  # "exit()" in a notebook ends nothing here
    settings = Config(HistoryManager={"enabled": False}, InteractiveShell={"colors": "NoColor"})
    return InteractiveShell.instance(config=settings)


def _told(error):
    try:
        return f"{type(error).__name__}: {error}"[:MAX_ERROR]
    except BaseException:  # an error that cannot be written
        return "an error that cannot be written"
