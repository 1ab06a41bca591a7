"""A pytest plugin for what nbval alone lets pass: an unknown magic.

It also starts a kernel again that died at its start. Jupyter chooses a kernel's ports before the kernel takes them; now
and then another process is quicker.
"""

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

STARTS = 3


class PatientKernel(RunningKernel):
    """nbval's kernel, started up to three times, each time on other ports."""

    def __init__(self, *args, **options):
        for starts_left in reversed(range(STARTS)):
            try:
                super().__init__(*args, **options)
                break
            except RuntimeError as error:
                if not starts_left or "Kernel died before replying" not in str(error):
                    raise


def pytest_configure():
    """Let nbval use it."""
    nbval.plugin.RunningKernel = PatientKernel


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Look at what a notebook's cell has put out."""
    result = yield
    for output in getattr(item, "test_outputs", ()):  # of nbval's cells
        if output.output_type == "stream" and output.name == "stderr" and "UsageError:" in output.text:
            item.raise_cell_error(output.text)  # IPython reports an unknown magic as text only, and goes on
    return result
