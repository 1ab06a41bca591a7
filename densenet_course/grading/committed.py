"""A module as a list of operations."""
