"""Every way in that another tool than ``bootstrap.py`` offers, tried in an empty environment of its own.

Each of them links or fetches gigabytes: `make test` leaves them out and says so, CI has a job for them. Versions are
the lock's where the tool can be told so: what is tried is the way in, from what is downloaded already, and no release
of today.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib

import pytest

import bootstrap
import lock
from densenet_course.checks import EXERCISES
from tests import checkout
from tests.checkout import ROOT

LESSON = "09_memory_and_speed"  # reads measurements that only a clone has outside the package
# Of the user's other work, or of this checkout.
NOT_INHERITED = {"VIRTUAL_ENV", "CONDA_PREFIX", "PIP_REQUIRE_VIRTUALENV", *bootstrap.NOT_FOR_UV}


def run(command, folder):
    """Run a command in a folder; return what it printed, or fail with it."""
    variables = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    variables["PYTHONPATH"] = str(ROOT / ".uv")  # where the set-up puts uv if it is not installed, and nothing else
    variables["DENSENET_COURSE_DATA"] = os.environ.get("DENSENET_COURSE_DATA", str(ROOT / "data"))
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def uv():
    """The command that runs uv."""
    return bootstrap.find_uv()[0]


@pytest.fixture(scope="module")
def versions():
    """The lines of requirements.lock without hashes."""
    text = lock.unmark((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    return [line.removesuffix(" \\") for line in text.splitlines() if "==" in line.partition(" ")[0]]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what git tracks, as a clone of the next commit would be."""
    folder = tmp_path_factory.mktemp("clone")
    checkout.copy(folder)
    return folder


@pytest.fixture(scope="module")
def pinned(clone, versions):
    """The clone, with the lock's versions as uv's constraints."""
    path = clone / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[tool.uv]\n", f"[tool.uv]\nconstraint-dependencies = {json.dumps(versions)}\n"),
                    encoding="utf-8")
    assert tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["uv"]["constraint-dependencies"] == versions
    return clone


def asks_nobody_about_news(environment):
    """JupyterLab's defaults for this environment are the course's."""
    settings = environment / "share" / "jupyter" / "lab" / "settings" / "overrides.d" / "densenet-course.json"
    assert "fetchNews" in settings.read_text(encoding="utf-8")


def test_uv_run_starts_jupyterlab_in_a_clone_with_d2l_and_without_nbgrader(uv, pinned):
    start = [*uv, "run", "--quiet", "--python", f"{sys.version_info[0]}.{sys.version_info[1]}"]
    assert run([*start, "jupyter", "lab", "--version"], pinned).startswith("4.")
    code = "import d2l.torch, importlib.util as u; print([u.find_spec(one) for one in ('nbgrader', 'pytest')])"
    assert run([*start, "python", "-c", code], pinned).strip() == "[None, None]"
    run([*start, "densenet-course", "doctor"], pinned)
    asks_nobody_about_news(pinned / ".venv")
    shutil.rmtree(pinned / ".venv")


def test_pip_resolves_the_lab(tmp_path, clone):
    """pip itself, without uv's overrides and with today's versions; it asks for their metadata only."""
    report = tmp_path / "report.json"
    run([bootstrap.PYTHON, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", report,
         f"{clone}[lab]"], tmp_path)
    found = {one["metadata"]["name"].lower() for one in json.loads(report.read_text(encoding="utf-8"))["install"]}
    assert {"densenet-course", "torch", "jupyterlab", "jupytext"} <= found and "d2l" not in found


@pytest.fixture(scope="module")
def installed(uv, versions, tmp_path_factory):
    """An empty environment with the wheel of this checkout and its lab; returns the environment's Python."""
    folder = tmp_path_factory.mktemp("installed")
    run([*uv, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], folder)
    run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "env"], folder)
    python = next(path for path in (folder / "env/bin/python", folder / "env/Scripts/python.exe") if path.exists())
    (folder / "versions.txt").write_text("\n".join(versions), encoding="utf-8")
    (wheel,) = folder.glob("*.whl")
    install = [*uv, "pip", "install", "--quiet", "--python", python]
    run([*install, "-c", folder / "versions.txt", f"{wheel}[lab]"], folder)
    return python


def test_a_lesson_runs_from_the_package_alone(installed, tmp_path):
    asks_nobody_about_news(installed.parents[1])
    shutil.copy(ROOT / "notebooks" / f"{LESSON}.ipynb", tmp_path)
    run([installed, "-m", "nbconvert", "--to", "notebook", "--execute", "--output", "done",
         "--ExecutePreprocessor.timeout=900", f"{LESSON}.ipynb"], tmp_path)
    cells = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")


def test_exercises_are_released_from_the_package_alone(installed, tmp_path):
    command = [installed, "-m", "densenet_course.cli", "release"]
    run([*command, "out"], tmp_path)
    run([*command, "--nbgrader", "course"], tmp_path)
    for folder in (tmp_path / "out", tmp_path / "course" / "source" / "densenet"):
        assert len(list(folder.glob("*.ipynb"))) == len(EXERCISES)
    assert (tmp_path / "course" / "nbgrader_config.py").exists()
