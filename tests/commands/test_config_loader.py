"""Recipes compose with every component; `~` is the home directory."""

from itertools import zip_longest
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from rlhfkit.component import GROUPS
from rlhfkit.config.run import check_entries

FOLDER = Path(__file__).parents[2] / "recipes" / "recipe"
SINGLE = [group.name for group in GROUPS if not group.many]


def sets_options(recipe, groups):
    return not set(OmegaConf.load(FOLDER / f"{recipe}.yaml")).isdisjoint(groups)


RECIPES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
SETTING = [recipe for recipe in RECIPES if sets_options(recipe, SINGLE)]
"""The recipes that set options of a component themselves, and not in a preset of its own."""


WITHOUT_DEFAULT = {
    "labeler=reward_model": "labeler.path=x",
    "labeler=local_judge": "labeler.path=x",
    "labeler=model_judge": "labeler.model=x",
}


def swaps(plugins, recipe=None):
    """Choices of all groups that between them name every component."""
    groups = [name for name in SINGLE if recipe is None or sets_options(recipe, [name])]
    found = [[f"{group}={name}" for name in plugins.components[group]] for group in groups]
    for choices in zip_longest(*found):
        missing = [option for choice, option in WITHOUT_DEFAULT.items() if choice in choices]
        yield [*(choice for choice in choices if choice), *missing]


def composes(make_raw, recipe, choices):
    raw = make_raw(f"recipe={recipe}", *choices)
    check_entries(OmegaConf.to_object(raw))
    return raw


@pytest.mark.parametrize("recipe", [*SETTING, "headline_ppo"])
def test_a_recipe_composes_with_the_components_it_does_not_choose(plugins, make_raw, recipe):
    for choices in swaps(plugins, recipe if recipe in SETTING else "quickstart"):
        composes(make_raw, recipe, choices)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes_with_every_component(plugins, make_raw, recipe):
    for choices in swaps(plugins):
        composes(make_raw, recipe, choices)


def test_an_option_that_the_other_component_has_too_holds(make_raw):
    choices = ["sampler=server", "sampler.model=m", "sampler.adapter_dir=d"]
    raw = composes(make_raw, "quickstart", choices)
    assert raw.sampler.name == "server"
    assert raw.sampler.response_length == 24
    assert "batch_size" not in raw.sampler


@pytest.mark.parametrize("choice", ["reward=[length]", "data=[files]", "evaluator=[win_rate]"])
def test_options_go_with_a_component_that_is_left_out(make_raw, choice):
    raw = composes(make_raw, "overoptimization", [choice])
    group, _, name = choice.partition("=")
    assert list(raw[group]) == [name.strip("[]")]


def test_a_wrong_option_in_a_recipe_is_told(make_raw, tmp_path):
    recipe = tmp_path / "recipe" / "mine.yaml"
    recipe.parent.mkdir()
    recipe.write_text("# @package _global_\nsampler:\n  bach_size: 3\n")
    here = f"hydra.searchpath=[file://{tmp_path}]"
    with pytest.raises(ConfigCompositionException, match="bach_size"):
        make_raw("recipe=mine", here)


def test_every_path_may_start_at_home(make_raw, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    typed = {
        "model.path": "~/m", "export.to": "~", "reuse": "~/out/a",
        "stage.reward_model.start": "~/r",
        "sampler.adapter_dir": "~/d", "data.files.prompts": "~/p.jsonl", "model.revision": "~1",
        "stage.report.runs.0": "~/a", "stage.evaluate.opponents.PPO": "~/ppo",
    }  # fmt: skip
    words = [f"{name}='{text}'" for name, text in typed.items() if not name.endswith(".0")]
    words = [word if "opponents" not in word else f"+{word}" for word in words]
    raw = make_raw("sampler=server", "data=[files]", "stage.report.runs=['~/a']", *words)
    found = {name: OmegaConf.select(raw, name.replace(".0", "[0]")) for name in typed}
    assert found == {
        "model.path": "/home/me/m", "export.to": "/home/me", "reuse": "/home/me/out/a",
        "stage.reward_model.start": "/home/me/r", "sampler.adapter_dir": "/home/me/d",
        "data.files.prompts": "/home/me/p.jsonl", "model.revision": "~1",
        "stage.report.runs.0": "/home/me/a", "stage.evaluate.opponents.PPO": "/home/me/ppo",
    }  # fmt: skip
