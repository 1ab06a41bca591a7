"""The explorer "Look inside a DenseNet": one page of JavaScript that runs in a notebook and on the website alike.

The page computes the class network's forward pass itself, in about 170 lines for exactly these layers. A general
runtime would weigh several megabytes, and would have to be given another graph for every link that is cut.
"""

from densenet_course.explorer.source import PARTS, STATIC, module, page_script, style

VIEWS = ("network", "design")
STEPS = 5

__all__ = ["PARTS", "STATIC", "explore", "module", "page_script", "style", "without_widget"]


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

    try:
        from densenet_course.explorer.widget import Explorer
    except ModuleNotFoundError as error:
        if error.name != "anywidget":
            raise
        display(without_widget(view, step), raw=True)  # on Colab, which has packages of its own
    else:
        display(Explorer(view=view, step=step))


def without_widget(view, step):
    """Return the picture as an output whose script puts the explorer in its place; it needs no widget, and no kernel.

    Args:
        view: as for ``explore``.
        step: as for ``explore``.
    """
    from densenet_course.explorer.picture import fallback

    bundle = fallback(view, step)
    return bundle | {"text/html": f"{bundle['text/html']}<script>{{{page_script()}}}</script>"}
