"""The set-up: finished once and then instant, repaired after an interruption, and errors that name the remedy."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import bootstrap

SOURCE = Path(bootstrap.__file__)
# Stands in for uv: writes down how it was called, makes the environment's Python, fails when told to.
FAKE_UV = """
import pathlib, sys
here = pathlib.Path(__file__).parent
with open(here / "calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "venv":
    python = pathlib.Path(sys.argv[-1]) / PYTHON
    python.parent.mkdir(parents=True)
    python.touch()
failure = here / "fail"
if sys.argv[1] == "pip" and failure.exists():
    print(failure.read_text())
    sys.exit(2)
""".replace("PYTHON", repr(bootstrap.venv_python().relative_to(bootstrap.VENV).as_posix()))


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A repository of two files in a folder of its own, with a uv that only pretends."""
    root, tools = tmp_path / "the course", tmp_path / "tools"
    use_root(monkeypatch, root)
    tools.mkdir()
    root.mkdir()
    for name in ("requirements.lock", "pyproject.toml"):
        (root / name).write_text(name)
    (tools / "uv.py").write_text(FAKE_UV)
    monkeypatch.setattr(bootstrap, "find_uv", lambda: ([sys.executable, str(tools / "uv.py")], None))
    monkeypatch.setattr(bootstrap, "check_space", lambda uv, environment: None)
    return SimpleNamespace(root=root, fail=tools / "fail", calls=lambda: read_and_clear(tools / "calls"))


def use_root(monkeypatch, root):
    for name, path in (("ROOT", root), ("VENV", root / ".venv"), ("STAMP", root / ".venv" / bootstrap.STAMP.name)):
        monkeypatch.setattr(bootstrap, name, path)


def read_and_clear(path):
    """Return the first words of the calls since last time."""
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.split(" --")[0] for line in lines]


def pretend_python(monkeypatch, *version, platform=sys.platform):
    fake = SimpleNamespace(version_info=(*version, 0, "final", 0), executable="/usr/bin/python3", platform=platform)
    fake.stdout, fake.stderr = sys.stdout, sys.stderr
    monkeypatch.setattr(bootstrap, "sys", fake)


def set_up():
    return bootstrap.main(["--no-data"])


EVERYTHING = ["venv", "pip install", "pip install"]


def test_an_old_python_can_parse_it():
    ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 6))
    imports = [node for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body if isinstance(node, ast.Import)]
    assert {alias.name for node in imports for alias in node.names} <= sys.stdlib_module_names


def test_the_second_call_does_nothing(course):
    assert set_up() == 0
    assert course.calls() == EVERYTHING
    assert set_up() == 0
    assert course.calls() == []


def test_an_interrupted_set_up_is_made_anew(course, capsys):
    course.fail.write_text("something went wrong")
    assert set_up() == 1
    assert "the installation failed" in capsys.readouterr().err
    assert course.calls() == ["venv", "pip install"]
    left = bootstrap.VENV / "half"
    left.touch()
    course.fail.unlink()
    assert set_up() == 0
    assert course.calls() == EVERYTHING
    assert not left.exists()


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_change_of_what_to_install_updates_in_place(course, name):
    set_up()
    course.calls()
    (course.root / name).write_text("changed")
    course.fail.write_text("")
    assert set_up() == 1
    assert course.calls() == ["pip install"]
    course.fail.unlink()
    assert set_up() == 0  # the update was interrupted, so nothing that is there can be trusted
    assert course.calls() == EVERYTHING


def test_a_moved_folder_is_made_anew(course, monkeypatch):
    set_up()
    course.calls()
    moved = course.root.rename(course.root.with_name("moved"))
    use_root(monkeypatch, moved)
    assert set_up() == 0
    assert course.calls() == EVERYTHING


def test_another_python_is_made_anew_but_an_unfit_one_uses_what_is_there(course, monkeypatch):
    set_up()
    course.calls()
    pretend_python(monkeypatch, 3, 9)
    assert set_up() == 0
    pretend_python(monkeypatch, 3, 12 if sys.version_info[1] != 12 else 13)
    assert course.calls() == []
    assert set_up() == 0
    assert course.calls() == EVERYTHING


@pytest.mark.parametrize("text", ["", "{", "[]", "3", json.dumps({"python": [3, 12]})])
def test_a_damaged_stamp_counts_as_none(course, text):
    set_up()
    course.calls()
    bootstrap.STAMP.write_text(text)
    assert set_up() == 0
    assert course.calls() == EVERYTHING


@pytest.mark.parametrize(("version", "word"), [((3, 6), "too old"), ((3, 10), "too old"), ((3, 14), "too new")])
@pytest.mark.parametrize("found", [None, "python3.12"])
def test_an_unfit_python_names_one_that_fits(course, monkeypatch, capsys, version, word, found):
    pretend_python(monkeypatch, *version)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name if name == found else None)
    monkeypatch.setattr(bootstrap, "run", lambda command: (0, ""))
    assert set_up() == 1
    error = capsys.readouterr().err
    assert word in error
    assert "make lab PYTHON=python3.12" in error
    assert ("on this machine" in error) == (found is not None)
    assert ("uv python install 3.12" in error) == (found is None)


def test_an_intel_mac_is_sent_to_colab(course, monkeypatch, capsys):
    pretend_python(monkeypatch, 3, 12, platform="darwin")
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "x86_64")
    assert set_up() == 1
    assert "Colab" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("hint: Packages were unavailable because the network was disabled", "UV_OFFLINE=1"),
        ("error sending request for url: dns error", "Check the network"),
        ("ERROR: No matching distribution found for uv", "Check the network"),
        ("failed to copy file: No space left on device (os error 28)", "Free some space"),
        ("Disk quota exceeded", "UV_CACHE_DIR"),
        ("hash mismatch for torch==2.15.0", "the installation failed"),
    ],
)
def test_an_installer_that_fails_is_shown_and_explained(course, capsys, message, remedy):
    course.fail.write_text(message)
    assert set_up() == 1
    shown = capsys.readouterr()
    assert message in shown.out
    assert remedy in shown.err
    assert "again" in shown.err


def space(monkeypatch, tmp_path, *, free, cached):
    monkeypatch.setattr(bootstrap, "run", lambda command, environment: (0, str(tmp_path / "cache")))
    monkeypatch.setattr(bootstrap, "free_bytes", lambda path: free * bootstrap.GB)
    monkeypatch.setattr(bootstrap, "size", lambda folder, enough: cached * bootstrap.GB)
    monkeypatch.setattr(bootstrap, "NEEDED", 7 * bootstrap.GB)
    use_root(monkeypatch, tmp_path)


def test_too_little_space_names_both_sizes(monkeypatch, tmp_path):
    space(monkeypatch, tmp_path, free=4.5, cached=1)
    with pytest.raises(bootstrap.SetupError, match=r"6\.0 GB needed, 4\.5 GB free"):
        bootstrap.check_space(["uv"], None)


@pytest.mark.parametrize(("free", "cached"), [(8, 0), (1, 6.5)])
def test_enough_space_counts_what_was_downloaded_before(monkeypatch, tmp_path, free, cached):
    space(monkeypatch, tmp_path, free=free, cached=cached)
    bootstrap.check_space(["uv"], None)


def test_size_adds_up_and_stops_at_enough(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 100)
    assert bootstrap.size(tmp_path, 1000) == 300
    assert bootstrap.size(tmp_path, 150) == 150


def test_without_uv_and_pip_the_error_says_how_to_get_one(monkeypatch, tmp_path):
    use_root(monkeypatch, tmp_path)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: None)
    monkeypatch.setattr(bootstrap, "run", lambda *arguments: (1, "No module named pip"))
    with pytest.raises(bootstrap.SetupError, match="apt install python3-pip"):
        bootstrap.find_uv()


@pytest.mark.parametrize("old", ["", "uv 0.4.30", "pyenv: uv: command not found"])
def test_uv_is_fetched_with_pip_when_there_is_none_that_will_do(monkeypatch, tmp_path, old):
    use_root(monkeypatch, tmp_path)
    fetched = []

    def run(command, environment=None):
        if command[0] == "/usr/bin/uv":
            return 0, old
        return (0, "uv 0.9.1") if fetched or "pip" in command else (1, "No module named uv")

    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: "/usr/bin/uv" if old else None)
    monkeypatch.setattr(bootstrap, "run", run)
    monkeypatch.setattr(bootstrap, "install", lambda command, environment: fetched.append(command))
    command, environment = bootstrap.find_uv()
    assert command == [bootstrap.PYTHON, "-m", "uv"]
    assert not Path(command[0]).is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix  # .venv may be replaced
    assert environment["PYTHONPATH"] == str(tmp_path / ".uv")
    assert len(fetched) == 1
    assert fetched[0][1:4] == ["-m", "pip", "install"]


def test_outside_the_repository_it_says_how_to_clone(tmp_path):
    shutil.copy(SOURCE, tmp_path)
    done = subprocess.run([sys.executable, tmp_path / SOURCE.name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "git clone" in done.stderr
    assert "Traceback" not in done.stderr
