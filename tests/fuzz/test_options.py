"""Broken overrides and recipes: one line that names the option or the file, and nothing runs."""

import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_module

from rlhfkit.commands.error_lines import composing, one_line
from rlhfkit.commands.main import main
from rlhfkit.runner.runner import Runner
from tests.fuzz.broken_options import OVERRIDES, RECIPES

NAMED = ("run_name=x", "stages=[report]")


def told(plugins, *words):
    """The one line that a run of these words ends in."""
    line = None
    try:
        with composing(words), initialize_config_module("rlhfkit_conf", version_base="1.3"):
            raw = compose("config", [*NAMED, *words])
        Runner(raw, plugins).run()
    except Exception as error:
        line = one_line(error)
    assert line is not None
    assert len(line.splitlines()) == 1
    return line


@pytest.mark.parametrize("case", OVERRIDES, ids=lambda case: case.id)
def test_overrides(plugins, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    line = told(plugins, *case.words)
    assert case.says in line
    assert not list(tmp_path.rglob("*.json"))  # a run's lock may be left


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """What the command writes to the terminal's second stream."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)

    def run(*words):
        with pytest.raises(SystemExit) as caught:
            main(list(words))
        assert caught.value.code == 2
        return capsys.readouterr().err

    return run


@pytest.fixture
def with_recipe(tmp_path):
    """The words that choose a recipe of this text."""

    def write(content):
        path = tmp_path / "own" / "recipe" / "mine.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ("--config-dir", str(tmp_path / "own"), "recipe=mine", *NAMED)

    return write


@pytest.mark.parametrize("case", RECIPES)
def test_recipes(command, with_recipe, case):
    content, says = RECIPES[case]
    said = command(*with_recipe(content))
    assert said.startswith("rlhfkit: ")
    assert says in said
    assert len(said.splitlines()) == 1


BY_COMMAND = [case for case in OVERRIDES if not case.id.startswith(("run_name", "run_dir="))][::6]


@pytest.mark.parametrize("case", BY_COMMAND, ids=lambda case: case.id)
def test_the_command_says_the_same(command, plugins, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    said = command(*NAMED, *case.words)
    assert said.startswith(f"rlhfkit: {told(plugins, *case.words)[:200]}".split("; given")[0])


PROCESSES = [
    (["compare", "nowhere"], "compare nowhere: neither a run's directory nor one that holds runs"),
    ([*NAMED, "+stage.sft.lerning_rate=1"], "stage.sft.lerning_rate: no such option"),
    ([*NAMED, "reward=null"], "the options cannot be composed"),
]


@pytest.mark.parametrize(("words", "says"), PROCESSES, ids=lambda value: str(value)[:40])
def test_as_a_process(tmp_path, words, says):
    done = subprocess.run(
        [sys.executable, "-m", "rlhfkit", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"rlhfkit: {says}")
    assert len(done.stderr.splitlines()) == 1
