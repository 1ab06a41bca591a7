#!/usr/bin/env python3
"""Set the course up in .venv and prepare its data: ``python3 bootstrap.py``. Call it as often as you like.

Needs Python and pip, nothing else. Standard library only and no syntax newer than Python 3.6, so that an old Python
says what to do instead of raising a SyntaxError.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "densenet-course.json"  # written last
HALF = VENV / "densenet-course.half"  # written first, and removed last: what is beside it is half made
LOCK = ROOT / ".bootstrap.lock"
# In an active environment (perhaps this very .venv, about to be replaced) the Python that it was made from.
PYTHON = getattr(sys, "_base_executable", None) or sys.executable
OLDEST, NEWEST = (3, 11), (3, 14)  # as requires-python in pyproject.toml
OLDEST_MACOS = 14  # for which the torch of requirements.lock is built
GB = 10**9
NEEDED = 7 * GB if sys.platform == "linux" else 3 * GB  # on Linux PyTorch brings CUDA: 5.9 GB measured; else about 1.5
AGAIN = "Then call the same command again; it goes on where it stopped."


# Settings of the user's other work: another active environment, and what contradicts hashes or an editable install.
NOT_FOR_UV = {"VIRTUAL_ENV", "UV_REQUIRE_HASHES", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_TORCH_BACKEND", "UV_NO_BINARY",
              "UV_PYTHON", "UV_EXCLUDE_NEWER"}
NOT_FOR_PIP = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_USER": "0", "PIP_REQUIRE_HASHES": "0"}  # stronger than pip.conf


class SetupError(Exception):
    """Something the user can mend; its text names the remedy."""


def main(arguments=None):
    """Run the set-up; return the exit status."""
    parser = argparse.ArgumentParser(description="Set the course up in .venv and prepare its data.")
    parser.add_argument("--no-data", action="store_true", help="leave the data for later")
    parser.add_argument("--dev", action="store_true", help="install what the tests need, too")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an old Windows console cannot show all that uv prints
    try:
        check_repository()
        if not is_ready(options.dev):
            with only_one():
                if not is_ready(options.dev):  # another set-up may just have finished
                    set_up(options.dev)
        return 0 if options.no_data else prepare_data()
    except (SetupError, OSError) as error:
        print(f"\nerror: {reason(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped. Call the same command again; it goes on where it stopped.", file=sys.stderr)
        return 130


def reason(error):
    """Return what went wrong and what to do."""
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return no_space("the disk is full", NEEDED, free_bytes(ROOT))
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{error.filename or ROOT} cannot be written ({error.strerror}), and .venv is missing or out of date.\n"
            "  Clone the course into a folder of your own, and call the same command there."
        )
    return str(error) if isinstance(error, SetupError) else f"{error}. {AGAIN}"


@contextlib.contextmanager
def only_one():
    """Let one set-up of this folder run at a time: another one waits here until the first has ended."""
    with LOCK.open("a") as file:
        if not can_lock(file):
            print("another set-up of this folder is running; waiting for it to end ...", flush=True)
            while not can_lock(file):
                time.sleep(0.5)
        yield  # closing the file, or the end of the process, unlocks it


def can_lock(file):
    """Lock an open file unless another process has; say whether that went well."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error means a file system without locks: nobody can wait there.
        return error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


def check_repository():
    """Make sure that the files which say what to install are here."""
    missing = [name for name in ("requirements.lock", "pyproject.toml") if not (ROOT / name).is_file()]
    if missing:
        raise SetupError(
            f"{ROOT} has no {' and no '.join(missing)}: bootstrap.py works only inside the course's repository.\n"
            "  Clone the repository that it came from, and call make lab there (without make: python bootstrap.py)."
        )


def is_fit():
    """Say whether the course runs on this Python."""
    return OLDEST <= tuple(sys.version_info[:2]) <= NEWEST


def unfit():
    """Return what is wrong with this Python and how to come by another."""
    age = "old" if tuple(sys.version_info[:2]) < OLDEST else "new"
    return (
        f"Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable}) is too {age}: "
        f"the course needs 3.{OLDEST[1]} to 3.{NEWEST[1]}, and uv could not fetch one.\n  {other_python()}"
    )


def check_machine():
    """Make sure that the packages are built for this machine."""
    if sys.platform != "darwin":
        return
    if platform.machine() == "x86_64":
        raise SetupError(
            "this is a Python for Intel Macs, for which PyTorch is no longer built.\n"
            "  On an Apple-silicon Mac install an arm64 Python, for example: brew install python@3.12\n"
            "  On an Intel Mac open the lessons in Colab: the README has the button."
        )
    version = platform.mac_ver()[0]
    if is_fit() and int(version.partition(".")[0]) < OLDEST_MACOS:
        raise SetupError(
            f"this is macOS {version}; the course's PyTorch is built for macOS {OLDEST_MACOS} and newer.\n"
            "  Update macOS, or open the lessons in Colab: the README has the button."
        )


def other_python():
    """Return how to come by a Python that fits: one on this machine if there is one."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = f"python3.{minor}"
        if shutil.which(name) and run([name, "--version"])[0] == 0:
            return f"{name} is on this machine; name it:  make lab PYTHON={name}  (without make: {name} bootstrap.py)"
    return (
        "Install one, for example Python 3.12:\n"
        "    Debian, Ubuntu  sudo apt install python3.12    macOS  brew install python@3.12\n"
        "    Windows  winget install Python.Python.3.12     with uv  uv python install 3.12\n"
        "  and name it:  make lab PYTHON=python3.12  (without make: python3.12 bootstrap.py)"
    )


def venv_python():
    """Return the path of the environment's Python."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint():
    """Return what .venv depends on: the files that say what to install, and the folder (scripts hold its path)."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return {"files": digest.hexdigest(), "folder": str(ROOT)}


def read_stamp():
    """Return what the last finished set-up wrote; empty when there is none."""
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8"))) if venv_python().exists() else {}
    except (OSError, ValueError, TypeError):
        return {}


def is_ready(dev):
    """Say whether .venv is complete, of today's lock, and of the Python that was asked for.

    A Python on which the course does not run asks for none: who once said PYTHON=python3.12 need not say it again.
    """
    stamp = read_stamp()
    wanted = list(sys.version_info[:2]) if is_fit() else stamp.get("python")
    found = stamp.pop("dev", False)
    return stamp == dict(fingerprint(), python=wanted) and found >= dev


def set_up(dev):
    """Make .venv from requirements.lock, or bring it up to date."""
    check_machine()
    check_owner()
    version, stamp = list(sys.version_info[:2]) if is_fit() else None, read_stamp()
    dev = dev or bool(stamp.get("dev"))
    try:
        uv, environment = find_uv()
    except SetupError as error:
        raise error if is_fit() else SetupError(unfit()) from error
    if stamp and stamp.get("python") == version and stamp.get("folder") == str(ROOT) and not HALF.exists():
        print("bringing .venv up to date with requirements.lock ...", flush=True)
        HALF.touch()
        STAMP.unlink()
    else:
        print("making .venv from requirements.lock; the first time takes some minutes ...", flush=True)
        make_venv(uv, environment)
    pip = [*uv, "pip", "install", "--python", str(venv_python()), "--no-deps"]
    install([*pip, "--require-hashes", "-r", requirements(dev)], environment)
    install([*pip, "--quiet", "-e", "."], environment)
    link_by_relative_path()
    quieten_lab()
    verify()
    draft = STAMP.with_suffix(".tmp")
    draft.write_text(json.dumps(dict(fingerprint(), python=version, dev=dev)), encoding="utf-8")
    draft.replace(STAMP)
    HALF.unlink()


def check_owner():
    """Leave a .venv alone that somebody else has made."""
    if os.path.lexists(str(VENV)) and not (STAMP.exists() or HALF.exists()) and any(VENV.iterdir()):
        raise SetupError(
            f"{VENV} was not made by this set-up, which would replace it. Do one of these:\n"
            "    it is uv's (made by uv run, uv sync)  uv run jupyter lab\n"
            "    install the course into it            activate it, then: bash postBuild\n"
            f"    you do not need it                    move or remove it. {AGAIN}"
        )


def make_venv(uv, environment):
    """Make an empty .venv in place of what is there, of this Python or, where it is unfit, of one that uv finds."""
    VENV.mkdir(exist_ok=True)
    HALF.touch()
    clear(VENV)
    check_space(uv, environment)
    python = PYTHON if is_fit() else f">=3.{OLDEST[1]},<3.{NEWEST[1] + 1}"
    try:
        install([*uv, "venv", "--quiet", "--allow-existing", "--python", python, str(VENV)], environment)
    except SetupError as error:
        raise error if is_fit() else SetupError(unfit()) from error


def clear(folder):
    """Remove what is outdated or half made in a folder: first the stamp, and never the mark that it is half made."""
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path != STAMP):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(str(path))
            elif path != HALF:
                path.unlink()
    except OSError as error:
        raise SetupError(
            f"{folder} is outdated and cannot be removed: {error}.\n"
            f"  Close JupyterLab and whatever else uses it, or remove it by hand. {AGAIN}"
        ) from error


def requirements(dev):
    """Return the file of what to install: the lock, whose lines marked for contributors pip and uv leave out."""
    if not dev:
        return "requirements.lock"
    path = VENV / "requirements-dev.txt"
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    path.write_text(text.replace("extra == 'dev'", "python_version > '3'"), encoding="utf-8")
    return str(path)


def link_by_relative_path():
    """Write this folder into .venv as seen from there.

    Python 3.11 and 3.12 read the line in the locale's encoding, which may lack letters of the whole path. A .venv that
    is a link to another disk keeps the whole path: there is no short way back.
    """
    if VENV.is_symlink():
        return
    for path in VENV.glob("[Ll]ib/**/site-packages/*densenet_course.pth"):
        path.write_text(os.path.relpath(str(ROOT), str(path.parent)) + "\n", encoding="ascii")


def quieten_lab():
    """Give .venv's JupyterLab the course's settings: no question about news, no menus of nbgrader's, lines wrapped."""
    folder = VENV / "share" / "jupyter" / "lab" / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (ROOT / "densenet_course" / "assets" / "jupyterlab").glob("*.json"):
        shutil.copyfile(str(path), str(folder / path.name))


def verify():
    """Make sure that .venv's own Python finds the packages, from another folder and whatever the user's PYTHONPATH."""
    code = "import sys, torch, densenet_course; sys.exit(sys.prefix == sys.base_prefix)"
    status, text = run([str(venv_python()), "-I", "-c", code], cwd=tempfile.gettempdir(), timeout=600)
    if status != 0:
        raise SetupError(f"everything was installed, but does not start: {text.strip()[-500:]}\n  {AGAIN}")


def find_uv():
    """Return the command that runs uv, fetched with pip into .uv when there is none, and its environment variables."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_UV}
    command = shutil.which("uv")
    if command and is_uv([command], environment):
        return [command], environment
    own, folder = [PYTHON, "-m", "uv"], ROOT / ".uv"
    environment["PYTHONPATH"] = str(folder)
    if not is_uv(own, environment):
        fetch_uv(folder)
    if not is_uv(own, environment):
        raise SetupError(f"uv, the installer, was put into {folder} but does not run. Remove that folder. {AGAIN}")
    return own, environment


def is_uv(command, environment):
    """Say whether the command runs a uv that is new enough."""
    status, text = run([*command, "--version"], environment)
    version = re.search(r"uv (\d+)\.(\d+)", text)
    return status == 0 and bool(version) and tuple(map(int, version.groups())) >= (0, 5)


def fetch_uv(folder):
    """Install uv into a folder of its own, which needs neither root nor a virtual environment."""
    pip = [PYTHON, "-m", "pip"]
    if run([*pip, "--version"])[0] != 0:
        raise SetupError(
            f"{PYTHON} has no pip.\n"
            f"  Debian, Ubuntu: sudo apt install python3-pip    elsewhere: {PYTHON} -m ensurepip\n"
            f"  or install uv yourself (https://docs.astral.sh/uv). {AGAIN}"
        )
    print("fetching uv, the installer, into .uv ...", flush=True)
    quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    place = ["--upgrade", "--target", str(folder), "--prefix=", "--only-binary=:all:"]
    install([*pip, "install", *quiet, *place, "uv>=0.8,<1"], dict(os.environ, **NOT_FOR_PIP))


def check_space(uv, environment):
    """Make sure that the packages will fit, counting what uv has downloaded before."""
    cache = Path(run([*uv, "cache", "dir"], environment)[1].strip() or ROOT)
    one_disk = existing(cache).stat().st_dev == ROOT.stat().st_dev
    for place in [ROOT] if one_disk else [ROOT, cache]:
        needed, free = NEEDED, free_bytes(place)
        if free < needed and (one_disk or place == cache):
            needed -= size(cache, NEEDED)  # uv links from its cache; what is there already takes no more space
        if free < needed:
            raise SetupError(no_space(f"not enough disk space at {place}", needed, free))


def no_space(what, needed, free):
    """Return the message for a disk that is full, or about to be."""
    return (
        f"{what}: about {needed / GB:.1f} GB needed, {free / GB:.1f} GB free.\n"
        "  Free some space. Where only the home folder is small, set UV_CACHE_DIR to a folder on a larger disk:\n"
        f"  uv keeps its downloads there. {AGAIN}"
    )


def existing(path):
    """Return the path, or its nearest parent that exists."""
    return next(place for place in [path, *path.parents] if place.exists())


def free_bytes(path):
    """Return how many bytes are free where the path is, or will be."""
    return shutil.disk_usage(existing(path)).free


def size(folder, enough):
    """Return how many bytes the files under a folder take, counting no further than ``enough``."""
    total = 0
    for place, _, files in os.walk(folder):
        total += sum((Path(place) / name).lstat().st_size for name in files)
        if total >= enough:
            return enough
    return total


def run(command, environment=None, cwd=None, timeout=60):
    """Run a command quietly; return its exit status and what it printed."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=cwd or str(ROOT),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def install(command, environment):
    """Run an installer, show what it says as it says it, and explain a failure."""
    text = ""
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in process.stdout:
        line = line.decode("utf-8", "replace").rstrip()
        if not line.startswith((" + ", " - ", " ~ ")):  # one line for each of 145 packages
            print(f"  {line}", flush=True)
        text += line + "\n"
    if process.wait() != 0:
        raise SetupError(explain(text))


def explain(text):
    """Return what an installer's message means and what to do."""
    if re.search(r"no space left|not enough space|disk quota|os error (28|112|122)\b", text, re.IGNORECASE):
        return no_space("the disk became full during the installation (message above)", NEEDED, free_bytes(ROOT))
    network = r"network|error sending request|dns|failed to fetch|timed out|connection|offline|no matching distribution"
    if re.search(network, text, re.IGNORECASE):
        return (
            "the packages could not be downloaded (message above).\n"
            f"  Check the network, and the proxy if there is one (HTTPS_PROXY). {AGAIN}\n"
            "  Without a network this works only where uv has downloaded everything before: set UV_OFFLINE=1."
        )
    return f"the installation failed (message above). {AGAIN}"


def prepare_data():
    """Find or download FashionMNIST; return the exit status."""
    return subprocess.call([str(venv_python()), "-m", "densenet_course.cli", "data"], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
