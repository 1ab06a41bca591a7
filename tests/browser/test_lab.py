"""JupyterLab as a learner sees it: lesson 03, freshly opened, run to its end in a real browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from looks import PATIENCE, open_page
from test_site import tagged

ROOT = Path(__file__).resolve().parents[2]
LESSON = "03_dense_block.ipynb"
SCREEN = {"width": 1280, "height": 900}

ERROR = '[data-mime-type$="error"], [data-mime-type$="stderr"]'
# One entry for each code cell, in order. A cell whose source is folded away has no prompt.
CELLS = """error => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell => {
  const output = cell.querySelector('.jp-Cell-outputWrapper');
  return {prompt: cell.querySelector('.jp-InputPrompt')?.textContent.trim(),
          folded: !!cell.querySelector('.jp-OutputPlaceholder'),
          height: output ? output.getBoundingClientRect().height : 0,
          error: !!cell.querySelector(error)};
})"""
ALL_THERE = "count => document.querySelectorAll('.jp-Notebook .jp-CodeCell').length === count"
ALL_RUN = """() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')]
  .every(prompt => /^(|\\[\\d+\\]:)$/.test(prompt.textContent.trim()))"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with this environment's settings, and none of the user's."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / LESSON, folder / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    homes = {name: str(folder / name) for name in (
        "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
        "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR",
    )}  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
               f"--ServerApp.root_dir={folder / 'notebooks'}", "--IdentityProvider.token="]
    address = f"http://127.0.0.1:{port}/"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=dict(os.environ, **homes), cwd=ROOT, stdout=log, stderr=log)
        try:
            wait_for(f"{address}api", server, folder / "log")
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(url, server, log, seconds=PATIENCE / 1000):
    """Wait until a server answers."""
    last = time.monotonic() + seconds
    while time.monotonic() < last and server.poll() is None:
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"no JupyterLab at {url}:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def runs(browser, lab, code):
    """The page of lesson 03, and its cells before and after a run."""
    page = open_page(browser, viewport=SCREEN)
    page.goto(f"{lab}lab/tree/{LESSON}")
    page.wait_for_function(ALL_THERE, arg=len(code["cells"]))
    page.locator('[data-status="idle"]').first.wait_for(timeout=PATIENCE)
    before = page.evaluate(CELLS, ERROR)
    page.locator(".jp-Notebook").first.click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator('[data-status="busy"]').first.wait_for(timeout=PATIENCE)
    page.wait_for_function(ALL_RUN)
    page.wait_for_timeout(1000)  # the last output is drawn
    yield page, before, page.evaluate(CELLS, ERROR)
    page.close()


@pytest.fixture(scope="module")
def code():
    """The lesson's code cells as they are stored."""
    book = json.loads((ROOT / "notebooks" / LESSON).read_text(encoding="utf-8"))
    return dict(book, cells=[cell for cell in book["cells"] if cell["cell_type"] == "code"])


def test_the_lesson_runs_to_its_end(runs, code):
    _, before, after = runs
    assert len(before) == len(after) == len(code["cells"])
    assert not [cell for cell in after if cell["error"]]


def test_answers_are_folded_before_and_open_after_running(runs, code):
    _, before, after = runs
    answers = [code["cells"].index(cell) for cell in tagged(code, "hide-output")]
    assert len(answers) > 5
    assert [number for number, cell in enumerate(before) if cell["folded"]] == answers
    assert [number for number, cell in enumerate(after) if cell["folded"]] == []
    assert all(after[number]["height"] > 10 for number in answers if code["cells"][number]["outputs"])


def test_no_output_is_taller_than_the_screen(runs):
    _, _, after = runs
    assert [cell for cell in after if cell["height"] > SCREEN["height"]] == []


def test_every_picture_says_what_it_shows(runs):
    page, _, _ = runs
    pictures = page.locator(".jp-OutputArea-output img").all()
    assert len(pictures) > 2
    assert [one.get_attribute("src")[:40] for one in pictures if len(one.get_attribute("alt") or "") < 20] == []


def test_nobody_asks_about_news_or_shows_instructors_tools(runs):
    page, _, _ = runs
    assert page.get_by_text("Would you like to get notified about official Jupyter news?").count() == 0
    assert page.get_by_role("menuitem", name="Nbgrader").count() == 0
    assert page.get_by_role("button", name="Validate").count() == 0


def test_the_explorer_computes_in_the_notebook(runs):
    page, _, _ = runs
    explorer = page.locator(".jp-OutputArea-output .dnx")
    explorer.get_by_text("How many links are there?").wait_for()
    explorer.get_by_label("cut the link from layer 2.1 to transition 2").check()
    assert "1 of 36 links cut" in explorer.locator(".dnx-sticky").inner_text()
    explorer.get_by_role("button", name="Put all back").click()
    explorer.locator(".dnx-image canvas").focus()
    page.keyboard.press("ArrowDown")  # moves the pen, and not to the notebook's next cell
    assert page.evaluate("document.activeElement.matches('.dnx-image canvas')")
    explorer.locator(".dnx-row input[type=radio]").nth(3).focus()
    page.keyboard.press("ArrowDown")  # chooses the next part, as in any group of radio buttons
    assert page.evaluate("document.activeElement.matches('.dnx-row input:checked')")
