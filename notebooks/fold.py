"""Fold in a notebook what the tags of its cells ask for: ``python notebooks/fold.py NOTEBOOK``.

A lesson's text holds tags only. JupyterLab and Notebook 7 open the cells as this metadata says, and running a cell
shows its output.
"""

import sys

import nbformat
from nbformat import v4

VIEW = "application/vnd.jupyter.widget-view+json"
OUTPUT, SOURCE = "hide-output", "remove-cell"  # the site reads the same two tags
FOLDED = {
    OUTPUT: {"collapsed": True, "jupyter": {"outputs_hidden": True}},
    SOURCE: {"jupyter": {"source_hidden": True}},
}


def folding(tags):
    """Return the metadata that a cell's tags ask for."""
    found = {}
    for tag in tags:
        found |= FOLDED.get(tag, {})
    return found


def is_blank(output):
    """Tell an output that shows nothing."""
    return output.output_type == "display_data" and not output.data


def fold(notebook):
    """Set the folding of every cell, and unfold the others."""
    for cell in notebook.cells:
        for key in ("collapsed", "jupyter"):
            cell.metadata.pop(key, None)
        cell.metadata.update(folding(cell.metadata.get("tags", [])))
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_blank(output)]
            if cell.outputs and OUTPUT in cell.metadata.get("tags", []):
                # In place of a folded output JupyterLab shows the first line of its first part: let that say nothing.
                cell.outputs.insert(0, v4.new_output("display_data"))


def still(notebook):
    """Keep of a widget that brings a picture the picture only: without its kernel the widget is an empty place.

    With its view goes its state, for the explorer half a megabyte.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data and data.pop(VIEW, None):
                notebook.metadata.pop("widgets", None)


def main(path):
    """Fold a file."""
    book = nbformat.read(path, as_version=4)
    fold(book)
    still(book)
    nbformat.write(book, path)


if __name__ == "__main__":
    main(sys.argv[1])
