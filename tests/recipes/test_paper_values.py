"""Every recipe has the values that its paper prints, which stand once in docs/paper_values.yaml."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]
TABLE = OmegaConf.to_container(OmegaConf.load(ROOT / "docs" / "paper_values.yaml"))
SIZES = [name for name in TABLE if name.startswith("instructgpt_")]
RECIPES = [name for name in TABLE if name != "instructgpt"]
DEPARTURES = {
    "model.max_prompt_length", "sampler.response_length", "stage.sft.num_train_epochs",
    "stage.sample.num_completions", "stage.sample.num_prompts",
    "stage.reward_model.learning_rate", "stage.rl.total_episodes",
}  # fmt: skip
"""Where recipe=instructgpt_qlora is not the paper's, as it says itself."""


def value(config, option):
    if option.endswith(".batch"):
        stage = OmegaConf.select(config, option.removesuffix(".batch"))
        return stage.per_device_train_batch_size * stage.gradient_accumulation_steps
    return OmegaConf.select(config, option, throw_on_missing=True)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_its_papers_values(make_raw, recipe):
    config = make_raw(f"recipe={recipe}")
    printed = TABLE[recipe] | (TABLE["instructgpt"] if recipe in SIZES else {})
    found = {option: value(config, option) for option in printed}
    assert found == {option: wanted for option, (wanted, _) in printed.items()}


@pytest.mark.parametrize("recipe", ["instructgpt_qlora", "instructgpt_qlora_ppo"])
def test_on_one_gpu_only_what_must_departs_does(make_raw, recipe):
    config = make_raw(f"recipe={recipe}")
    differing = {
        option for option, (wanted, _) in TABLE["instructgpt"].items()
        if value(config, option) != wanted
    }  # fmt: skip
    assert differing == DEPARTURES
    assert config.optimizer.ptx_coef == (0.0 if recipe.endswith("ppo") else 27.8)


def test_every_papers_recipe_is_in_the_table():
    files = {file.stem for file in (ROOT / "recipes" / "recipe").glob("*.yaml")}
    others = {
        name for name in files if name.startswith(("ablate", "consumer", "instructgpt_qlora"))
    }
    on_cpu = {"quickstart", "headline", "headline_ppo", "overoptimization"}
    assert files - others - on_cpu - {"instructgpt"} == set(RECIPES)


@pytest.mark.parametrize("recipe", SIZES)
def test_every_value_of_a_recipe_says_where_it_is_from(recipe):
    """In a remark on its line; how a batch is cut up is the hardware's affair."""
    free = ("per_device_train_batch_size", "micro_batch_size", "gradient_checkpointing", "path:")
    for folder in ("recipe", "optimizer"):
        for name in ("instructgpt", recipe):
            for line in (ROOT / "recipes" / folder / f"{name}.yaml").read_text().splitlines():
                key, _, rest = line.partition(": ")
                if rest and not line.lstrip().startswith(("#", "-")) and "stages" not in key:
                    assert "#" in rest or any(word in line for word in free), line
