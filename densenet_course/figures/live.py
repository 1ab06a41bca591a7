"""A picture with controls below it that draw it again."""

from densenet_course.figures.style import as_image


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
