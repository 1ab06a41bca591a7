"""What a lesson's cells need in order to teach, and nothing else needs."""

import contextlib
import io
import logging
import os
import socket
import tempfile
from contextlib import contextmanager


@contextmanager
def needs_network(otherwise, *, seconds=5):
    """Let a cell download something; where there is no network, print a sentence and go on behind the block.

    What the download itself prints is dropped: it names folders of this machine.

    Args:
        otherwise: what does not happen without a network, for instance "the picture is not classified".
        seconds: to wait for an answer.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except OSError:
        print(f"Offline: {otherwise}. Nothing else in this lesson needs it.")
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def expected(kind):
    """Let a cell that is wrong on purpose fail, and print its error in place of a traceback.

    Args:
        kind: the class of the exception that must come, or a tuple of classes.

    Raises:
        AssertionError: nothing was raised. An exception of another kind passes through.
    """
    try:
        yield
    except kind as error:
        print(f"{type(error).__name__}: {error}")
    else:
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise AssertionError(f"expected {names}, but nothing was raised")


@contextmanager
def cold_compile(otherwise):
    """Let ``torch.compile`` start with an empty cache; where it does not work, print a sentence and go on.

    Args:
        otherwise: what does not happen without a compiler, for instance "torch.compile was not measured".
    """
    variable = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(variable)
    logging.disable(logging.WARNING)  # hints about what this machine lacks
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            os.environ[variable] = folder
            try:
                yield
            except Exception as error:  # no compiler, or none that fits: many kinds, none of them the learner's fault
                print(f"{otherwise}: it does not work on this machine ({type(error).__name__}).")
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before
