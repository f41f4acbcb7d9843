"""How Sphinx builds the site: `make site`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from reference import write_pages  # noqa: E402 - it lies beside this file

project = "rlhfkit"
author = "rlhfkit's authors"
release = version = installed_version("rlhfkit")

extensions = ["myst_parser"]
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"rlhfkit {release}"
html_copy_source = False
html_show_copyright = False
html_use_index = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
smartquotes = False  # they make a dash of the two before a flag
highlight_language = "text"
exclude_patterns = ["generated/home.md"]  # which index.md includes

write_pages(HERE / "generated")
