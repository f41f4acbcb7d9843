"""`--help` of every benchmark says what it does and what its options mean, and measures nothing."""

import argparse
import ast
import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FILES = sorted(BENCHMARKS.glob("*.py"))
SCRIPTS = [file for file in FILES if 'if __name__ == "__main__":' in file.read_text()]


def imported(file):
    """Names of the modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (item.name for item in node.names)


def test_a_file_that_is_no_script_is_a_part_of_one():
    parts = {name for file in FILES for name in imported(file)}
    assert {file.stem for file in FILES} - {file.stem for file in SCRIPTS} <= parts
    assert {"gpu_parity", "trl_ppo"} <= {file.stem for file in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.stem)
def test_help(script, monkeypatch, capsys):
    options = []

    def noted(self, *arguments, **named):
        options.append(add(self, *arguments, **named))
        return options[-1]

    add = argparse.ArgumentParser.add_argument
    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", noted)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("sys.argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {script.name} ")
    assert ast.get_docstring(ast.parse(script.read_text())).partition("\n")[0] in shown
    assert len(options) > 1
    for option in options:
        assert option.help, option.dest
