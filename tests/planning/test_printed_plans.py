"""Every plan that a page or a recipe shows is what `rlhfkit plan` prints."""

import re
from pathlib import Path

import pytest

from rlhfkit.commands.main import main
from rlhfkit.console import console

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "conf" / "model"
PRESETS = ("consumer_6gb", "consumer_8gb", "consumer_12gb", "consumer_16gb", "consumer_24gb", "t4")
ROW = re.compile(r"^[ #]*([a-z_]+) +((?:\d+\.\d\d +){7}.*)$", re.M)
VERDICT = re.compile(r"fits: \S+ peaks at [\d.]+ GB of the [\d.]+ GB")


def rows(text):
    """The rows of plans by phase: seven parts, the peak, and the time where it is shown."""
    return {name: numbers.split() for name, numbers in ROW.findall(text)}


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """`plan("recipe=t4")`: what is printed, in a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_width", 80)

    def run(*words):
        main(["plan", *words])
        return capsys.readouterr().out

    return run


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", PRESETS)
def test_presets(recipe, plan):
    printed = plan(f"recipe={recipe}")
    shown = page(f"recipes/recipe/{recipe}.yaml")
    assert rows(printed) == rows(shown)
    verdict = VERDICT.search(printed)[0]
    assert verdict in shown
    phase, peak, limit = re.search(r"(\S+) peaks at (\S+ GB) of the (\S+ GB)", verdict).groups()
    memory = page("docs/memory.md")
    assert re.search(rf"^\| `{recipe}`.*\| {phase} \| {peak} \| {limit} \|$", memory, re.M)
    if f"`rlhfkit plan recipe={recipe}` prints" in memory:
        assert rows(printed) == rows(memory)
        assert verdict in memory


def test_the_recipe_of_the_paper_on_one_card(plan, tmp_path):
    """Of its model, whose configuration is the instructed one's but for its ends."""
    (tmp_path / "config.json").write_text((CONFIGS / "qwen2_5_1_5b.json").read_text())
    command, peak, phase = re.search(
        r"rlhfkit plan (recipe=instructgpt_qlora \S+) +# (\S+ GB) at its peak \((\w+)\)",
        page("docs/recipes.md"),
    ).groups()
    printed = plan(*command.split(), f"model.path={tmp_path}")
    assert f"{phase} peaks at {peak} " in printed
