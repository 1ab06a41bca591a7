"""The explorer "Look inside a DenseNet": one page of JavaScript that runs in a notebook and on the website alike.

The page computes the class network's forward pass itself, in about 170 lines for exactly these layers. A general
runtime would weigh several megabytes, and would have to be given another graph for every link that is cut.
"""

import base64
import json
from pathlib import Path

STATIC = Path(__file__).parent / "static"
PARTS = ("network", "page", "images", "inside", "guide", "design", "explorer")  # in this order they are one module
VIEWS = ("network", "design")
STEPS = 5

__all__ = ["explore", "module", "page_script", "style"]


def module():
    """Return the JavaScript of the explorer as the text of one module."""
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in PARTS)


def style():
    """Return the explorer's style sheet."""
    return (STATIC / "explorer.css").read_text(encoding="utf-8")


def explore(view="network", *, step=0):
    """Show the explorer; where no script runs, its picture.

    Args:
        view: what is shown first, "network" (one image in the class network) or "design" (four controls, and what a
            network costs).
        step: the question to begin with, 1 to 5; 0 for none.

    Raises:
        ValueError: an unknown view or step.
    """
    if view not in VIEWS:
        raise ValueError(f"view: expected {' or '.join(map(repr, VIEWS))}, got {view!r}")
    if step not in range(STEPS + 1):
        raise ValueError(f"step: expected 0 to {STEPS}, got {step!r}")
    from IPython.display import display

    from densenet_course.explorer.widget import Explorer

    display(Explorer(view=view, step=step))


def page_script():
    """Return one classic script for a page without a kernel: it mounts the explorer in each ``.densenet-explorer``.

    It holds everything, so that it works from a file, too, where a browser lets a page fetch nothing.
    """
    from densenet_course.explorer.bundle import pack

    network = base64.b64encode(pack()).decode()
    body = module().replace("export default", "return")
    return f"""const densenetExplorer = (() => {{\n{body}\n}})();
document.head.append(Object.assign(document.createElement("style"), {{ textContent: {json.dumps(style())} }}));
for (const place of document.querySelectorAll(".densenet-explorer")) {{
  const bytes = Uint8Array.from(atob("{network}"), (letter) => letter.charCodeAt(0));
  const {{ view, step = 0 }} = place.dataset;
  densenetExplorer.inside = densenetExplorer.mount(place, bytes, {{ view, step: Number(step) }});
}}
"""

