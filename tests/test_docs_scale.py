"""docs/scale.md prints what its own arithmetic gives."""

import re
import subprocess
import sys
from pathlib import Path


def test_the_numbers_are_those_of_the_formulas():
    page = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
    code, shown = (re.search(rf"```{kind}\n(.*?)```", page, re.S)[1] for kind in ("python", "text"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == shown
