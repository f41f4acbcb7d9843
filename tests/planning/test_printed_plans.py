"""Every plan that a page or a recipe shows is what `rlhfkit plan` prints."""

import json
import re
from pathlib import Path

import pytest

from rlhfkit.commands.main import main
from rlhfkit.console import console

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "conf" / "model"
PRESETS = ("consumer_6gb", "consumer_8gb", "consumer_12gb", "consumer_16gb", "consumer_24gb", "t4")
LLAMA_70B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
}
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


@pytest.mark.parametrize(("size", "loader"), [("7B", "full"), ("7B", "lora"), ("70B", "qlora")])
def test_the_plans_of_a_reproduction(size, loader, plan, tmp_path):
    qwen = json.loads((CONFIGS / "qwen2_5_7b.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(qwen if size == "7B" else LLAMA_70B))
    text = page("docs/scale.md")
    words = re.search(r"rlhfkit plan (.*)\\\n(.*)model\.path=DIR", text)
    printed = plan(*" ".join(words.groups()).split(), f"model.path={tmp_path}", f"loader={loader}")
    shown = re.search(rf"### {size}, loader={loader}: .*?\n\n(.*?)\n\n", text, re.S)[1]
    assert rows(printed) == rows(shown)
