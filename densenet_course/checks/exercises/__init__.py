"""One module for each exercise, named after its id; each holds an ``EXERCISE``."""
