"""Judge orders side by side: processes of this machine, or the workers of a Dask cluster; one loop for both."""

import hashlib
import importlib.metadata
import multiprocessing
import os
import pkgutil
import signal
import threading
import time
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from densenet_course.grading.verdict import GRADED, INFRA, Order, Verdict

WORKER = "densenet_course.grading.judging:Worker"
TRIES = 3
CHECKED_EVERY = 50  # orders of one worker
RIGHT = """\
def count_connections(n):
    return n * (n + 1) // 2

def channels_after(c, n, k):
    return c + n * k
"""
WRONG = RIGHT.replace("+ n * k", "+ n")
_own = threading.local()  # the worker of this thread: a Dask worker may have several


@cache
def checks_version():
    """Return what a verdict depends on, as a short digest: the checks, and the half of the grader that judges."""
    package, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted([*package.glob("checks/**/*.py"), *package.glob("grading/*.py")]):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def torch_version():
    """Return PyTorch's version."""
    return importlib.metadata.version("torch")


def perform(order, *, isolated, worker, version):
    """Judge one order in this process; nothing raises but a version that is not the one asked for.

    Returns:
        (``Verdict``, seconds, PyTorch's version).

    Raises:
        RuntimeError: this machine has other checks than the one that asks.
    """
    if checks_version() != version:
        raise RuntimeError("a worker has another version of the course: install the same one on every machine")
    start, reason = time.monotonic(), ""
    for _ in range(TRIES):
        try:
            verdict = _worker(worker, isolated).judge(order)
            break
        except Exception as error:  # ours: the student's never reach this process
            reason = f"{type(error).__name__}: {error}"[:500]
            dismiss()
    else:
        verdict = infra(reason, isolated)
    if verdict.status == INFRA:
        dismiss()
    return verdict, time.monotonic() - start, torch_version()


def infra(reason, isolated):
    """Return the verdict that is none: our side failed."""
    return Verdict(INFRA, isolation="full" if isolated else "none", notes=(reason,))


def _worker(name, isolated):
    """Return this thread's worker, made on first use; it is tried on a right and a wrong answer now and then."""
    if getattr(_own, "worker", None) is None:
        _own.worker, _own.count = pkgutil.resolve_name(name)(isolated=isolated).__enter__(), 0
    if _own.count % CHECKED_EVERY == 0:
        _try_out(_own.worker)
    _own.count += 1
    return _own.worker


def _try_out(worker):
    """Judge a known right and a known wrong answer.

    Raises:
        RuntimeError: a verdict is not what it should be.
    """
    for source, right in ((RIGHT, True), (WRONG, False)):
        verdict = worker.judge(Order("connections", (source,), 0))
        if verdict.status != GRADED or (verdict.points == verdict.max_points) is not right:
            raise RuntimeError(f"the grader's own test failed: a {'right' if right else 'wrong'} answer was "
                               f"{verdict.status} with {verdict.points:g} points. {' '.join(verdict.notes)}")


def dismiss():
    """Close this thread's worker, if it has one; the next order gets a new one."""
    worker, _own.worker = getattr(_own, "worker", None), None
    if worker is not None:
        worker.__exit__(None, None, None)


@contextmanager
def processes(size):
    """Give an executor of that many processes of this machine, which end with this one, however it ends."""
    with ProcessPoolExecutor(size, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's, which ends the others
    multiprocessing.util.Finalize(None, dismiss, exitpriority=10)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


@contextmanager
def cluster(address, size):
    """Give an executor of the workers of a Dask cluster.

    Raises:
        ValueError: distributed is not installed.
        OSError: nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--scheduler needs distributed: python -m pip install 'densenet-course[grading]'") from None
    with Client(address) as client:
        yield client.get_executor(pure=False, retries=0)


def workers_of(address):
    """Return how many orders a Dask cluster judges at a time."""
    from distributed import Client

    with Client(address) as client:
        return max(1, sum(client.nthreads().values()))


def judge_all(orders, pool_of, size, *, isolated, worker=WORKER):
    """Judge orders, each once; whoever may have ended a worker is judged alone, and tried three times at most.

    Args:
        orders: key → ``Order``, or a function that makes it.
        pool_of: gives an executor for a number of orders at a time.
        size: that number.
        isolated: whether each is run in a sandbox.
        worker: "module:name" of what judges.

    Yields:
        (key, ``Verdict``, seconds, PyTorch's version), in the order in which they come.
    """
    task = partial(perform, isolated=isolated, worker=worker, version=checks_version())
    waiting, suspects, tries = deque(orders), deque(), Counter()
    while waiting or suspects:
        alone = not waiting
        queue = suspects if alone else waiting
        for key, done, error in _in_one_pool(queue, orders, task, pool_of, 1 if alone else size):
            if error is None:
                yield key, *done
                continue
            tries[key] += 1
            if tries[key] < TRIES:
                suspects.append(key)
            else:
                yield key, infra(error, isolated), 0.0, torch_version()


def _in_one_pool(queue, orders, task, pool_of, size):
    """Yield (key, result, error in words or None) until the queue is empty or the pool has lost a process."""
    running, broken = {}, False
    with pool_of(size) as pool:
        while (queue or running) and not broken:
            try:
                while queue and len(running) < (2 * size if size > 1 else 1):
                    running[pool.submit(task, orders[queue[0]])] = queue[0]
                    queue.popleft()
            except BrokenExecutor:  # by one of those that are running; the one at hand has not begun
                broken = True
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                broken = broken or isinstance(error, BrokenExecutor)
                words = None if error is None else f"{type(error).__name__}: {error}"[:500]
                yield running.pop(future), future.result() if error is None else None, words
    for key in running.values():
        yield key, None, "the process that judged ended"
