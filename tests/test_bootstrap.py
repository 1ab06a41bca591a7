"""The set-up: finished once and then instant, repaired after an interruption, and errors that name the remedy."""

import ast
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import bootstrap

SOURCE = Path(bootstrap.__file__)
NAMES = ("ROOT", "VENV", "STAMP", "HALF", "LOCK")
PLACES = {name: getattr(bootstrap, name).relative_to(bootstrap.ROOT) for name in NAMES}
SETTINGS = SOURCE.parent / "densenet_course" / "assets" / "jupyterlab"
# Stands in for uv: writes down how it was called, makes the environment's Python, fails when told to.
FAKE_UV = """
import pathlib, sys, time
here = pathlib.Path(__file__).parent
with open(here / "calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "venv":
    python = pathlib.Path(sys.argv[-1]) / PYTHON
    python.parent.mkdir(parents=True)
    python.touch()
if (here / "slow").exists():
    time.sleep(0.5)
if sys.argv[1] == "venv" and (here / "fail-venv").exists():
    sys.exit(2)
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
    shutil.copytree(SETTINGS, root / "densenet_course" / "assets" / "jupyterlab")
    (tools / "uv.py").write_text(FAKE_UV)
    monkeypatch.setattr(bootstrap, "find_uv", lambda: ([sys.executable, str(tools / "uv.py")], None))
    monkeypatch.setattr(bootstrap, "check_space", lambda uv, environment: None)
    monkeypatch.setattr(bootstrap, "verify", lambda: None)  # the pretended Python is an empty file
    return SimpleNamespace(root=root, tools=tools, fail=tools / "fail", calls=lambda: read_and_clear(tools / "calls"))


def use_root(monkeypatch, root):
    for name, place in PLACES.items():
        monkeypatch.setattr(bootstrap, name, root / place)


def read_and_clear(path):
    """Return the first words of the calls since last time."""
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.split(" --")[0] for line in lines]


def pretend_python(monkeypatch, *version, platform=sys.platform):
    fake = SimpleNamespace(version_info=(*version, 0, "final", 0), executable="/usr/bin/python3", platform=platform)
    fake.stdout, fake.stderr = sys.stdout, sys.stderr
    monkeypatch.setattr(bootstrap, "sys", fake)


def set_up(*options):
    return bootstrap.main(["--no-data", *options])


VERIFY = bootstrap.verify
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
    assert course.calls() == []
    pretend_python(monkeypatch, 3, 12 if sys.version_info[1] != 12 else 13)
    assert set_up() == 0
    assert course.calls() == EVERYTHING


@pytest.mark.parametrize("text", ["", "{", "[]", "3", json.dumps({"python": [3, 12]})])
def test_a_damaged_stamp_counts_as_none(course, text):
    set_up()
    course.calls()
    bootstrap.STAMP.write_text(text)
    assert set_up() == 0
    assert course.calls() == EVERYTHING


UNFIT = [((3, 6), "too old"), ((3, 10), "too old"), ((3, bootstrap.NEWEST[1] + 1), "too new")]


@pytest.mark.parametrize(("version", "word"), UNFIT)
def test_an_unfit_python_lets_uv_find_one_or_fetch_it(course, monkeypatch, version, word):
    pretend_python(monkeypatch, *version)
    assert set_up() == 0
    made, *_ = (course.tools / "calls").read_text().splitlines()
    assert f"--python >=3.{bootstrap.OLDEST[1]},<3.{bootstrap.NEWEST[1] + 1} " in made
    course.calls()
    assert set_up() == 0
    assert course.calls() == []


@pytest.mark.parametrize("failing", ["no uv to be had", "uv cannot fetch a Python"])
@pytest.mark.parametrize(("version", "word"), UNFIT)
@pytest.mark.parametrize("found", [None, "python3.12"])
def test_an_unfit_python_without_uvs_help_names_one_that_fits(
    course, monkeypatch, capsys, version, word, found, failing
):
    def no_uv():
        raise bootstrap.SetupError("no network")

    pretend_python(monkeypatch, *version)
    if failing == "no uv to be had":
        monkeypatch.setattr(bootstrap, "find_uv", no_uv)
    else:
        (course.tools / "fail-venv").touch()
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: name if name == found else None)
    monkeypatch.setattr(bootstrap, "run", lambda command: (0, ""))
    assert set_up() == 1
    assert not bootstrap.STAMP.exists()
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


@pytest.mark.parametrize(("macos", "status"), [("12.7.6", 1), ("13.6", 1), ("14.0", 0), ("26.1", 0)])
def test_a_mac_older_than_the_locked_pytorch_is_told_so(course, monkeypatch, capsys, macos, status):
    pretend_python(monkeypatch, 3, 12, platform="darwin")
    monkeypatch.setattr(bootstrap.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(bootstrap.platform, "mac_ver", lambda: (macos, ("", "", ""), "arm64"))
    assert set_up() == status
    assert ("macOS 14 and newer" in capsys.readouterr().err) == bool(status)


# Two at once, and what stands in the way.


def start(*options):
    results = []
    thread = threading.Thread(target=lambda: results.append(set_up(*options)))
    thread.start()
    return thread, results


def test_a_second_set_up_waits_for_the_first_and_then_has_nothing_to_do(course, capsys):
    (course.tools / "slow").touch()
    first, done = start()
    while not bootstrap.HALF.exists():
        time.sleep(0.01)
    assert set_up() == 0
    first.join(timeout=10)
    assert done == [0]
    assert course.calls() == EVERYTHING
    assert capsys.readouterr().out.count("another set-up of this folder is running; waiting") == 1


def test_a_set_up_that_was_killed_keeps_nobody_waiting(course):
    code = f"import bootstrap, pathlib, sys; bootstrap.LOCK = pathlib.Path({str(bootstrap.LOCK)!r})\n"
    code += "with bootstrap.only_one(): print('locked', flush=True); sys.stdin.read()"
    line = [sys.executable, "-c", code]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=SOURCE.parent) as child:
        assert child.stdout.readline() == "locked\n"
        with bootstrap.LOCK.open("a") as file:
            assert not bootstrap.can_lock(file)
        child.kill()
    assert set_up() == 0


def test_a_file_system_without_locks_is_no_obstacle(course, monkeypatch):
    if os.name == "nt":
        pytest.skip("flock is not of Windows")
    import fcntl

    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert set_up() == 0


def test_a_venv_of_the_users_own_is_left_alone(course, capsys):
    mine = bootstrap.VENV / "mine"
    bootstrap.VENV.mkdir()
    mine.write_text("mine")
    assert set_up() == 1
    assert mine.read_text() == "mine"
    assert course.calls() == []
    error = capsys.readouterr().err
    assert "was not made by this set-up" in error
    assert all(way in error for way in ("uv run jupyter lab", "bash postBuild", "move or remove it"))


def test_an_empty_venv_on_another_disk_is_filled_through_its_link(course, tmp_path):
    elsewhere = tmp_path / "large disk"
    elsewhere.mkdir()
    bootstrap.VENV.symlink_to(elsewhere, target_is_directory=True)
    assert set_up() == 0
    assert (elsewhere / bootstrap.STAMP.name).exists()
    bootstrap.STAMP.write_text("{")  # made anew: the link stays
    assert set_up() == 0
    assert bootstrap.VENV.is_symlink()


@pytest.mark.parametrize("code", ["EACCES", "EROFS", "ENOSPC", "EIO"])
def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(course, monkeypatch, capsys, code):
    def refused(path, *arguments, **options):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), str(path))

    monkeypatch.setattr(Path, "open", refused)
    assert set_up() == 1
    error = capsys.readouterr().err
    remedies = {"EACCES": "a folder of your own", "EROFS": "a folder of your own", "ENOSPC": "Free some space"}
    assert remedies.get(code, "again") in error
    assert "Traceback" not in error


def test_what_is_installed_but_does_not_start_is_not_taken_for_ready(course, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "verify", VERIFY)
    monkeypatch.setattr(bootstrap, "run", lambda command, **how: (1, "ModuleNotFoundError: No module named 'torch'"))
    assert set_up() == 1
    assert "No module named 'torch'" in capsys.readouterr().err
    monkeypatch.setattr(bootstrap, "run", lambda command, **how: (0, ""))
    course.calls()
    assert set_up() == 0
    assert course.calls() == EVERYTHING


def test_the_import_is_tried_with_its_own_python_in_another_folder(monkeypatch):
    asked = []
    monkeypatch.setattr(bootstrap, "run", lambda command, cwd, timeout: asked.append((command, cwd)) or (0, ""))
    VERIFY()
    ((python, isolated, _, code), folder), = asked
    assert (python, isolated) == (str(bootstrap.venv_python()), "-I")
    assert "torch, densenet_course" in code
    assert Path(folder) != bootstrap.ROOT


def test_the_course_is_linked_by_a_relative_path(course):
    site = bootstrap.VENV / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    line = site / "_editable_impl_densenet_course.pth"
    line.write_text("/home/J\u00f6rg/course", encoding="utf-8")
    bootstrap.link_by_relative_path()
    assert line.read_bytes().isascii()
    assert (site / line.read_text().strip()).resolve() == course.root


def test_lab_asks_about_no_news_and_shows_no_menus_of_nbgrader(course):
    set_up()
    folder = bootstrap.VENV / "share" / "jupyter" / "lab" / "settings"
    assert json.loads((folder / "page_config.json").read_text())["disabledExtensions"] == {"@jupyter/nbgrader": True}
    settings = json.loads((folder / "overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_only_dev_installs_the_tools_and_they_stay(course, monkeypatch):
    (course.root / "requirements.lock").write_text("six==1.0\ntoolz==1.0 ; extra == 'dev'\n")
    asked = []
    install = bootstrap.install
    monkeypatch.setattr(bootstrap, "install", lambda command, environment: asked.append(command[-1]) or install(
        command, environment))
    assert set_up() == 0
    assert asked[1] == "requirements.lock"
    assert set_up("--dev") == 0
    assert "toolz==1.0 ; python_version > '3'" in Path(asked[-2]).read_text()
    asked.clear()
    assert set_up() == set_up("--dev") == 0
    assert asked == []
    (course.root / "requirements.lock").write_text("six==2.0\n")
    assert set_up() == 0
    assert Path(asked[0]).name == "requirements-dev.txt"


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


@pytest.mark.parametrize("kept", ["environment", "file"])
def test_uv_is_fetched_whatever_the_user_has_set_for_pip(monkeypatch, tmp_path, kept):
    """pip is real here, and finds a uv that is only a name: the settings are what is tried, not the network."""
    settings = {"require-virtualenv": "true", "user": "true", "require-hashes": "true", "prefix": "/elsewhere",
                "no-binary": ":all:"}
    config = tmp_path / "pip.conf"
    config.write_text("[install]\n" + "".join(f"{n} = {v}\n" for n, v in settings.items() if kept == "file"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, text in {"CONFIG_FILE": str(config), "NO_INDEX": "1", "FIND_LINKS": str(wheel_of_uv(tmp_path))}.items():
        monkeypatch.setenv(f"PIP_{name}", text)
    for name, value in settings.items():
        if kept == "environment":
            monkeypatch.setenv(f"PIP_{name.upper().replace('-', '_')}", value)
    bootstrap.fetch_uv(tmp_path / "uv")
    assert (tmp_path / "uv" / "uv.py").exists()


def wheel_of_uv(folder):
    """Make a wheel that is called uv and holds one empty module."""
    meta = "uv-0.9.0.dist-info"
    with zipfile.ZipFile(folder / "uv-0.9.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("uv.py", "")
        wheel.writestr(f"{meta}/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0.9.0\n")
        wheel.writestr(f"{meta}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{meta}/RECORD", "")
    return folder


@pytest.mark.parametrize("name", sorted(bootstrap.NOT_FOR_UV))
def test_settings_of_the_users_other_work_with_uv_do_not_count_here(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(bootstrap, "run", lambda command, environment: (0, "uv 0.9.1"))
    assert name not in bootstrap.find_uv()[1]


def test_outside_the_repository_it_says_how_to_clone(tmp_path):
    shutil.copy(SOURCE, tmp_path)
    done = subprocess.run([sys.executable, tmp_path / SOURCE.name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Clone the repository" in done.stderr
    assert "Traceback" not in done.stderr
