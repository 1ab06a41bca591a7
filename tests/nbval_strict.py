"""A pytest plugin for what nbval alone lets pass: an unknown magic, a picture that is missing or says nothing.

It also starts a kernel again that died at its start. Jupyter chooses a kernel's ports before the kernel takes them; now
and then another process is quicker.
"""

import re

import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

STARTS = 3
PICTURE = re.compile(r'<img\b[^>]*?\balt="[^"]{20,}"')  # with alt text


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
    stored = pictures(item.cell.outputs) if hasattr(item, "cell") else 0
    if stored and (shown := pictures(item.test_outputs)) < stored:
        item.raise_cell_error(f"expected {stored} pictures with alt text, as are stored; got {shown}")
    return result


def pictures(outputs):
    """Count the pictures with alt text in a cell's outputs."""
    return sum(len(PICTURE.findall(output.get("data", {}).get("text/html", ""))) for output in outputs or ())
