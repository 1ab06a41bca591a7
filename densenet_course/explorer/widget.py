"""The explorer as an anywidget, for JupyterLab, Notebook 7, VS Code and Colab."""

import anywidget
from traitlets import Bytes, Int, Unicode

from densenet_course.explorer.bundle import pack
from densenet_course.explorer.picture import fallback
from densenet_course.explorer.source import module, style


class Explorer(anywidget.AnyWidget):
    """Mount the explorer in a notebook; a page without kernel shows its picture in place of it."""

    _esm, _css = module(), style()
    network = Bytes().tag(sync=True)
    view = Unicode("network").tag(sync=True)
    step = Int(0).tag(sync=True)

    def __init__(self, **options):
        super().__init__(network=pack(), **options)

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, **fallback(self.view, self.step)}, metadata
