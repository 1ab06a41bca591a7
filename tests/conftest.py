"""What all tests share: the repository's root on the path, and no windows."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # bootstrap.py and tests.* are no installed modules
os.environ.setdefault("MPLBACKEND", "agg")
