"""``python -m densenet_course.cli``, and what torchrun starts: ``torchrun … -m densenet_course.cli train``."""

import sys

from densenet_course.cli import main

sys.exit(main())
