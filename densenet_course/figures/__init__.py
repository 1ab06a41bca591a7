"""Every picture of the course. A function takes a model or data and returns a Matplotlib figure that carries alt text."""

from densenet_course.figures.style import COLOURS, describe, save, show

__all__ = ["COLOURS", "describe", "save", "show"]
