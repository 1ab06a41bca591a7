"""A pytest plugin for what nbval alone lets pass: a promised exception that never comes, and an unknown magic.

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
    if hasattr(item, "test_outputs"):  # one of nbval's cells
        problem = find_problem(item)
        if problem:
            item.raise_cell_error(problem)
    return result


def find_problem(item):
    """Return what is wrong with a cell that nbval passed, or None."""
    for output in item.test_outputs:
        if output.output_type == "stream" and output.name == "stderr" and "UsageError:" in output.text:
            return output.text  # IPython reports an unknown magic as text only, and goes on
    stored, raised = error_names(item.cell.outputs), error_names(item.test_outputs)
    if item.options["check_exception"] and raised != stored:
        return f"Expected to raise {stored or 'nothing'}, raised {raised or 'nothing'}"
    return None


def error_names(outputs):
    """Return the names of the exceptions among a cell's outputs."""
    return [output.ename for output in outputs if output.output_type == "error"]
