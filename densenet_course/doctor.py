"""Examine this machine: what the course needs, what is there, and how it will train."""

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``remedy`` is empty where nothing is missing."""

    name: str
    value: str
    remedy: str = ""


def examine():
    """Look at Python, packages, device, precision and data, and change nothing.

    Returns:
        A list of ``Finding``.
    """
    return [_python(), *_packages(), *_device(), _data()]


def print_report():
    """Print what ``examine`` finds.

    Returns:
        True when nothing that the course needs is missing.
    """
    findings = examine()
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
    remedy = "" if fits else "the course needs Python 3.11, 3.12 or 3.13: make lab PYTHON=python3.12"
    return Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", remedy)


def _packages():
    """Hold each package that the course requires against what is installed; JupyterLab counts in a checkout only."""
    from packaging.requirements import Requirement

    in_checkout = (Path(__file__).resolve().parent.parent / "pyproject.toml").is_file()  # on Colab there is none
    for line in importlib.metadata.requires("densenet-course") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": "lab" if in_checkout else ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(requirement.name, "not installed", "python bootstrap.py installs the locked packages")
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        remedy = "" if fits else f"expected {requirement.specifier}: python bootstrap.py installs it"
        yield Finding(requirement.name, version, remedy)


def _device():
    import torch

    from densenet_course.training.precision import choose_device, choose_precision, has_bf16

    device = choose_device()
    if device.type == "cuda":
        name = f"CUDA, {torch.cuda.get_device_name()}"
    elif device.type == "mps":
        name = "MPS, Apple GPU"
    else:
        name = f"CPU, {torch.get_num_threads()} threads, {'with' if has_bf16(device) else 'without'} bf16 units"
    yield Finding("device", name)
    yield Finding("training uses", str(choose_precision(device)))


def _data():
    from densenet_course.fetching import ENVIRONMENT_VARIABLE, FILES, data_root
    from densenet_course.fetching.intake import problems

    where = f" in {data_root()}" if ENVIRONMENT_VARIABLE in os.environ else ""
    wrong = problems(data_root(), FILES)
    if not wrong:
        return Finding("FashionMNIST", f"all four files, verified{where}")
    what = "; ".join(f"{name} {reason}" for name, reason in wrong.items())
    return Finding("FashionMNIST", f"{what}{where}", "densenet-course data fetches it, or falls back on a small sample")
