"""Answers to exercise bug_hunt: each right one repairs all eight programs, each wrong one fails at one of them."""

from tests.answers.bug_hunt import wrong_around, wrong_modules  # noqa: F401
from tests.answers.bug_hunt.right import ANSWERS  # noqa: F401
