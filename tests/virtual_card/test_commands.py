"""The command line where there is a card: a run, its export and its plan."""

import json
import math

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

COMMAND = "from tests.virtual_card import card; from rlhfkit.commands.main import main; main()"


@pytest.fixture
def rlhfkit(card_process, tiny_overrides, tmp_path):
    """`rlhfkit("plan", "loader=lora")`: what the command prints."""
    place = f"run_dir={tmp_path / 'run'}"

    def run(verb, *options, **env):
        given = ("run_name=x", place, *tiny_overrides, *options)
        return card_process("-c", COMMAND, verb, *given, **env)

    return run


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_a_run_is_planned_made_and_exported(rlhfkit, tmp_path, tiny_files, loader):
    choice = [f"loader={loader}", "stages=[sft,sample,label,reward_model,rl]"]
    assert "that a card of 24 GB leaves to tensors" in rlhfkit("plan", *choice)
    said = rlhfkit("run", *choice)
    assert "computing on virtual card 8.9 in bfloat16" in said
    adapter, whole = tmp_path / "adapter", tmp_path / "whole"
    rlhfkit("export", *choice, f"export.to={adapter}")
    rlhfkit("export", *choice, "export.merged=true", f"export.to={whole}")
    base = AutoModelForCausalLM.from_pretrained(tiny_files["model"])
    PeftModel.from_pretrained(base, adapter)
    AutoModelForCausalLM.from_pretrained(whole)


SMALL = (
    "optimizer.ptx_length=8", "optimizer.critic_warmup=0", "stage.sample.num_prompts=null",
    "stage.sft.num_train_epochs=1", "stages=[sft,sample,label,reward_model,rl]",
    "model.chat_template=null", "stage.rl.micro_batch_tokens=100", "sampler=graph",
)  # fmt: skip


def test_the_preset_without_bfloat16_runs_on_such_a_card(rlhfkit, tmp_path):
    said = rlhfkit("run", "recipe=t4", *SMALL, VIRTUAL_CUDA_CAPABILITY="7.5")
    assert "computing on virtual card 7.5 in float16" in said
    rows = (tmp_path / "run/rl/metrics.jsonl").read_text().splitlines()
    assert [math.isfinite(json.loads(row)["loss/policy_avg"]) for row in rows] == [True, True]
