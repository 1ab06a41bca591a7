"""One set of packages for every way in: pyproject.toml, requirements.lock, environment.yml and the workflow agree."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import address
import bootstrap
import densenet_course
import lock
from tests.checkout import tracked

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = SpecifierSet(PROJECT["project"]["requires-python"])
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = {name: [text for text in group if isinstance(text, str) and not text.startswith("densenet-course[")]
          for name, group in PROJECT["dependency-groups"].items()}
FOR_LEARNERS = [*PROJECT["project"]["dependencies"], *EXTRAS["lab"], *EXTRAS["keras"], *GROUPS["d2l"]]
FOR_OTHERS = [text for extra in ("dev", "grading", "export") for text in EXTRAS[extra]]
DIRECT = [Requirement(text) for text in [*FOR_LEARNERS, *FOR_OTHERS, *GROUPS["site"]]]
DIRECT = [one for one in DIRECT if one.marker is None or one.marker.evaluate()]  # what this system has


def locked():
    """Return the lock as requirements by name: a name may stand there once for each range of Pythons."""
    entries = {}
    for text in re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).strip()):
        requirement, *hashes = re.split(r"\s*\\\n\s*--hash=", text)
        requirement = Requirement(requirement)
        entries.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return entries


def version_of(requirement):
    """Return the one version that a line of the lock allows."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("direct", DIRECT, ids=str)
def test_every_direct_dependency_is_locked_within_its_range(direct):
    entries = locked()[canonicalize_name(direct.name)]
    assert all(direct.specifier.contains(version_of(entry)) for entry, _ in entries)
    for python in ("3.11.0", "3.11.9", "3.12.3", "3.13.1", "3.14.0"):
        fits = [e for e, _ in entries if e.marker is None or e.marker.evaluate(marker_environment(python, "dev"))]
        assert len(fits) == 1, f"{direct.name}: {len(fits)} locked versions for Python {python}"


def marker_environment(python, extra):
    return {"python_full_version": python, "python_version": python.rpartition(".")[0], "extra": extra}


def test_a_learner_gets_no_tools_of_contributors_or_instructors():
    learner = {name for name, entries in locked().items() for requirement, _ in entries
               if requirement.marker is None or requirement.marker.evaluate(marker_environment("3.12.3", ""))}
    assert {canonicalize_name(Requirement(text).name) for text in FOR_LEARNERS} <= learner
    assert not {"nbgrader", "pytest", "ruff", "sphinx", "playwright", "onnx"} & learner


MARKED = """a==1 \\
    --hash=sha256:0
b==2 ; sys_platform == 'linux' or sys_platform == 'darwin' \\
    --hash=sha256:1
c==3 \\
    --hash=sha256:2"""


def test_the_lock_marks_what_the_learners_part_lacks():
    marked = lock.mark(MARKED, "a==1 \\\n")
    assert [line for line in marked.splitlines() if "==" in line[:4]] == [
        "a==1 \\", "b==2 ; (sys_platform == 'linux' or sys_platform == 'darwin') and extra == 'dev' \\",
        "c==3 ; extra == 'dev' \\"]
    assert lock.unmark(marked) == MARKED
    assert "extra" not in lock.unmark(LOCK)


def test_every_locked_package_has_one_version_and_hashes():
    lines = [line for entries in locked().values() for line in entries]
    assert len(lines) > 100
    for requirement, hashes in lines:
        assert version_of(requirement)
        assert hashes, f"{requirement.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes)


def test_the_lock_names_no_address():
    assert not re.search(r"://|--(extra-)?index-url|--find-links|^-[ief] ", LOCK, re.MULTILINE)
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()  # it names download addresses


def test_overrides_keep_the_ranges_of_the_project():
    ranges = {requirement.name: requirement.specifier for requirement in DIRECT}
    overrides = [Requirement(text) for text in PROJECT["tool"]["uv"]["override-dependencies"]]
    assert [str(o) for o in overrides if o.name in ranges and o.specifier != ranges[o.name]] == []


def test_conda_and_binder_install_the_lock():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip = conda["dependencies"]  # packages named here would be a second list beside the lock
    assert python.startswith("python=")
    assert PYTHONS.contains(python.removeprefix("python="))
    assert pip == "pip"
    lines = (ROOT / "postBuild").read_text(encoding="utf-8").splitlines()
    assert "python -m pip install --no-deps --require-hashes -r requirements.lock" in lines
    assert "python -m pip install --no-deps -e ." in lines
    assert any("densenet_course/assets/jupyterlab/*.json" in line for line in lines)


def test_the_set_up_knows_the_pythons_of_the_project():
    fit = [minor for minor in range(6, 30) if PYTHONS.contains(f"3.{minor}")]
    assert [(3, fit[0]), (3, fit[-1])] == [bootstrap.OLDEST, bootstrap.NEWEST]


def test_the_workflow_runs_the_oldest_and_the_newest_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    machines = workflow["jobs"]["test"]["strategy"]["matrix"]["include"]
    assert {machine["os"].partition("-")[0] for machine in machines} == {"ubuntu", "macos", "windows"}
    pythons = {tuple(map(int, machine["python"].split("."))) for machine in machines}
    assert {bootstrap.OLDEST, bootstrap.NEWEST} <= pythons
    assert all(bootstrap.OLDEST <= python <= bootstrap.NEWEST for python in pythons)


def test_dependabot_keeps_the_actions_new():
    settings = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    assert "github-actions" in {update["package-ecosystem"] for update in settings["updates"]}


def test_the_citation_names_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"] == densenet_course.__version__
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Homepage"]
    assert f"## {citation['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_development_container_sets_the_course_up():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert "bootstrap.py" in container["postCreateCommand"]
    assert PYTHONS.contains(container["image"].rpartition(":")[2].partition("-")[0])


def test_the_address_stands_in_one_line_and_in_what_is_made_from_it():
    ours = re.compile(rf"{re.escape(address.repository())}|{re.escape(address.site(address.repository()))}")
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in tracked()}
    holding = {path for path, text in texts.items() if ours.search(text)}
    assert holding - set(address.holders()) == {ROOT / "pyproject.toml"}
    assert len(holding) > 75
    assert len(ours.findall((ROOT / "pyproject.toml").read_text(encoding="utf-8"))) == 1


def test_what_is_made_from_the_address_agrees_with_it():
    old, new, tag = address.known(), address.repository(), address.tag()
    texts = {path: path.read_text(encoding="utf-8") for path in address.holders()}
    stale = [path.name for path, text in texts.items() if address.rewrite(text, old, new, tag) != text]
    assert stale == [], "make address"
    assert old == new
    installs = [path for path, text in texts.items() if f'"git+{address.home()}@{tag}' in text.replace("\\", "")]
    texts_and_books = [ROOT.glob(f"notebooks/{place}") for place in ("**/[0-9]*.py", "**/[0-9]*.ipynb")]
    assert {path for paths in texts_and_books for path in paths} == set(installs)


@pytest.mark.parametrize(("text", "expected"), [
    ("git clone https://github.com/a/course && cd course", "git clone https://github.com/b-c/fork && cd fork"),
    ("https://a.github.io/course/x.html", "https://b-c.github.io/fork/x.html"),
    ('"git+https://github.com/a/course"', '"git+https://github.com/b-c/fork@v2.0"'),
    ('"git+https://github.com/a/course@v1.0.0rc1"', '"git+https://github.com/b-c/fork@v2.0"'),
    ("com/github/a/course/blob/main/notebooks/x.ipynb", "com/github/b-c/fork/blob/v2.0/notebooks/x.ipynb"),
    ("https://mybinder.org/v2/gh/a/course/HEAD?x", "https://mybinder.org/v2/gh/b-c/fork/HEAD?x"),
    ("github.com/aa/course github.com/a/courses github.com/a/course-2", None),
])
def test_a_fork_changes_one_line(text, expected):
    assert address.rewrite(text, "a/course", "b-c/fork", "v2.0") == (expected or text)


def test_one_cell_installs_the_course_on_colab_and_the_locked_d2l():
    ((d2l, _),) = locked()["d2l"]
    books = [path for path in ROOT.glob("notebooks/**/[0-9]*.ipynb") if ".ipynb_checkpoints" not in path.parts]
    cells = {"".join(cell["source"]) for path in books for cell in json.loads(path.read_text("utf-8"))["cells"]
             if "google.colab" in "".join(cell["source"])}
    assert len(books) > 45 and len(cells) == 1
    (cell,) = cells
    assert f'"d2l=={version_of(d2l)}"' in cell and f'"git+{address.home()}@{address.tag()}"' in cell
