"""A page for each task, which passes every check beside the data that it names."""

import shutil

import pytest
from hydra import compose, initialize_config_module

from rlhfkit.commands.init import tasks, write_file
from rlhfkit.commands.run_words import expanded
from rlhfkit.commands.typed_words import as_hydra_reads
from rlhfkit.errors import UserError
from rlhfkit.runner.preflight import find_mistakes
from rlhfkit.runner.runner import Runner

TINY = ["model.max_prompt_length=24", "stage.sft.max_completion_length=12",
        "stage.reward_model.max_completion_length=12", "sampler.response_length=12",
        "eval_fraction=0.2"]  # fmt: skip


@pytest.mark.parametrize("task", tasks())
def test_the_page_of_a_task(task, tmp_path, monkeypatch, plugins, tiny_files, capsys):
    monkeypatch.chdir(tmp_path)
    for split in ("demonstrations", "prompts", "rankings"):
        shutil.copy(tiny_files[split], tmp_path / f"{split}.jsonl")
    write_file([task], plugins)
    assert f"then rlhfkit check {task}.yaml" in capsys.readouterr().out
    assert f"rlhfkit run {task}.yaml" in (tmp_path / f"{task}.yaml").read_text()
    typed = [f"{task}.yaml", f"model.path={tiny_files['model']}", *TINY]
    options, _ = as_hydra_reads(expanded("run", typed, plugins), plugins)
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        runner = Runner(compose("config", options), plugins)
    planned, mistakes = runner.planned()
    assert find_mistakes(planned, mistakes) == []
    assert planned.names == runner.config.stages


def test_mistakes(tmp_path, monkeypatch, plugins):
    monkeypatch.chdir(tmp_path)
    write_file(["sft", "mine.yaml"], plugins)
    for words, says in (
        ([], "say for what, as in rlhfkit init sft; choices: dpo, grpo, ppo, reward_model, sft"),
        (["stf"], "init stf: no such task; did you mean 'sft'"),
        (["sft", "mine.yaml"], "mine.yaml: is there already"),
        (["sft", "mine"], "must end in .yaml"),
    ):
        with pytest.raises(UserError, match=says):
            write_file(words, plugins)
