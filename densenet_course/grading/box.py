"""The box that the fork server runs in: what of this system is in it, and whether this system can make one."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from densenet_course.grading import given, zygote

LIBRARIES = ("torch", "torchvision", "matplotlib", "ipython", "matplotlib-inline", "ipywidgets", "tqdm", "pyseccomp")
# The modules of this room that run in the box.
INSIDE = ("cell", "committed", "operations", "player", "playing", "recording", "starting", "steps", "tracing",
          "watching", "wire", "zygote")
UID = 70_001  # no one's; the box of root runs as this user, for root's limits are not enforced
SETTINGS = {"PATH": "/usr/bin:/bin", "HOME": "/w", "PYTHONPATH": "/g/own:/g/site", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg",
            "PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "TORCHDYNAMO_DISABLE": "1", "IPYTHONDIR": "/tmp/ipython",
            "MPLCONFIGDIR": "/tmp/matplotlib", "XDG_CACHE_HOME": "/tmp/cache"}


@cache
def isolation():
    """Tell how far this system can isolate: ("full", "") or ("none", what is missing and what to do)."""
    reason = _missing()
    if reason:
        return "none", reason
    with TemporaryDirectory() as folder:
        unpack(Path(folder))
        try:
            done = subprocess.run(command(Path(folder), "check"), capture_output=True, text=True, timeout=120,
                                  stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            return "none", f"the sandbox does not start: {error}"
    if done.returncode == 0:
        return "full", ""
    last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    return "none", (f"this system lets no sandbox start ({last[:200]}); a container may forbid it, and so does Ubuntu "
                    "from 23.10 on until it is allowed: see 'Where it runs' on the course's page for instructors")


def _missing():
    if not sys.platform.startswith("linux"):
        return "isolation needs Linux; grade on a Linux machine, or in WSL 2"
    if not shutil.which("bwrap"):
        return "bubblewrap is missing: sudo apt install bubblewrap"
    try:
        import pyseccomp  # noqa: F401
    except ImportError:
        return "pyseccomp is missing: pip install 'densenet-course[grading]'"
    except (OSError, RuntimeError):
        return "libseccomp is missing: sudo apt install libseccomp2"
    return ""


def unpack(folder):
    """Write the modules that run in the box into a folder, with what every cell is given, and nothing else."""
    room = folder / "densenet_course" / "grading"
    room.mkdir(parents=True)
    (folder / "empty").mkdir()
    for place in (room.parent, room):
        (place / "__init__.py").touch()
    for name in INSIDE:
        shutil.copyfile(Path(zygote.__file__).with_name(f"{name}.py"), room / f"{name}.py")
    for name, text in given.common()[0].items():
        path = room.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    folder.chmod(0o755)  # for UID


@cache
def parts():
    """List the files of the libraries that cells have, as (folder, name), with all that these libraries need."""
    found, waiting, seen = set(), list(LIBRARIES), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for other systems, or an extra
            continue
        folder = Path(str(distribution.locate_file(""))).resolve()
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        found |= {(folder, top) for top in tops if (folder / top).exists()}
        needs = [need for need in distribution.requires or () if "extra ==" not in need]
        waiting += [re.match(r"[\w.-]+", need).group() for need in needs]
    return sorted(found)


def command(own, *order):
    """Return the command that starts the fork server in a box.

    Args:
        own: the folder that ``unpack`` has filled.
        order: arguments of ``zygote``.
    """
    python = Path(os.path.realpath(sys.executable))
    prefix = Path(sys.base_prefix)
    folders = [own, *sorted({folder for folder, _ in parts()})]
    folders += [prefix] * (not prefix.is_relative_to("/usr"))
    root = os.getuid() == 0
    seen_as = {folder: Path(f"/mnt/{i}") if root else folder for i, folder in enumerate(folders)}
    box = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--hostname", "cell", "--clearenv",
           "--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
           "--ro-bind-try", "/etc/alternatives", "/etc/alternatives",  # Debian's BLAS
           "--ro-bind-try", "/etc/fonts", "/etc/fonts"]
    for link in ("lib", "lib64", "bin", "sbin"):
        box += ["--symlink", f"usr/{link}", f"/{link}"]
    if prefix in seen_as:
        box += ["--ro-bind", str(seen_as[prefix]), str(prefix)]
    site = prefix / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for hidden in (site, Path("/usr/lib/python3/dist-packages")):  # what else is installed may hold a solution
        box += ["--ro-bind", str(seen_as[own] / "empty"), str(hidden)] * hidden.is_dir()
    box += ["--ro-bind", str(seen_as[own] / "densenet_course"), "/g/own/densenet_course"]
    for folder, name in parts():
        box += ["--ro-bind", str(seen_as[folder] / name), f"/g/site/{name}"]
    box += ["--proc", "/proc", "--dev", "/dev", "--dir", "/w", "--tmpfs", "/tmp", "--dir", "/dev/shm", "--chdir", "/w",
            "--remount-ro", "/dev", "--remount-ro", "/"]  # without these two one submission could write to the next
    for name, value in SETTINGS.items():
        box += ["--setenv", name, value]
    box += [str(python), "-B", "-s", "-m", "densenet_course.grading.zygote", *order]
    return _as_nobody(box, seen_as) if root else box


def _as_nobody(box, seen_as):
    """Let root start a box as UID, which finds what lies in root's own folders under /mnt, in a mount space apart."""
    script = "set -e; mount -t tmpfs -o mode=755 none /mnt; "
    for folder, place in seen_as.items():
        script += f"mkdir {place}; mount --bind {_quoted(folder)} {place}; "
    drop = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all", "--no-new-privs"]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script + 'exec "$@"', "sh", *drop, *box]


def _quoted(path):
    return "'" + str(path).replace("'", "'\\''") + "'"
