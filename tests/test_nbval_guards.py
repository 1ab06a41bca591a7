"""nbval, with the options of ``make test``, fails on what must fail: tried on notebooks of one to three cells."""

import os
import subprocess
import sys
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat import v4

from tests import nbval_strict, run_all

SECONDS = 5  # instead of the ten minutes that a cell may take in `make test`


def code(source, *, tags=(), text=None):
    """Return an executed code cell with a printed text as its stored output."""
    outputs = [] if text is None else [v4.new_output("stream", name="stdout", text=text)]
    return v4.new_code_cell(source, metadata={"tags": list(tags)}, outputs=outputs, execution_count=1)


def broken(source):
    """Return a cell that breaks something on purpose."""
    return code(f"from densenet_course.lesson import expected\nwith expected(ZeroDivisionError):\n    {source}")


def drawn(alt):
    """Return a cell that puts out an image now, and stored one with alt text."""
    html = [f'<img alt="{words}" src="data:,">' for words in (alt, "Two bars, the left one twice as high.")]
    stored = v4.new_output("display_data", data={"text/html": html[1], "text/plain": ""})
    return v4.new_code_cell(f"from IPython.display import HTML, display\ndisplay(HTML({html[0]!r}))", outputs=[stored],
                            execution_count=1)


COMPARED = ["nbval-check-output"]
# name: (cells, what the report says of the first cell that fails)
NOTEBOOKS = {
    "good": ([code("print(4)", tags=COMPARED, text="4\n"), broken("1 / 0")], None),
    "changed": ([code("print(4)", tags=COMPARED, text="5\n")], "Cell outputs differ"),
    "error": ([code("1 / 0")], "ZeroDivisionError"),
    "dead_kernel": ([code("import os"), code("os._exit(1)"), code("print(4)")], f"Timeout of {SECONDS} seconds"),
    "hanging": ([code("import time"), code("while True: time.sleep(0.1)")], f"Timeout of {SECONDS} seconds"),
    "unknown_magic": ([code("%no_such_magic 1")], "`%no_such_magic` not found"),
    "silent": ([broken("4")], "expected ZeroDivisionError, but nothing was raised"),
    "other_error": ([broken("{}['k']")], "KeyError"),
    "picture": ([drawn("Two bars of the same height.")], None),
    "mute_picture": ([drawn("")], "expected 1 pictures with alt text, as are stored; got 0"),
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """Run all the notebooks as ``make test`` does, but with a short limit for a cell; return the failures' texts."""
    folder = tmp_path_factory.mktemp("nbval")
    for name, (cells, _) in NOTEBOOKS.items():
        nbformat.write(v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    options = [*run_all.NBVAL, f"--nbval-cell-timeout={SECONDS}", f"--rootdir={folder}", "-p", "no:cacheprovider"]
    report = folder / "report.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *sorted(map(str, folder.glob("*.ipynb")))],
        cwd=run_all.ROOT,
        env=dict(os.environ, IPYTHONDIR=str(folder / "ipython")),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr  # what CI sees
    texts = dict.fromkeys(NOTEBOOKS, "")
    cells = ElementTree.parse(report).findall(".//testcase")
    assert {cell.get("classname").split(".")[0] for cell in cells} == set(NOTEBOOKS)
    for cell in cells:
        problems = [*cell.findall("failure"), *cell.findall("error")]  # errors: the kernel did not start
        texts[cell.get("classname").split(".")[0]] += "".join(problem.text for problem in problems)
    return texts


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nbval_fails_where_it_must(failures, name):
    expected = NOTEBOOKS[name][1]
    if expected is None:
        assert failures[name] == ""
    else:
        assert expected in failures[name]


@pytest.mark.parametrize("message, deaths, starts", [
    ("Kernel died before replying to kernel_info", 2, 3),
    ("Kernel died before replying to kernel_info", 3, None),
    ("Kernel didn't respond in 60 seconds", 1, None),
])
def test_a_kernel_that_died_at_its_start_is_started_again(monkeypatch, message, deaths, starts):
    calls = []

    def start(self):
        calls.append(self)
        if len(calls) <= deaths:
            raise RuntimeError(message)

    monkeypatch.setattr(nbval_strict.RunningKernel, "__init__", start)
    if starts:
        nbval_strict.PatientKernel()
        assert len(calls) == starts
    else:
        with pytest.raises(RuntimeError, match=message):
            nbval_strict.PatientKernel()
        assert len(calls) == deaths
