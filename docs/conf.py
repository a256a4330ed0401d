"""Sphinx configuration; `make docs` builds the pages with every warning as an error."""

import sys
from pathlib import Path

import gen2reco

sys.path.insert(0, str(Path(__file__).parent))

project = "gen2reco"
author = "the gen2reco developers"
copyright = f"2026, {author}"  # noqa: A001
version = release = gen2reco.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "generated",
]
default_role = "literal"  # single backticks of docstrings
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"gen2reco {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
