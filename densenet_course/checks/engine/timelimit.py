"""Stop an answer that does not come back."""

import contextlib
import ctypes
import threading
import time

CPU_SECONDS = 6.0  # an endless loop burns CPU time, a busy machine does not
WALL_SECONDS = 18.0  # a sleep, or a machine that is very busy
GRACE_SECONDS = 0.5


class OutOfTime(BaseException):
    """Raised inside the answer's thread; no ``except Exception`` of the learner catches it."""


def call_with_limit(function, *, cpu_seconds=CPU_SECONDS, wall_seconds=WALL_SECONDS):
    """Call a function in a thread of its own, and give it up when its time is over.

    Works on every system and in every thread, unlike signals. A thread that cannot be stopped (a sleep, a loop that
    catches everything) is left behind; it ends with the process.

    Args:
        function: called without arguments; it must not raise.
        cpu_seconds: CPU time of this process after which an endless loop is assumed.
        wall_seconds: time on the clock after which the answer is given up in any case.

    Returns:
        What the function returns.

    Raises:
        TimeoutError: the time is over.
    """
    outcome = []

    def target():
        with contextlib.suppress(OutOfTime):
            outcome.append(function())

    thread = threading.Thread(target=target, daemon=True)
    cpu, wall = time.process_time(), time.monotonic()
    thread.start()
    while True:
        thread.join(0.05)
        if not thread.is_alive():
            break
        if time.process_time() - cpu > cpu_seconds or time.monotonic() - wall > wall_seconds:
            _stop(thread)
            raise TimeoutError
    if not outcome:
        raise TimeoutError  # ended by an exception that was meant for it
    return outcome[0]


def _stop(thread):
    deadline = time.monotonic() + GRACE_SECONDS
    while thread.is_alive() and time.monotonic() < deadline:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(OutOfTime))
        thread.join(0.02)
