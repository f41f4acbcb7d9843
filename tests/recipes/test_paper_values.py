"""Every recipe has the values that its paper or the authors' code has, which stand once in
docs/paper_values.yaml, and says beside each where it is from."""

import re
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
    *(f"stage.{name}.max_completion_length" for name in ("sft", "rl_sft", "reward_model")),
}  # fmt: skip
"""Where recipe=instructgpt_qlora is not the paper's, as it says itself."""

PLACES = {
    "paper": r"([A-E]|\d)(\.\d)*|(table|figure) \d+",
    "inferred": r"([A-E]|\d)(\.\d)*|(table|figure) \d+",
    "code": r"[\w/]+\.(py|sbatch)",
}
"""What a source looks like: a section, appendix, table or figure, or a file."""

HARDWARE = {
    "per_device_train_batch_size", "micro_batch_size", "gradient_checkpointing", "path", "start",
    "chat", "stages", "select_by",
}  # fmt: skip
"""Options that no paper has: how a batch is cut up, which public model stands in."""


def printed(recipe):
    return TABLE[recipe] | (TABLE["instructgpt"] if recipe in SIZES else {})


def value(config, option):
    if option.endswith(".batch"):
        stage = OmegaConf.select(config, option.removesuffix(".batch"))
        return stage.per_device_train_batch_size * stage.gradient_accumulation_steps
    return OmegaConf.select(config, option, throw_on_missing=True)


def differing(config, rows):
    """Options with another value than the table's."""
    return {option for option, (wanted, *_) in rows.items() if value(config, option) != wanted}


def without_source(rows):
    """Options of which the table does not say whose value it is, or where it stands."""
    return {
        option for option, row in rows.items()
        if len(row) != 3 or row[1] not in PLACES or not re.fullmatch(PLACES[row[1]], str(row[2]))
    }  # fmt: skip


def remarks(recipe):
    """By option, the remark on its line, of all files that the recipe is made of."""
    found, (files, parents) = {}, files_of("recipe", recipe)
    for group, name in [*parents, *files]:
        prefix = [] if group == "recipe" else [group]
        path = []
        for line in (ROOT / "recipes" / group / f"{name}.yaml").read_text().splitlines():
            entry = re.fullmatch(r"( *)(\w+):(.*)", line)
            if entry is None or entry[2] == "defaults":
                continue
            path = [*path[: len(entry[1]) // 2], entry[2]]
            if not re.fullmatch(r"\s*(#.*)?", entry[3]):
                found[".".join([*prefix, *path])] = entry[3].partition(" # ")[2]
    return found


def files_of(group, name):
    """The file of a preset with those that it chooses, and the presets that it is based on."""
    files, parents = [(group, name)], []
    for entry in OmegaConf.load(ROOT / "recipes" / group / f"{name}.yaml").defaults:
        if isinstance(entry, str):
            if (ROOT / "recipes" / group / f"{entry}.yaml").exists():
                more, before = files_of(group, entry)
                parents += [*before, *more]
            continue
        ((key, chosen),) = entry.items()
        kind = key.removeprefix("override /")
        if kind in ("sampler", "optimizer", "kl") and not isinstance(chosen, list):
            more, before = files_of(kind, chosen)
            files += [*before, *more]
    return files, parents


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_its_papers_values(make_raw, recipe):
    assert differing(make_raw(f"recipe={recipe}"), printed(recipe)) == set()


@pytest.mark.parametrize("name", TABLE)
def test_every_value_has_its_source(name):
    assert without_source(TABLE[name]) == set()


def test_another_digit_and_a_missing_source_are_found(make_raw):
    rows = printed("sentiment")
    config = make_raw("recipe=sentiment")
    for option, (wanted, *source) in rows.items():
        other = wanted + 1e-7 if isinstance(wanted, int | float) else f"{wanted}0"
        assert differing(config, {option: [other, *source]}) == {option}
    bad = ([1.0], [1.0, "paper", ""], [1.0, "memory", "2.2"], [1.0, "code", "2.2"], [1.0, "2.2"])
    assert without_source(dict(enumerate(bad))) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_where_its_values_are_from(recipe):
    """The table's source is in the remark on the line; of a value that is not in the table it says
    that it is not printed."""
    rows, said = printed(recipe), remarks(recipe)
    assert len(said) > 20
    for option, remark in said.items():
        parent, _, name = option.rpartition(".")
        name = "batch" if name == "gradient_accumulation_steps" else name
        source = rows.get(f"{parent}.{name}".lstrip("."), (None, None, "not printed"))[2]
        named = re.search(rf"(?<![\w./]){re.escape(str(source))}(?!\w|\.\d)", remark)
        assert named or name in HARDWARE, f"{option}: '{remark}' does not name {source}"


@pytest.mark.parametrize("recipe", ["instructgpt_qlora", "instructgpt_qlora_ppo"])
def test_on_one_gpu_only_what_must_departs_does(make_raw, recipe):
    config = make_raw(f"recipe={recipe}")
    assert differing(config, TABLE["instructgpt"]) == DEPARTURES
    assert config.optimizer.ptx_coef == (0.0 if recipe.endswith("ppo") else 27.8)


def test_every_papers_recipe_is_in_the_table():
    files = {file.stem for file in (ROOT / "recipes" / "recipe").glob("*.yaml")}
    others = {"t4"} | {
        name for name in files if name.startswith(("ablate", "consumer", "instructgpt_qlora"))
    }
    on_cpu = {"quickstart", "headline", "headline_ppo", "overoptimization"}
    assert files - others - on_cpu - {"instructgpt"} == set(RECIPES)
