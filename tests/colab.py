"""Run lessons 00 to 06 as Colab would, and fail on any error or missing picture: ``make test-colab``.

A throw-away environment gets what ``tests/colab.txt`` pins. PyTorch and what it alone needs, 4 GB, is lent by this
environment, whose Python it is built for; ``--own-torch`` installs Colab's version instead. The first cell of each
lesson then installs the course as it does there, from this checkout in place of the course's address. The lessons lie
in an empty folder, so nothing of a clone is in reach. That install brings no anywidget, so the explorer shows itself
as a script. At last anywidget is installed, too, and the explorer has to be a widget that ipywidgets 7 takes.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this finds the others only from there

import address  # noqa: E402
import bootstrap  # noqa: E402
from tests import checkout, run_all  # noqa: E402

SNAPSHOT = ROOT / "tests" / "colab.txt"
LESSONS = "notebooks/0[0-6]_*.ipynb"
TORCH = re.compile(r"\b(torch|torchvision)==([\d.]+)")  # in a comment of the snapshot
# Run where a learner has installed anywidget: the explorer is a view, and its model holds what the page asks for.
WIDGET = """
import ipywidgets
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from densenet_course.explorer import explore

InteractiveShell.instance()
with capture_output() as shown:
    explore(step=4)
(output,) = shown.outputs
view = output.data["application/vnd.jupyter.widget-view+json"]
state = ipywidgets.Widget.widgets[view["model_id"]].get_state()
assert ipywidgets.__version__.startswith("7."), ipywidgets.__version__
assert (state["_model_module"], state["view"], state["step"]) == ("anywidget", "network", 4), state
assert "export default" in state["_esm"] and ".dnx" in state["_css"] and len(state["network"]) > 250_000
print("ipywidgets", ipywidgets.__version__, "takes the explorer")
"""
GIT = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]


def main(arguments=None):
    """Make the environment, run the lessons, return pytest's exit status."""
    parser = argparse.ArgumentParser(description="Run lessons 00 to 06 with what Colab has installed.")
    parser.add_argument("--own-torch", action="store_true", help="install Colab's PyTorch, not this environment's")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        python = make_environment(place / "env", own_torch=options.own_torch)
        publish(place / "course")
        write_kernel(place / "jupyter", python, place / "course")
        return run_lessons(place) or show_explorer(python, place)


def make_environment(folder, *, own_torch):
    """Install the snapshot into a new environment beside a ``google.colab`` that only can be imported.

    Returns:
        The path of its Python.
    """
    uv, variables = bootstrap.find_uv()
    run = dict(cwd=folder.parent, env=variables, check=True)  # not in the checkout, whose overrides are not Colab's
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], **run)
    python = next(path for path in (folder / "bin/python", folder / "Scripts/python.exe") if path.exists())
    torch = ["==".join(found) for found in TORCH.findall(SNAPSHOT.read_text(encoding="utf-8"))] if own_torch else []
    install = [*uv, "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*install, "-r", str(SNAPSHOT), *torch], **run)
    packages = next(folder.rglob("site-packages"))
    if not own_torch:
        lend(packages)
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").touch()
    (packages / "colab.pth").write_text("import google.colab\n")  # loaded at each start, as there
    return python


def lend(packages):
    """Link this environment's PyTorch, and what only it requires, into another one's folder of packages."""
    waiting, lent = ["torch", "torchvision"], set()
    while waiting:
        name = waiting.pop()
        if name in lent or any(packages.glob(f"{name.replace('-', '_')}-*.dist-info")):
            continue  # lent already, or among what Colab pins
        lent.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # for another system
            found = importlib.metadata.distribution(name)
            for top in {file.parts[0] for file in found.files if file.parts[0] not in ("..", "__pycache__")}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(found.locate_file(top))
            required = [re.match(r"[\w.-]+", line)[0] for line in found.requires or () if "extra ==" not in line]
            waiting += [re.sub(r"[-_.]+", "-", one).lower() for one in required]
    print("lent by this environment:", *sorted(lent), flush=True)


def publish(folder):
    """Make a repository of this checkout as it is, with the tag that the Colab cells install."""
    checkout.copy(folder)
    for line in ("init --quiet", "add --all", "commit --quiet -m checkout", f"tag {address.tag()}"):
        subprocess.run([*GIT, *line.split()], cwd=folder, check=True)


def write_kernel(folder, python, course):
    """Describe the kernel "colab": that Python, with git sent to the checkout instead of the course's address."""
    environment = {
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{course.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address.home(), "COLAB_RELEASE_TAG": "release-colab", "PYTHONPATH": "",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore",
        "DENSENET_COURSE_DATA": os.environ.get("DENSENET_COURSE_DATA", str(ROOT / "data")),
    }  # fmt: skip
    spec = folder / "kernels" / "colab" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "Colab", "language": "python", "env": environment}))


def run_lessons(place):
    """Run copies of the lessons with nbval; return its exit status."""
    content = place / "content"
    content.mkdir()
    for path in ROOT.glob(LESSONS):
        shutil.copy(path, content)
    options = [one for one in run_all.NBVAL if one != "--nbval-current-env"] + ["--nbval-kernel-name=colab"]
    command = [sys.executable, "-m", "pytest", *options, f"--nbval-cell-timeout={run_all.CELL_TIMEOUT}",
               "-p", "no:cacheprovider", f"--rootdir={content}", *sorted(map(str, content.iterdir()))]
    environment = dict(os.environ, JUPYTER_PATH=str(place / "jupyter"), IPYTHONDIR=str(place / "ipython"))
    environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // run_all.WORKERS))
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def show_explorer(python, folder):
    """Add anywidget to the environment, whose lessons have run, and show the explorer; return the exit status."""
    uv, variables = bootstrap.find_uv()
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), "anywidget", "-r", str(SNAPSHOT)]
    subprocess.run(install, cwd=folder, env=variables, check=True)
    return subprocess.run([str(python), "-c", WIDGET], cwd=folder, env=os.environ | {"PYTHONPATH": ""}).returncode


if __name__ == "__main__":
    sys.exit(main())
