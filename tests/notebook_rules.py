"""What a lesson's notebook must keep to. Every rule takes a notebook and returns its problems, one line each."""

import ast
import re
from pathlib import Path

import nbformat

ALLOWED_MAGICS = {"time", "timeit"}  # an unknown magic prints a message and goes on; `!` depends on the system
MAX_WIDTH = 640  # px
PRIVATE_PATHS = re.compile(r"/(?:work|root|tmp|home|Users|private|var/folders)/|[A-Za-z]:\\\\?Users|site-packages")
CHECKED, RAISES = "nbval-check-output", "raises-exception"


def read(path):
    """Read a notebook, or a py:percent text as a notebook."""
    if Path(path).suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    import jupytext

    return jupytext.read(path, fmt="py:percent")


def cells_of(notebook, kind):
    """Return the cells of one kind with their positions."""
    return [(number, cell) for number, cell in enumerate(notebook.cells) if cell.cell_type == kind]


def tags_of(cell):
    """Return a cell's tags as a set."""
    return set(cell.metadata.get("tags", []))


def differences(notebook, text):
    """Text and notebook hold the same cells: kind, source and tags."""
    ours, theirs = ([(c.cell_type, c.source, tags_of(c)) for c in book.cells] for book in (notebook, text))
    if len(ours) != len(theirs):
        return [f"the notebook has {len(ours)} cells, the text {len(theirs)}: run make notebooks"]
    pairs = enumerate(zip(ours, theirs, strict=True))
    return [f"cell {n} differs between notebook and text: run make notebooks" for n, (a, b) in pairs if a != b]


def execution(notebook):
    """Every code cell was run, from top to bottom; an exception is stored exactly where one is promised."""
    problems = []
    for count, (number, cell) in enumerate(cells_of(notebook, "code"), start=1):
        if cell.execution_count != count:
            problems.append(f"cell {number}: execution count {cell.execution_count}, expected {count}")
        raised = any(output.output_type == "error" for output in cell.outputs)
        if raised != (RAISES in tags_of(cell)):
            problems.append(f"cell {number}: {'raises without' if raised else 'raises nothing in spite of'} its tag")
    return problems


def compared_cells(notebook):
    """Return the numbers of the cells whose output nbval really compares."""
    cells = cells_of(notebook, "code")
    return [n for n, cell in cells if CHECKED in tags_of(cell) and cell.execution_count is not None and cell.outputs]


def compared_outputs(notebook):
    """A compared cell puts out plain text only, and something; a promised exception is compared by its kind instead."""
    problems = []
    for number, cell in cells_of(notebook, "code"):
        if CHECKED not in tags_of(cell):
            continue
        plain = [
            (o.output_type == "stream" and o.name == "stdout") or set(o.get("data", ())) == {"text/plain"}
            for o in cell.outputs
        ]
        if not plain or not all(plain) or RAISES in tags_of(cell):
            problems.append(f"cell {number}: a compared cell puts out text, and text only")
    return problems


def magics(notebook):
    """No shell line, and no magic but the few that every system has."""
    from IPython.core.inputtransformer2 import TransformerManager

    problems = []
    for number, cell in cells_of(notebook, "code"):
        tree = ast.parse(TransformerManager().transform_cell(cell.source))
        for node in ast.walk(tree):
            call = node.func if isinstance(node, ast.Call) else None
            if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "get_ipython()":
                name = node.args[0].value if "magic" in call.attr else "!"
                if name not in ALLOWED_MAGICS:
                    problems.append(f"cell {number}: {name} is no magic that every system has")
    return problems


def pictures(notebook):
    """Every picture says in words what it shows and fits the column."""
    problems = []
    for number, cell in cells_of(notebook, "code"):
        for output in cell.outputs:
            for kind in ("image/png", "image/jpeg", "image/svg+xml"):
                if kind not in output.get("data", {}):
                    continue
                about = output.metadata.get(kind, {})
                if len(about.get("alt", "")) < 20:
                    problems.append(f"cell {number}: a picture without alt text")
                if not 0 < float(about.get("width", 0)) <= MAX_WIDTH:
                    problems.append(f"cell {number}: a picture {about.get('width')} px wide, expected 1 to {MAX_WIDTH}")
    for number, cell in cells_of(notebook, "markdown"):
        if re.search(r"!\[\s*\]\(", cell.source) or re.search(r"<img(?![^>]*\balt=.[^\"'])", cell.source):
            problems.append(f"cell {number}: a picture without alt text")
    return problems


def broken_links(text, folder):
    """Return the relative links and pictures in a Markdown text that lead nowhere."""
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", text) + re.findall(r"(?:src|href)=[\"']([^\"']+)", text)
    relative = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    return [f"{target} does not exist" for target in relative if not (folder / target.split("#")[0]).exists()]


def links(notebook, folder):
    """Relative links lead somewhere."""
    texts = [(number, cell.source) for number, cell in cells_of(notebook, "markdown")]
    return [f"cell {number}: {problem}" for number, text in texts for problem in broken_links(text, folder)]


def private_paths(notebook):
    """No path of the machine that ran the notebook, in no source and no output."""
    problems = []
    for number, cell in enumerate(notebook.cells):
        texts = {kind: data for output in cell.get("outputs", []) for kind, data in output.get("data", {}).items()}
        words = [cell.source, *(str(data) for kind, data in texts.items() if not kind.startswith("image/"))]
        for output in cell.get("outputs", []):
            words += [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
        found = PRIVATE_PATHS.search("\n".join(words))
        if found:
            problems.append(f"cell {number}: holds a path of this machine ({found.group()})")
    return problems


def house_parts(notebook, number):
    """The title carries the lesson's number; what every lesson has is there."""
    lines = [line for _, cell in cells_of(notebook, "markdown") for line in cell.source.splitlines()]
    headings = [line for line in lines if line.startswith("#")]
    problems = [] if headings and headings[0].startswith(f"# {number}") else [f"the title does not start with {number}"]
    wanted = ("Your turn", "Recap") if number != "00" else ()
    return problems + [f"no section {part!r}" for part in wanted if not any(part in heading for heading in headings)]


def definitions(source):
    """Return the top-level classes and functions of a Python text by name, without docstrings."""
    found = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(part, clean=False) is not None:
                part.body = part.body[1:] or [ast.Pass()]
        found[node.name] = ast.dump(node)
    return found
