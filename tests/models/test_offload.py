"""Frozen models leave the device between uses, and nothing else changes."""

import torch
from transformers import LlamaForCausalLM

from rlhfkit.storage.run_dir import read_jsonl
from tests.plugins.loaders.conftest import trained
from tests.plugins.loaders.test_roles import BATCH

__all__ = ["trained"]


@torch.no_grad()
def test_one_frozen_model_at_a_time(trained, monkeypatch):
    """On a CPU both places are one, but the moves in and out differ in how they name it."""
    context, sft, reward, _ = trained("full")
    plain = context.build("loader").roles(sft, reward)
    expected = [
        plain.reference.response_logprobs(BATCH)[0],
        plain.reward.scores(BATCH),
        plain.policy.response_logprobs(BATCH)[0],
        plain.value.values(BATCH),
    ]
    context.config.loader.offload_idle = True
    roles = context.build("loader").roles(sft, reward)
    names = {
        id(roles.reference.model): "reference",
        id(roles.reward.language_model.model): "reward",
    }
    moves, to = [], LlamaForCausalLM.to

    def record(model, place):
        moves.append((names.get(id(model), "trained"), "out" if place == "cpu" else "in"))
        return to(model, place)

    monkeypatch.setattr(LlamaForCausalLM, "to", record)
    found = [roles.reference.response_logprobs(BATCH)[0]]
    roles.reference.response_logprobs(BATCH)
    assert moves == [("reference", "in")]
    found.append(roles.reward.scores(BATCH))
    assert moves[1:] == [("reference", "out"), ("reward", "in")]
    found.append(roles.policy.response_logprobs(BATCH)[0])
    assert moves[3:] == [("reward", "out")], "the trained ones stay, and have the device alone"
    found.append(roles.value.values(BATCH))
    assert len(moves) == 4
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_frozen_models_start_outside(trained, monkeypatch):
    context, sft, reward, _ = trained("full")
    context.config.loader.offload_idle = True
    moves, to = [], LlamaForCausalLM.to
    monkeypatch.setattr(
        LlamaForCausalLM, "to", lambda model, place: moves.append(place) or to(model, place)
    )
    context.build("loader").roles(sft, reward)
    assert moves.count("cpu") == 2


def test_training_is_the_same(run_tiny, tiny_files, tmp_path):
    def train(name, *overrides):
        runner = run_tiny(
            "loader=full", f"run_dir={tmp_path / name}",
            "labeler=imported", f"data.files.rankings={tiny_files['rankings']}",
            "stages=[sft,label,reward_model,rl]", *overrides,
        )  # fmt: skip
        return read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")

    for row, same in zip(train("a"), train("b", "loader.offload_idle=true"), strict=True):
        for name in [name for name in row if not name.startswith("time")]:
            assert same[name] == row[name], name
