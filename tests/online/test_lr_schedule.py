"""Rates over the iterations of RL, and how many pretraining texts go with the episodes."""

import pytest
import torch

from rlhfkit.config.online import OnlineConfig
from rlhfkit.online.lr_schedule import set_rates
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit_plugins.optimizers import PpoConfig
from rlhfkit_plugins.optimizers.ppo import PPO
from tests.plugins.optimizers.ppo_steps import CONFIG, make
from tests.plugins.optimizers.test_ppo import make_roles, make_rollout


def rates(iterations, **options):
    groups = [
        {"name": name, "params": [torch.zeros(1)], "lr": lr}
        for name, lr in (("policy", 2.0), ("value", 3.0))
    ]
    optimizer = torch.optim.AdamW(groups)
    found = []
    for iteration in range(1, iterations + 1):
        set_rates(optimizer, OnlineConfig(**options), iteration, iterations)
        found.append([group["lr"] for group in optimizer.param_groups])
    return [list(column) for column in zip(*found, strict=True)]


def test_rates_are_the_peaks_by_default():
    assert rates(3) == [[2.0] * 3, [3.0] * 3]


def test_the_policy_warms_up_from_a_tenth_and_values_do_not():
    policy, value = rates(12, warmup_iterations=10)
    expected = [0.2, 0.38, 0.56, 0.74, 0.92, 1.1, 1.28, 1.46, 1.64, 1.82, 2.0, 2.0]
    assert policy == pytest.approx(expected)
    assert value == [3.0] * 12


def test_all_rates_fall_to_0():
    policy, value = rates(4, lr_scheduler_type="linear")
    assert policy == pytest.approx([2.0, 1.5, 1.0, 0.5])
    assert value == pytest.approx([3.0, 2.25, 1.5, 0.75])


def test_the_loop_sets_them(run_tiny):
    runner = run_tiny("stages=[sft,rl]", "reward=[length]", "optimizer.warmup_iterations=4")
    rows = read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")
    assert [row["lr"] for row in rows] == pytest.approx([1e-6, 1e-5 * (0.1 + 0.9 / 4)])


@pytest.mark.parametrize(("options", "drawn"), [({}, 2), ({"ptx_per_episode": 3}, 6)])
def test_pretraining_texts_of_a_mini_batch(make_context, monkeypatch, options, drawn):
    """Two mini-batches of two episodes, in two epochs; one backward pass, whatever their number."""
    roles = make_roles()
    ppo = make(PPO, PpoConfig(**CONFIG, **options), roles, make_context, 4)
    seen = []
    backward = ppo.ptx_backward
    monkeypatch.setattr(
        ppo,
        "ptx_backward",
        lambda texts, *rest: (seen.append(len(texts)), backward(texts, *rest))[1],
    )
    ppo.step(make_rollout(roles))
    assert seen == [drawn] * 4
