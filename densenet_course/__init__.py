"""Helpers for the DenseNet course: the network the lessons build, its arithmetic, its data, its training."""

__version__ = "0.1.0"
