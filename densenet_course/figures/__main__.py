"""Write every picture that README and lessons show as a file: ``python -m densenet_course.figures``."""

import importlib
import pkgutil
from pathlib import Path

import densenet_course.figures as package
from densenet_course.figures.style import save


def files():
    """Collect the pictures: each module of this package may name its own in ``FILES``, file name → function."""
    found = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if module.name != "__main__":
            found |= getattr(importlib.import_module(f"densenet_course.figures.{module.name}"), "FILES", {})
    return found


def main(folder="figures"):
    for name, draw in files().items():
        save(draw(), Path(folder) / f"{name}.svg")
        print(Path(folder) / f"{name}.svg")


if __name__ == "__main__":
    main()
