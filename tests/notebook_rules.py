"""What a lesson's notebook must keep to. Every rule takes a notebook and returns its problems, one line each."""

import ast
import html
import re
from pathlib import Path

import nbformat

from notebooks.fold import OUTPUT, SOURCE, folding, is_blank

ALLOWED_MAGICS = {"time", "timeit"}  # an unknown magic prints a message and goes on; `!` depends on the system
MAX_WIDTH = 640  # px
PRIVATE_PATHS = re.compile(r"/(?:work|root|tmp|home|Users|private|var/folders)/|[A-Za-z]:\\\\?Users|site-packages")
CHECKED = "nbval-check-output"
QUESTION = re.compile(r"\*\*(?:Predict|Guess)\b")
MAX_LINE = 88  # characters; JupyterLab cuts longer lines of code at 1280 px
IMAGE = re.compile(r"<img\b[^>]*>")


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


def shown(cell):
    """Return a cell's outputs without the blank one of a folded cell."""
    return [output for output in cell.outputs if not is_blank(output)]


def differences(notebook, text):
    """Text and notebook hold the same cells: kind, source and tags."""
    ours, theirs = ([(c.cell_type, c.source, tags_of(c)) for c in book.cells] for book in (notebook, text))
    if len(ours) != len(theirs):
        return [f"the notebook has {len(ours)} cells, the text {len(theirs)}: run make notebooks"]
    pairs = enumerate(zip(ours, theirs, strict=True))
    return [f"cell {n} differs between notebook and text: run make notebooks" for n, (a, b) in pairs if a != b]


def execution(notebook):
    """Every code cell was run, from top to bottom, and none ended in an error."""
    problems = []
    for count, (number, cell) in enumerate(cells_of(notebook, "code"), start=1):
        if cell.execution_count != count:
            problems.append(f"cell {number}: execution count {cell.execution_count}, expected {count}")
        if "raises-exception" in tags_of(cell) or any(output.output_type == "error" for output in cell.outputs):
            problems.append(f"cell {number}: a traceback; write `with expected(ValueError):`, it prints one line")
    return problems


def answers(notebook):
    """Return the numbers of the cells that answer a prediction: all code between the question and the next text."""
    found, asked = [], False
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            asked = bool(QUESTION.search(cell.source))
        elif asked and SOURCE not in tags_of(cell):
            found.append(number)
    return found


def predictions(notebook):
    """The output of a cell opens folded where the text above it asks the reader to predict, and nowhere else."""
    answering, cells = answers(notebook), list(enumerate(notebook.cells))
    problems = []
    for number, cell in cells:
        if (OUTPUT in tags_of(cell)) != (number in answering):
            problems.append(f"cell {number}: {'answers no' if number not in answering else 'answers a'} prediction, so "
                            f"its tags must {'not ' if number not in answering else ''}name {OUTPUT}")
        if cell.cell_type == "markdown" and QUESTION.search(cell.source) and number + 1 not in answering:
            problems.append(f"cell {number}: asks for a prediction that the next cell does not answer")
    return problems


def folds(notebook):
    """What opens folded is what the tags say, and of a folded output no line is shown."""
    problems = []
    for number, cell in enumerate(notebook.cells):
        has = {key: value for key, value in cell.metadata.items() if key in ("collapsed", "jupyter")}
        if has != folding(tags_of(cell)):
            problems.append(f"cell {number}: metadata {has}, expected {folding(tags_of(cell))}: run make notebooks")
        blank = [n for n, output in enumerate(cell.get("outputs", [])) if is_blank(output)]
        if blank != ([0] if OUTPUT in tags_of(cell) and cell.outputs else []):
            problems.append(f"cell {number}: blank outputs at {blank}; one, and first, where {OUTPUT} asks for it")
    return problems


def asserts(source):
    """Count the asserts in a cell's source."""
    return sum(isinstance(node, ast.Assert) for node in ast.walk(tree_of(source)))


def out_of_sight(notebook):
    """The set-up cell of Colab and the asserts stand in cells of their own, folded and taken out of the site."""
    problems = []
    for number, cell in cells_of(notebook, "code"):
        plumbing = "google.colab" in cell.source or asserts(cell.source) > 0
        if plumbing != (SOURCE in tags_of(cell)):
            problems.append(f"cell {number}: asserts and the set-up of Colab, and only they, are tagged {SOURCE}")
        if plumbing and cell.outputs:
            problems.append(f"cell {number}: a folded cell that puts out something")
    return problems


def long_lines(text):
    """No line of a lesson's text is too long; a row of a Markdown table cannot be broken."""
    lines = enumerate(text.splitlines(), start=1)
    return [f"line {n}: {len(line)} characters, expected at most {MAX_LINE}" for n, line in lines
            if len(line) > MAX_LINE and not line.startswith("# |")]


def compared_cells(notebook):
    """Return the numbers of the cells whose output nbval really compares."""
    cells = cells_of(notebook, "code")
    return [n for n, cell in cells if CHECKED in tags_of(cell) and cell.execution_count is not None and shown(cell)]


def compared_outputs(notebook):
    """A compared cell puts out text only, and something; a check's report has the same text as a table."""
    problems = []
    for number, cell in cells_of(notebook, "code"):
        if CHECKED not in tags_of(cell):
            continue
        plain = [
            (o.output_type == "stream" and o.name == "stdout") or set(o.get("data", ())) == {"text/plain"}
            or (set(o.get("data", ())) == {"text/plain", "text/html"} and "<img" not in o.data["text/html"])
            for o in shown(cell)
        ]
        if not plain or not all(plain):
            problems.append(f"cell {number}: a compared cell puts out text, and text only")
    return problems


def tree_of(source):
    """Parse a cell, magics included."""
    from IPython.core.inputtransformer2 import TransformerManager

    return ast.parse(TransformerManager().transform_cell(source))


def magics(notebook):
    """No shell line, and no magic but the few that every system has."""
    problems = []
    for number, cell in cells_of(notebook, "code"):
        for node in ast.walk(tree_of(cell.source)):
            call = node.func if isinstance(node, ast.Call) else None
            if isinstance(call, ast.Attribute) and ast.unparse(call.value) == "get_ipython()":
                name = node.args[0].value if "magic" in call.attr else "!"
                if name not in ALLOWED_MAGICS:
                    problems.append(f"cell {number}: {name} is no magic that every system has")
    return problems


def pictures(notebook):
    """Every picture is HTML that says in words what it shows, repeats the words as plain text, and fits the column."""
    problems = []
    for number, cell in cells_of(notebook, "code"):
        for output in cell.outputs:
            data = output.get("data", {})
            if any(kind.startswith("image/") for kind in data):
                problems.append(f"cell {number}: a bare image, whose alt text no page shows; use figures.show")
            for tag in IMAGE.findall(data.get("text/html", "")):
                alt, width = attribute(tag, "alt"), attribute(tag, "width")
                if len(alt) < 20 or alt != data.get("text/plain"):
                    problems.append(f"cell {number}: a picture without alt text, or with another plain text")
                if not 0 < float(width or 0) <= MAX_WIDTH:
                    problems.append(f"cell {number}: a picture {width} px wide, expected 1 to {MAX_WIDTH}")
    for number, cell in cells_of(notebook, "markdown"):
        if re.search(r"!\[\s*\]\(", cell.source) or not all(attribute(t, "alt") for t in IMAGE.findall(cell.source)):
            problems.append(f"cell {number}: a picture without alt text")
    return problems


def attribute(tag, name):
    """Return what an HTML tag says under a name, or nothing."""
    found = re.search(rf"\b{name}=([\"'])(.*?)\1", tag, flags=re.DOTALL)
    return html.unescape(found.group(2)) if found else ""


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
        words = [cell.source, *(re.sub(r"data:[^\"]*", "", str(data)) for data in texts.values())]
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
