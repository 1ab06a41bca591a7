"""Keep an answer's side effects away from the judge, and the judge's away from the notebook."""

import contextlib
import os
import random
import sys
import warnings

import numpy
import torch


@contextlib.contextmanager
def preserved():
    """Run the body under PyTorch's ordinary settings, silently, and put everything back afterwards.

    Settings: seeds of Python, NumPy and torch, default dtype and device, number of threads, limit of recursion,
    warnings, and those of ``ordinary``. Silently: nothing reaches stdout or stderr, neither from Python nor from C. All
    of them but those of ``ordinary`` belong to the whole process, so a thread that may be left behind must not use
    this.
    """
    seeds = random.getstate(), numpy.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
    recursion, set_recursion = sys.getrecursionlimit(), sys.setrecursionlimit  # the answer may replace that one
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)  # the CPU; named, it would slow down every call of torch's
    try:
        with silenced(), warnings.catch_warnings(), ordinary():
            warnings.simplefilter("ignore")
            yield
    finally:
        set_recursion(recursion)
        torch.set_default_dtype(dtype)
        torch.set_default_device(device if device.type != "cpu" else None)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        random.setstate(seeds[0])
        numpy.random.set_state(seeds[1])  # noqa: NPY002
        torch.set_rng_state(seeds[2])


@contextlib.contextmanager
def ordinary():
    """Run the body with gradients, without inference mode and without autocast: what each thread has of its own.

    An autocast inside must not cache its weights: the cache is cleared where the outermost autocast ends, which is this
    one, so a training inside would go on with the weights of its first step.
    """
    with (
        torch.inference_mode(False), torch.enable_grad(),
        torch.autocast("cpu", enabled=False, cache_enabled=False),
        torch.autocast("cuda", enabled=False, cache_enabled=False),
    ):
        yield


@contextlib.contextmanager
def silenced():
    """Drop what the body writes: to ``sys.stdout`` and ``sys.stderr``, and to the file descriptors under them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a learner may have closed it
            stream.flush()
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
        for descriptor in (1, 2):
            try:
                kept = os.dup(descriptor)
            except OSError:  # no such descriptor, as in a windowed program
                continue
            stack.callback(_quietly, os.close, kept)
            stack.callback(_quietly, os.dup2, kept, descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


def _quietly(function, *arguments):
    """Put something back; the body may have closed the descriptor that was kept."""
    with contextlib.suppress(OSError):
        function(*arguments)
