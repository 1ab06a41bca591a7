"""Renew requirements.lock, the exact versions and hashes for every system: ``make lock``. Needs uv.

Versions that still fit pyproject.toml stay. What only contributors need is marked ``extra == 'dev'``, which pip and uv
leave out; ``bootstrap.py --dev`` installs it, too. No download addresses: the lock serves any index a machine uses.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
LEARNER = ["--extra", "lab", "--extra", "keras", "--group", "d2l"]
DEV = [*LEARNER, "--extra", "dev", "--extra", "grading", "--extra", "export", "--group", "site"]
COMPILE = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--generate-hashes", "--python-version", "3.11",
           "--no-annotate", "--custom-compile-command", "make lock", "--quiet"]
ENTRY = re.compile(r"^([a-z0-9][^ =]*)==([^ ]+)(?: ; (.+?))?(?= \\$)", re.MULTILINE)  # name, version, marker


def resolve(options, versions, flags=()):
    """Return the lock of some extras as text, with these versions wherever they fit."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock"
        output.write_text(versions, encoding="utf-8")
        subprocess.run([*COMPILE, *options, *flags, "--output-file", str(output)], cwd=ROOT, check=True)
        return output.read_text(encoding="utf-8")


def mark(everything, learner):
    """Return the lock of everything with each package that the learner's lock lacks marked ``extra == 'dev'``."""
    names = {name for name, _, _ in ENTRY.findall(learner)}

    def marked(entry):
        name, version, marker = entry.groups()
        if name in names:
            return entry.group()
        return f"{name}=={version} ; " + (f"({marker}) and " if marker else "") + "extra == 'dev'"

    return ENTRY.sub(marked, everything)


def unmark(lock):
    """Return a lock without the marks."""
    return re.sub(r" ; extra == 'dev'|(?<= ; )\((.+)\) and extra == 'dev'", lambda found: found[1] or "", lock)


def main(flags):
    """Write the lock anew; the flags are uv's, for instance ``--upgrade``."""
    everything = resolve(DEV, unmark(LOCK.read_text(encoding="utf-8")), flags)
    draft = LOCK.with_suffix(".tmp")
    draft.write_text(mark(everything, resolve(LEARNER, everything)), encoding="utf-8")
    draft.replace(LOCK)


if __name__ == "__main__":
    main(sys.argv[1:])
