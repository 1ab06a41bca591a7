"""A picture in a notebook carries its alt text to every page, with the IPython and ipywidgets of Colab, too."""

import html

import IPython.display
import ipywidgets
import pytest

from densenet_course.figures import style

ALT = 'Two bars, "a" < "b".'


def figure():
    return style.describe(style.new_figure(width=3)[0], ALT)


def test_picture_is_html_with_alt_text_and_the_same_words_as_plain_text():
    bundle = style.as_image(figure())._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == ALT
    assert f'alt="{html.escape(ALT)}"' in bundle["text/html"] and 'width="300"' in bundle["text/html"]


def test_show_needs_nothing_of_ipython_but_display(monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    monkeypatch.delattr(IPython.display, "Image")  # that of IPython 7, on Colab, knows no alt text
    style.show(figure())
    assert [picture.alt for picture in shown] == [ALT]


@pytest.mark.parametrize("old", [False, True])
def test_controls_are_shown_by_ipywidgets_8_and_7(monkeypatch, old):
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda thing, **_: shown.append(thing))
    if old:
        monkeypatch.delattr(ipywidgets.Widget, "_repr_mimebundle_")
    style.show_live(figure, {"k": ipywidgets.IntSlider()})
    _, panel = shown
    assert isinstance(panel, ipywidgets.VBox) if old else "run this cell" in panel["text/plain"]
