"""The notebook from top to bottom, with a tiny model, in one process of its own."""

import os
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "rlhf_on_a_free_card.ipynb"
PROGRAM = """
import json, shlex, sys
from rlhfkit.commands.main import main

cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
names = {"__name__": "notebook"}
for cell in (cell for cell in cells if cell["cell_type"] == "code"):
    text = "".join(cell["source"])
    if text.startswith("!rlhfkit"):
        try:
            main(shlex.split(text)[1:])
        except SystemExit as end:  # the doctor's status is 1 where it finds something
            assert " doctor " in text and end.code in (0, 1), text
    elif not text.startswith("%"):
        exec(text, names)
    if "parameters" in cell["metadata"].get("tags", ()):
        names.update(MODEL=sys.argv[2], EPISODES=8, ANSWER_TOKENS=6)
"""


def test_the_notebook_runs(tmp_path, tiny_files):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, NOTEBOOK, tiny_files["model"]],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "no mistake found" in done.stdout
    assert "What is the capital of Estonia?" in done.stdout
    assert (tmp_path / "my_model" / "model.safetensors").is_file()
