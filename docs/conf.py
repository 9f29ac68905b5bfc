"""Sphinx: the guides as they are, the reference from the docstrings, a page with a picture for every optimizer."""

import inspect
import re
import sys
from pathlib import Path

import fallline as fl

project = "fallline"
author = copyright = "The fallline authors"
version = release = fl.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_math_renderer = "mathml"  # which browsers show by themselves: the pages need no network
html_theme = "furo"
html_title = f"fallline {release}"
templates_path: list[str] = []
exclude_patterns = ["_build"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # which would tear "lr, eps, weight_decay : ..." apart
napoleon_use_ivar = True
napoleon_preprocess_types = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "code"
nitpicky = False

HERE = Path(__file__).parent
SURFACE = fl.problems.rosenbrock
STEPS = 400
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)


def best_path(name):
    """Return the learning rate with which the optimizer comes lowest, and its path."""
    g = fl.compile(SURFACE)
    runs = [fl.minimize(g, SURFACE.start, method=name, lr=lr, maxiter=STEPS, gtol=None, record="path") for lr in RATES]
    low, high = zip(*SURFACE.bounds, strict=True)
    seen = [
        (lr, run.path) for lr, run in zip(RATES, runs, strict=True) if ((low <= run.path) & (run.path <= high)).all()
    ]
    return min(seen, key=lambda one: g(one[1][-1]))


def picture(name, kind, folder):
    """Draw the way of an optimizer down Rosenbrock's valley."""
    import matplotlib
    from matplotlib.figure import Figure

    lr, path = best_path(name)
    with matplotlib.rc_context(fl.plot.STYLE):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = fl.plot.descent(SURFACE, {kind.__name__: path}, figure.add_subplot())
        axes.set_title(f"{kind.__name__}, lr={lr:g}: {STEPS} steps on Rosenbrock's function")
        figure.savefig(folder / f"{name}.png", dpi=90)


def write_optimizer_pages(app):
    """Make a page for every optimizer that there is."""
    folder = HERE / "optimizers"
    folder.mkdir(exist_ok=True)
    for name, kind in fl.optimizers().items():
        picture(name, kind, folder)
        title = kind.__name__
        page = f"{title}\n{'=' * len(title)}\n\n.. image:: {name}.png\n   :alt: The path of {title} to the minimum\n\n"
        page += f".. autoclass:: fallline.{title}\n"
        (folder / f"{name}.rst").write_text(page, encoding="utf-8")
    index = "Optimizers\n==========\n\nEach with its mathematics, defaults, and its way down one valley.\n\n"
    index += ".. toctree::\n\n"
    index += "".join(f"   {name}\n" for name in fl.optimizers())
    (folder / "index.rst").write_text(index, encoding="utf-8")


MODULES = {  # where the reference looks for names that are not at the top
    "fallline.calculus": "Derivatives by rule",
    "fallline.schedules": "Schedules",
    "fallline.problems": "Test problems",
    "fallline.plot": "Pictures",
    "fallline.sklearn": "Linear models for scikit-learn",
}

ROUTING = "set_fit_request, set_partial_fit_request, set_score_request"  # scikit-learn adds them to its estimators


def mapping(module, name, contents):
    """Show a public dict: what the comment before it says, and its entries."""
    sources = [inspect.getsource(sys.modules[one]) for one in sorted(sys.modules) if one.startswith(f"{module}.")]
    comments = [re.search(rf"^((?:#: .*\n)+){name}\b", source, re.MULTILINE) for source in sources]
    said = next(comment[1].replace("#: ", "   ") for comment in comments if comment)
    entries = "".join(f"   - ``{key}``: ``{value}``\n" for key, value in contents.items())
    return f".. data:: {module}.{name}\n   :noindex:\n\n{said}\n{entries}\n"


def write_reference(app):
    """List every public name, so that none is forgotten."""
    optimizers = {kind.__name__ for kind in fl.optimizers().values()}
    functions, classes = [], []
    for name in fl.__all__:
        thing = getattr(fl, name)
        if name not in optimizers and not inspect.ismodule(thing):
            (classes if inspect.isclass(thing) else functions).append(name)
    page = "Reference\n=========\n\n"
    for title, names, directive in (("Functions", functions, "autofunction"), ("Classes", classes, "autoclass")):
        page += f"{title}\n{'-' * len(title)}\n\n"
        for name in names:
            page += (
                f".. {directive}:: fallline.{name}\n" + ("   :members:\n" if directive == "autoclass" else "") + "\n"
            )
    for module, title in MODULES.items():
        page += f"{title}\n{'-' * len(title)}\n\n"
        contents = __import__(module, fromlist=["*"])
        for name in contents.__all__:
            thing = getattr(contents, name)
            if inspect.isclass(thing):
                page += (
                    f".. autoclass:: {module}.{name}\n   :members:\n   :exclude-members: {ROUTING}\n   :noindex:\n\n"
                )
            elif inspect.isfunction(thing):
                page += f".. autofunction:: {module}.{name}\n   :noindex:\n\n"
            else:
                page += mapping(module, name, thing)
    (HERE / "reference.rst").write_text(page, encoding="utf-8")


def write_mathml(writer, node):
    """Write a formula; a command that the converter does not know would stay in it as text."""
    from docutils import nodes
    from latex2mathml.converter import convert

    block = isinstance(node, nodes.math_block)
    source = " ".join(node.astext().split())
    formula = convert(source, display="block" if block else "inline")
    if "\\" in formula:
        raise ValueError(f"{source}: must have commands that latex2mathml knows; got {formula}. Write it with others.")
    formula = formula.replace('mathvariant="monospace"', 'style="font-family: monospace; text-transform: none"')
    writer.body.append(f'<div class="math">{formula}</div>\n' if block else formula)
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (write_mathml, None), (write_mathml, None))
    app.connect("builder-inited", write_optimizer_pages)
    app.connect("builder-inited", write_reference)
