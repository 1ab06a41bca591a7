"""What all pictures share: colours by role, alt text, showing in a notebook with or without controls, saving as SVG."""

import base64
import html
import io
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from densenet_course.files import replacing

# One colour per role everywhere, from Okabe and Ito's palette for colour-blind readers.
COLOURS = {
    "input": "#9A9A9A",
    "new": "#0072B2",
    "bottleneck": "#E69F00",
    "transition": "#009E73",
    "residual": "#CC79A7",
    "wrong": "#D55E00",
    "ink": "#222222",
}
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "figure.dpi": 100,
    "svg.fonttype": "path",
}
MAX_WIDTH = 6.4  # inches; 640 px in a notebook
FRAME = "background: white; border-radius: 8px; padding: 6px; box-sizing: border-box;"  # a card on a dark page


def new_figure(*, width=MAX_WIDTH, height=3.2, **subplots):
    """Make a figure and its axes in the course's style; sizes in inches, 100 px each.

    Raises:
        ValueError: wider than 6.4 inches, more than a notebook's column shows.
    """
    if width > MAX_WIDTH:
        raise ValueError(f"width: expected at most {MAX_WIDTH} inches (640 px), got {width}")
    with plt.rc_context(STYLE):
        return plt.subplots(figsize=(width, height), layout="constrained", **subplots)


def link_cell(axes, row, column, is_read):
    """Draw one cell of a matrix of readers (rows) and sources (columns): a tick, or a dash in a red frame.

    Column 0 is the input, grey; the others are new maps, blue.
    """
    role = "input" if column == 0 else "new"
    face, edge = (COLOURS[role], COLOURS[role]) if is_read else ("white", COLOURS["wrong"])
    axes.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, facecolor=face, edgecolor=edge, linewidth=1.5))
    ink = "white" if is_read and role == "new" else COLOURS["ink"] if is_read else edge
    axes.text(column, row, "✓" if is_read else "–", ha="center", va="center", color=ink, fontsize=14, weight="bold")


def describe(figure, alt):
    """Attach the alt text: what a reader who cannot see the picture should learn from it."""
    figure.alt_text = alt
    return figure


class Picture:
    """A picture for a notebook: HTML whose alt text every page keeps, and the same words as plain text.

    JupyterLab, nbconvert and Sphinx drop the alt text of a bare ``image/png`` output.

    Args:
        png: the file's bytes.
        width: on the page, in px.
        alt: what a reader who cannot see the picture should learn from it.
    """

    def __init__(self, png, *, width, alt):
        self.png, self.width, self.alt = png, width, alt

    def _repr_mimebundle_(self, include=None, exclude=None):
        about = f'alt="{html.escape(self.alt)}" width="{self.width}" style="{FRAME}"'
        image = f'<img {about} src="data:image/png;base64,{base64.b64encode(self.png).decode()}">'
        return {"text/html": image, "text/plain": self.alt}


def show(figure):
    """Display a figure in a notebook as a crisp PNG with its alt text, and close it."""
    from IPython.display import display

    display(as_image(figure))


def as_image(figure):
    """Render a figure to a ``Picture`` with its alt text, and close it."""
    buffer = io.BytesIO()
    with plt.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=200)
    width = round(figure.get_figwidth() * 100)
    plt.close(figure)
    return Picture(buffer.getvalue(), width=width, alt=figure.alt_text)


def show_live(draw, controls):
    """Show a picture and, below it, the controls that redraw it.

    The picture is an ordinary output, so a notebook without a kernel still shows it.

    Args:
        draw: a function without arguments that returns the figure for the controls' present values.
        controls: ipywidgets by name.
    """
    from IPython.display import display
    from ipywidgets import VBox

    handle = display(as_image(draw()), display_id=True)
    for control in controls.values():
        control.observe(lambda _: handle.update(as_image(draw())), names="value")
    box = VBox(list(controls.values()))
    if not hasattr(box, "_repr_mimebundle_"):  # ipywidgets 7, which Colab has, displays itself
        display(box)
        return
    panel = box._repr_mimebundle_()
    panel["text/plain"] = "The sliders need a running kernel: run this cell."
    display(panel, raw=True)


def save(figure, path):
    """Write a figure as an SVG with its alt text as description, the same bytes every time, and close it.

    Args:
        figure: a figure that ``describe`` has given its alt text.
        path: where to write; replaced in one step.
    """
    path = Path(path)
    metadata = {"Date": None, "Creator": None, "Title": path.stem.replace("_", " "), "Description": figure.alt_text}
    with plt.rc_context(STYLE), replacing(path) as draft:
        matplotlib.rcParams["svg.hashsalt"] = path.stem
        figure.savefig(draft, format="svg", metadata=metadata)
    plt.close(figure)
