"""What a lesson's cells need in order to teach, and nothing else needs."""

from contextlib import contextmanager


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
