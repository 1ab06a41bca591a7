"""Where this machine's Chromium is."""

import os
import shutil
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
MISSING = (
    "no Chromium and no Chrome here, so neither the website nor JupyterLab was looked at in a browser; "
    "on Debian and Ubuntu, apt-get install chromium"
)
# No sandbox, because CI runs as root; nothing leaves the machine.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def find():
    """Return the path of a Chromium or Chrome, or None; the variable CHROMIUM names another one."""
    named = os.environ.get("CHROMIUM")
    found = [named] if named else [shutil.which(name) for name in NAMES] + list(PLACES)
    return next((path for path in found if path and Path(path).exists()), None)
