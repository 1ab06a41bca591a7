"""Every picture of the course: a function takes a model or data and returns a Matplotlib figure with alt text."""

from densenet_course.figures.style import COLOURS, describe, save, show

__all__ = ["COLOURS", "describe", "save", "show"]
