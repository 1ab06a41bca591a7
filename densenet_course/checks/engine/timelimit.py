"""Stop an answer that does not come back."""

import contextlib
import ctypes
import importlib
import sys
import threading
import time

CPU_SECONDS = 4.0  # an endless loop burns them on any machine; another program's load does not count
IDLE_SECONDS = 12.0  # of doing nothing: a sleep, or waiting for what never comes
WALL_FACTOR = 30  # clock seconds for each CPU second: the end in any case
SPARED_SECONDS = 30.0  # that imports may take
GRACE_SECONDS = 1.0
BETWEEN_THROWS = 0.1
TICK = 0.05
SPARE_FRAMES = 50
STIR = 0.1  # CPU seconds: whoever used less was idle, or held up
HELD_UP = 0.25  # of the CPU time that another thread gets meanwhile: whoever gets more computes


class OutOfTime(BaseException):
    """Raised inside the answer's thread; no ``except Exception`` of the learner catches it."""


class TimeIsUp(TimeoutError):
    """The time of a call is over.

    Args:
        limit: which limit was met and how long it was, as the end of a sentence.
        computing: False when the thread did nothing.
        stopped: False for a thread that could not be stopped.
    """

    def __init__(self, limit, *, computing=True, stopped=True):
        super().__init__(limit)
        self.computing, self.stopped = computing, stopped


def call_with_limit(function, *, cpu_seconds=None, idle_seconds=None):
    """Call a function in a thread of its own, and give it up when its time is over.

    Works on every system and in every thread, unlike signals. A thread that cannot be stopped (a sleep, a loop that
    catches everything) is left behind; it ends with the process.

    Args:
        function: called without arguments; it must not raise.
        cpu_seconds: CPU time of its thread after which an endless loop is assumed; by default ``CPU_SECONDS``.
        idle_seconds: time on the clock without any computing; by default ``IDLE_SECONDS``.

    Returns:
        What the function returns.

    Raises:
        TimeIsUp: the time is over.
        RuntimeError: no thread can be started.
    """
    outcome, clock = [], Clock()

    def target():
        clock.begin()
        outcome.append(_called_below(frames, function))

    frames = _enough_frames()
    thread = _Stoppable(target=target, daemon=True)
    thread.start()
    cpu_seconds = CPU_SECONDS if cpu_seconds is None else cpu_seconds
    idle_seconds = IDLE_SECONDS if idle_seconds is None else idle_seconds
    try:
        while thread.is_alive():
            thread.join(TICK)
            limit, computing = clock.over(cpu_seconds, idle_seconds)
            if limit and thread.is_alive():
                thread.stop()
                raise TimeIsUp(limit, computing=computing, stopped=not thread.is_alive())
    except TimeIsUp:
        raise
    except BaseException:  # something was thrown into this thread, by Ctrl-C for instance
        thread.stop()
        raise
    if not outcome:
        raise TimeIsUp("in time")  # ended by an exception that was meant for it
    return outcome[0]


def _enough_frames():
    """Return how many frames a thread needs so that it is deeper than this one.

    The limit of recursion is one for all threads. Python lets none set it below its own depth; but where the answer's
    thread could set it below that of the judge's, the judge could call nothing more, not even to clean up.
    """
    frames, frame = 0, sys._getframe()
    while frame is not None:
        frames, frame = frames + 1, frame.f_back
    return min(2 * frames + SPARE_FRAMES, sys.getrecursionlimit() // 2)  # C's calls count, and have no frame


def _called_below(frames, function):
    return _called_below(frames - 1, function) if frames else function()


class Clock:
    """The time that a thread has used; what it imports is not counted, for PyTorch loads its compiler on first use."""

    def __init__(self):
        self.read, self.own = time.process_time, False  # where a thread has no clock of its own
        self.started = threading.Event()

    def begin(self):
        """Start in the thread that is to be watched."""
        with contextlib.suppress(AttributeError, OSError):  # Windows and macOS have no such clock
            number = time.pthread_getcpuclockid(threading.get_ident())
            time.clock_gettime(number)
            self.read, self.own = lambda: time.clock_gettime(number), True
        self.last = self.start = self.stirred = self.read()
        self.thread, self.spared = threading.get_ident(), 0.0
        self.born = self.awake = time.monotonic()
        self.started.set()

    def over(self, cpu_seconds, idle_seconds):
        """Say which limit is met, "" for none, and whether the thread computes."""
        if not self.started.is_set():
            return "", True
        try:
            cpu, now = self.read(), time.monotonic()
        except OSError:  # the thread has just ended
            return "", True
        self._spare_imports(cpu)
        if cpu - self.stirred > STIR:
            self.stirred, self.awake = cpu, now
        if cpu - self.start - self.spared > cpu_seconds:
            return f"within {cpu_seconds:g} seconds of computing", True
        if now - self.awake > idle_seconds and self._is_held_up():
            self.stirred, self.awake = cpu, time.monotonic()
        elif now - self.awake > idle_seconds:
            return f"and did nothing for {idle_seconds:g} seconds", False
        if now - self.born > WALL_FACTOR * cpu_seconds + 2 * self.spared:
            return f"within {now - self.born:.0f} seconds", True
        return "", True

    def _is_held_up(self):
        """Tell whether the thread computes as much as it is let: beside busy programs it may get next to nothing.

        The thread that asks computes a little itself, however long that takes here; who computes, too, gets as much.
        """
        try:
            start, before = time.thread_time(), self.read()
            while time.thread_time() - start < STIR:
                pass
            spent, after = time.thread_time() - start, self.read()
        except OSError:  # the thread has just ended
            return True
        return after - before - (0 if self.own else spent) > HELD_UP * spent

    def _spare_imports(self, cpu):
        if self.spared < SPARED_SECONDS and _is_importing(self.thread):
            self.spared += cpu - self.last
            self.awake = time.monotonic()
        self.last = cpu


def _is_importing(thread):
    """Tell whether a thread holds the lock of a module it loads; the frames of one that runs are not safe to read."""
    locks = [reference() for reference in list(importlib._bootstrap._module_locks.values())]
    return any(getattr(lock, "owner", None) == thread for lock in locks)


class _Stoppable(threading.Thread):
    """A thread into which ``OutOfTime`` can be thrown while its target runs."""

    def __init__(self, **options):
        super().__init__(**options)
        self._door, self._left = threading.Lock(), False

    def run(self):
        """Run the target, and nothing that is thrown leaves."""
        try:
            with contextlib.suppress(OutOfTime):
                super().run()
            self._leave()
        except OutOfTime:  # it arrived on the way out
            self._leave()

    def _leave(self):
        with self._door:
            self._left = True
            _throw(self.ident, None)  # takes back what was thrown and has not arrived

    def stop(self):
        """Throw until the thread ends or ``GRACE_SECONDS`` are over: a finaliser or the answer may swallow one."""
        _hush()
        deadline = time.monotonic() + GRACE_SECONDS
        while self.is_alive() and time.monotonic() < deadline:
            with self._door:
                if not self._left:
                    _throw(self.ident, OutOfTime)
            self.join(BETWEEN_THROWS)


def _throw(thread, exception):
    what = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


def _hush():
    """Let nothing be printed where the exception arrives in a finaliser: Python goes on, and it is thrown again."""
    if getattr(sys.unraisablehook, "hushed", False):
        return
    before = sys.unraisablehook

    def hook(unraisable):
        if unraisable.exc_type is not OutOfTime:
            before(unraisable)

    hook.hushed = True
    sys.unraisablehook = hook
