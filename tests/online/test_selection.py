"""The policy that stage rl keeps is the best of its candidates, whatever optimizer made them."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from rlhfkit.errors import UserError
from rlhfkit.online.selection import PolicySelection, check_selection
from rlhfkit.storage.run_dir import read_json, read_jsonl
from rlhfkit.types import Response

SHORT_IS_PAID = (
    "reward=[length,format]", "reward.format.weight=0", "reward.format.pattern=fine",
    "reward.length.max=0", "reward.length.slope=8", "stage.rl.select_by=format",
    "stage.rl.total_episodes=32", "stage.rl.batch_size=8", "optimizer.learning_rate=1e-2",
)  # fmt: skip
"""Four iterations, in which what is only measured can fall."""


def rl(run_tiny, folder, *overrides):
    run_tiny("stages=[rl]", f"run_dir={folder}", *SHORT_IS_PAID, *overrides)
    return read_json(folder / "rl" / "frontier.json")


def weights(folder):
    return load_file(folder / "rl" / "model" / "adapter_model.safetensors")


@pytest.mark.parametrize("optimizer", ["ppo", "rloo", "grpo", "reinforce_pp"])
def test_every_online_optimizer_offers_candidates(run_tiny, tmp_path, optimizer):
    group = ["optimizer.num_generations=2"] if optimizer == "grpo" else []
    found = rl(run_tiny, tmp_path / "run", f"optimizer={optimizer}", *group)
    assert [item["iteration"] for item in found["candidates"]] == [0, 1, 2, 3, 4]
    assert found["candidates"][0]["kl"] == pytest.approx(0, abs=1e-4)
    assert {len(item["scores"]) for item in found["candidates"]} == {2}  # a fifth of 12 prompts
    assert found["judge"] == "format"
    logged = read_jsonl(tmp_path / "run" / "rl" / "metrics.jsonl")
    assert [row["select/kl"] for row in logged] == [it["kl"] for it in found["candidates"][1:]]


def scored(monkeypatch, by_iteration):
    """Candidates answer as ever, and have these scores."""
    score = PolicySelection._score

    def made(self, iteration):
        found = score(self, iteration)
        found.scores[:] = [float(by_iteration(iteration))] * len(found.scores)
        return found

    monkeypatch.setattr(PolicySelection, "_score", made)


@pytest.mark.parametrize("average", ["optimizer.ema_decay=0", "optimizer.ema_decay=0.5"])
def test_the_policy_that_is_saved_is_the_one_that_is_kept(run_tiny, tmp_path, average, monkeypatch):
    """Of four iterations the second, with whose weights a run of two ends."""
    with monkeypatch.context() as patch:
        scored(patch, lambda iteration: iteration == 2)
        assert rl(run_tiny, tmp_path / "four", average)["kept"] == 2
    with monkeypatch.context() as patch:
        scored(patch, lambda iteration: iteration)
        assert rl(run_tiny, tmp_path / "two", average, "stage.rl.total_episodes=16")["kept"] == 2
        found = rl(run_tiny, tmp_path / "last", average, "stage.rl.select_candidates=1")
        assert [item["iteration"] for item in found["candidates"]] == [0, 4]
        assert found["kept"] == 4
        scored(patch, lambda iteration: -iteration)
        assert rl(run_tiny, tmp_path / "start", average, "stage.rl.total_episodes=8")["kept"] == 0
    start, two, four, last = (weights(tmp_path / name) for name in ("start", "two", "four", "last"))
    assert all(torch.equal(four[name], two[name]) for name in two)
    for other in (start, last):
        assert not all(torch.equal(four[name], other[name]) for name in four)


def test_training_is_the_same_whatever_is_kept(run_tiny, tmp_path):
    """With scores scaled by those so far, in which candidates must not count."""
    scaled = "stage.rl.use_score_scaling=true"
    rl(run_tiny, tmp_path / "one", scaled, "stage.rl.select_candidates=1")
    rl(run_tiny, tmp_path / "four", scaled, "stage.rl.select_candidates=4")

    def trained(name):
        rows = read_jsonl(tmp_path / name / "rl" / "metrics.jsonl")
        return [
            {key: row[key] for key in row if not key.startswith(("select/", "time/"))}
            for row in rows
        ]

    assert trained("one") == trained("four")


def test_candidates_have_the_averaged_weights(run_tiny, tmp_path):
    """An average that hardly moves: all candidates but the start answer alike, while RL goes on."""
    found = rl(run_tiny, tmp_path / "run", "optimizer.ema_decay=0.9999999")["candidates"]
    assert found[4]["kl"] == pytest.approx(found[1]["kl"], abs=1e-3)
    logged = read_jsonl(tmp_path / "run" / "rl" / "metrics.jsonl")
    assert logged[3]["objective/kl"] > 0.1 + found[4]["kl"]


def test_the_objective_is_the_reward_less_a_fixed_price_of_kl(make_context):
    """Whatever the controller does later. One of the answers was cut."""
    context = make_context(
        "reward=[length,format]", "reward.length.weight=2", "stage.rl.select_by=objective",
        "stage.rl.missing_eos_penalty=3",
    )  # fmt: skip
    loop = SimpleNamespace(kl=SimpleNamespace(coef=0.5))
    selection = PolicySelection(loop, context, [])
    loop.kl.coef = 7.0
    raw = {"length": torch.tensor([1.0, 0.5]), "format": torch.tensor([0.0, 1.0])}
    responses = [Response([1], [-0.1], ended=True), Response([1], [-0.1], ended=False)]
    rollout = SimpleNamespace(raw_scores=raw, responses=responses)
    judged = selection._judged(rollout, torch.tensor([4.0, 2.0]))
    assert judged.tolist() == [2 - 0.5 * 4, 2 * 0.5 + 1 - 3 - 0.5 * 2]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["stage.rl.select_by=gol"], "no such reward; did you mean 'gold'"),
        (["stage.rl.select_by=length"], "length: that reward is trained on, and no judge"),
        (["stage.rl.select_by=objective", "kl=none"], "kl=none charges nothing at the start"),
        (["stage.rl.select_by=objective", "kl=pid"], "kl=pid charges nothing at the start"),
    ],
)
def test_what_cannot_judge_is_told_before_anything_is_trained(make_context, overrides, told):
    context = make_context("reward=[length,gold]", "reward.gold.weight=0", *overrides)
    with pytest.raises(UserError, match=told):
        check_selection(context)


@pytest.mark.parametrize("judge", ["last", "objective", "gold"])
def test_what_can_judge_is_taken(make_context, judge):
    chosen = f"stage.rl.select_by={judge}"
    check_selection(make_context("reward=[length,gold]", "reward.gold.weight=0", chosen))


@pytest.mark.parametrize("optimizer", ["dpo", "trl_rloo"])
def test_an_optimizer_with_a_trainer_of_its_own_is_told(run_tiny, optimizer):
    with pytest.raises(UserError, match="has a trainer of its own, which keeps its last policy"):
        run_tiny("stages=[sft,sample,label,rl]", f"optimizer={optimizer}", *SHORT_IS_PAID[:-1])
