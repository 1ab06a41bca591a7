"""How Sphinx makes the site: ``make site`` builds these pages and the stored notebooks into ``site/``."""

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))  # the API pages describe this checkout

import address  # noqa: E402

REPOSITORY = address.home()
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax/tex-svg.js"

project = html_title = "DenseNet, step by step"
html_baseurl = f"https://{address.site(address.repository())}/"
language = "en"
extensions = [
    "myst_nb", "sphinx_copybutton", "sphinx_design",
    "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon",
]  # fmt: skip
exclude_patterns = ["_build"]
templates_path = ["_templates"]

nb_execution_mode = "off"  # the tests execute the notebooks; the site shows what is stored
nb_code_prompt_show = "Show the answer"  # of a cell that follows a prediction: tag "hide-output"
nb_code_prompt_hide = "Hide the answer"
nb_ipywidgets_js = {}  # a stored page has no kernel that a slider could ask; no script from elsewhere
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]  # the widget of lesson 14; its picture is shown
mathjax_path = MATHJAX.name  # from _static, where it is copied to: the site asks no other server

autodoc_typehints = "none"  # they stand in the signature
autodoc_inherit_docstrings = False  # DenseNet.forward would show nn.Module's text
autodoc_member_order = "bysource"
autosummary_generate = True

html_theme = "sphinx_book_theme"
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_static_path = ["_static", str(MATHJAX)]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_sourcelink_suffix = ""  # a lesson is downloaded as NN_name.ipynb
html_use_index = html_domain_indices = False  # the search does it better
html_theme_options = {
    "repository_url": REPOSITORY,
    "repository_branch": address.tag(),  # Colab and Binder open the lessons whose package they install
    "use_repository_button": True,
    "use_issues_button": True,
    "launch_buttons": {
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
        "notebook_interface": "jupyterlab",
    },
    "show_toc_level": 2,
}


def gather():
    """Put what the site shows beside its pages: lessons, exercises without solutions, figures, the guide."""
    for pattern in ("notebooks/[0-9]*.ipynb", "notebooks/exercises/[0-9]*.ipynb", "figures/*.svg"):
        for old in set(DOCS.glob(pattern)):
            if not (ROOT / old.relative_to(DOCS)).exists():
                old.unlink()
        for path in ROOT.glob(pattern):
            copy(path, DOCS / path.relative_to(ROOT))
    copy(ROOT / ".github/CONTRIBUTING.md", DOCS / "contributing.md")


def copy(source, target):
    """Copy a file that is new or has changed: Sphinx reads again only what is younger than its last look."""
    if not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def lead_somewhere(app, docname, source):
    """Turn a page's links for a reader on GitHub into the site's: what was gathered is near, the rest stays there."""
    if "/" not in docname:
        near = re.sub(r"(\]\(|src=\")\.\./(notebooks/(?!solutions|source)|figures/)", r"\1\2", source[0])
        source[0] = re.sub(r"\]\(\.\./", f"]({REPOSITORY}/blob/main/", near)


def write_explorer(app, error):
    """Put the explorer's script beside the pages; ``_static/course.js`` asks for it where a page has an explorer."""
    if error is None and app.builder.format == "html":
        from densenet_course.explorer import page_script

        (Path(app.outdir) / "_static" / "explorer.js").write_text(page_script(), encoding="utf-8")


def setup(app):
    """Tell Sphinx about the three steps above."""
    gather()
    app.connect("source-read", lead_somewhere)
    app.connect("build-finished", write_explorer)
