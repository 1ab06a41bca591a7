"""Examine this machine: what the course needs, what is there, and how it will train."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent / "pyproject.toml"  # there is none where only the package is
COLABS_OWN = {"ipywidgets"}  # Colab's page shows the widgets of its own version only


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``remedy`` is empty where nothing is missing."""

    name: str
    value: str
    remedy: str = ""


def examine():
    """Look at Python, packages, device, precision, data and what grading needs, and change nothing.

    Returns:
        A list of ``Finding``.
    """
    return [_python(), *_packages(), *_device(), _data(), _isolation()]


def print_report():
    """Print what ``examine`` finds, problems first.

    Returns:
        True when nothing that the course needs is missing.
    """
    findings = sorted(examine(), key=lambda finding: not finding.remedy)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'!' if finding.remedy else '✓'} {finding.name:<{width}}  {finding.value}")
        if finding.remedy:
            print(f"  {'':<{width}}  → {finding.remedy}")
    missing = sum(bool(finding.remedy) for finding in findings)
    print("Ready." if not missing else f"{missing} thing{'s' if missing > 1 else ''} to mend, marked with !.")
    return missing == 0


def _python():
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(importlib.metadata.metadata("densenet-course")["Requires-Python"])
    fits = allowed.contains(".".join(map(str, sys.version_info[:3])))
    way = "make lab PYTHON=python3.12" if CHECKOUT.is_file() else "install it with such a Python"
    return Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}",
                   "" if fits else f"the course needs Python {allowed}: {way}")


def _packages():
    """Hold each package that the course requires against what is installed: a line for a misfit, one for the rest."""
    fit = []
    for requirement in _requirements():
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(requirement.name, "not installed", _how_to_install(requirement))
            continue
        if requirement.specifier.contains(version, prereleases=True):
            fit.append(f"{requirement.name} {version}")
        elif requirement.name in COLABS_OWN and "COLAB_RELEASE_TAG" in os.environ:
            fit.append(f"{requirement.name} {version} (Colab's own)")
        else:
            value = f"{version}, expected {requirement.specifier}"
            yield Finding(requirement.name, value, _how_to_install(requirement))
    yield Finding("packages", f"{len(fit)} in versions that fit: {', '.join(fit)}")


def _requirements():
    """Read what the course requires here: in a checkout JupyterLab and d2l as well, which on Colab are none of ours."""
    from packaging.requirements import Requirement

    extra = "lab" if CHECKOUT.is_file() else ""
    found = [Requirement(line) for line in importlib.metadata.requires("densenet-course") or []]
    found = [one for one in found if one.marker is None or one.marker.evaluate({"extra": extra})]
    if CHECKOUT.is_file():
        groups = tomllib.loads(CHECKOUT.read_text(encoding="utf-8"))["dependency-groups"]
        found += [Requirement(line) for line in groups["d2l"]]
    return found


def _how_to_install(requirement):
    """Name what installs a package into this environment: of the set-up's own .venv, which has no pip, the set-up."""
    if (Path(sys.prefix) / "densenet-course.json").is_file():
        return f"remove {sys.prefix}, then make lab (without make: python bootstrap.py) makes it anew"
    tool = "python -m pip" if importlib.util.find_spec("pip") else "uv pip"
    alone = "--no-deps " if requirement.name == "d2l" else ""  # it asks for versions of 2023
    return f'{tool} install {alone}"{requirement.name}{requirement.specifier}"'


def _device():
    if importlib.util.find_spec("torch") is None:
        return  # said among the packages
    import torch

    from densenet_course.training.precision import choose_device, choose_precision, has_bf16

    device = choose_device()
    if device.type == "cuda":
        name = f"CUDA, {torch.cuda.get_device_name()}"
    elif device.type == "mps":
        name = "MPS, Apple GPU"
    else:
        threads = torch.get_num_threads()
        units = "with bf16 units" if has_bf16(device) else "without bf16 units"
        name = f"CPU, {threads} thread{'s' if threads > 1 else ''}, {units}"
    yield Finding("device", name)
    yield Finding("training uses", str(choose_precision(device)))


def _data():
    """Look for the data where ``prepare`` looks."""
    from densenet_course.fetching import FILES, data_root, find
    from densenet_course.fetching.intake import problems

    try:
        root = data_root()
    except ValueError as error:
        return Finding("FashionMNIST", "not looked for", str(error))
    if found := find(root):
        return Finding("FashionMNIST", f"all four files, verified, in {_nearby(found)}")
    what = "; ".join(f"{name} {reason}" for name, reason in problems(root, FILES).items())
    remedy = "densenet-course data fetches it, or takes a small sample"
    return Finding("FashionMNIST", f"{what}, in {_nearby(root)}", remedy)


def _nearby(folder):
    """Write a folder as seen from here, where it is near: a report is stored with its page and read elsewhere."""
    here = Path.cwd()
    return os.path.relpath(folder) if any(map(Path(folder).is_relative_to, (here, here.parent))) else folder


def _isolation():
    """Say whether a class could be graded here; nothing else needs it, so that nothing is missing where it cannot."""
    from densenet_course.grading.box import isolation

    level, reason = isolation()
    return Finding("isolation", "full" if level == "full" else f"none, because {reason}; only grading needs it")
