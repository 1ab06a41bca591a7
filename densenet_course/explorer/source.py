"""The explorer's JavaScript and style sheet as text: a module for notebooks, a script for pages without a kernel."""

import base64
import json
from pathlib import Path

STATIC = Path(__file__).parent / "static"
PARTS = ("network", "page", "images", "inside", "guide", "design", "explorer")  # in this order they are one module


def module():
    """Return the JavaScript of the explorer as the text of one module."""
    return "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in PARTS)


def style():
    """Return the explorer's style sheet."""
    return (STATIC / "explorer.css").read_text(encoding="utf-8")


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
