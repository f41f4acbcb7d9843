"""RL, sampling, labelling and evaluation go on, after Ctrl-C or SIGTERM, as if never stopped."""

import os
import signal

import pytest

from rlhfkit.online.logprob_drift import SamplingDrift
from rlhfkit.online.loop import OnlineOptimizer
from rlhfkit.stages.completions import CompletionSampler
from rlhfkit.storage.checkpoint_files import newest_checkpoint
from rlhfkit.storage.frontier import Candidate
from rlhfkit.storage.stop_signals import Interrupted
from tests.resume.comparing import contents

BEFORE = ("stages=[sft,sample,label,reward_model]", "stage.sample.num_prompts=6")
RL = ("stages=[rl]", "stage.rl.total_episodes=32", "stage.rl.batch_size=8")
PPO = (
    "optimizer.learning_rate=1e-2", "optimizer.value_learning_rate=1e-2", "optimizer.ptx_coef=1",
    "optimizer.ptx_batch_size=2", "optimizer.ema_decay=0.5", "optimizer.critic_warmup=2",
    "optimizer.num_ppo_epochs=2", "optimizer.num_mini_batches=2", "optimizer.warmup_iterations=3",
    "stage.rl.use_score_scaling=true", "stage.rl.use_score_norm=true",
    "kl=adaptive", "kl.target=0.01", "kl.horizon=100", "loader.lora_dropout=0.1",
)  # fmt: skip
KINDS = {
    "ppo": PPO,
    "ppo, 8-bit": (*PPO, "optimizer.optim=adamw_8bit"),
    "ppo, upper layers": (*PPO, "loader.lora_last_layers=1", "loader.lora_dropout=0"),
    "ppo, whole models": (*PPO[:-1], "loader=full"),
}


@pytest.fixture
def stop_at(monkeypatch):
    """`stop_at(Class, "method", 2, SIGINT)`: the signal comes during its second call."""

    def make(owner, name, turn, number=signal.SIGTERM):
        method, calls = getattr(owner, name), []

        def counted(*args, **kwargs):
            calls.append(1)
            if len(calls) == turn:
                os.kill(os.getpid(), number)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    return make


@pytest.fixture
def never_stopped(run_tiny, tmp_path):
    """`never_stopped(*overrides)`: what a run of them leaves."""

    def run(*overrides):
        run_tiny(*overrides, f"run_dir={tmp_path / 'whole'}")
        return contents(tmp_path / "whole")

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("owner", "place", "saved"),
    [
        (OnlineOptimizer, "collect", "step_000001_within"),
        (SamplingDrift, "metrics", "step_000002"),
    ],
)
def test_rl_goes_on(run_tiny, never_stopped, stop_at, tmp_path, kind, owner, place, saved):
    """Interrupted in the second batch of four: within it, when it is sampled, and at its end."""
    loader = [item for item in KINDS[kind] if item.startswith("loader")]
    never_stopped(*BEFORE, *loader)
    wanted = never_stopped(*RL, *KINDS[kind])
    run_tiny(*BEFORE, *loader)
    stop_at(owner, place, 2)
    with pytest.raises(Interrupted):
        run_tiny(*RL, *KINDS[kind])
    assert newest_checkpoint(tmp_path / "run" / "rl" / "checkpoints").name == saved
    run_tiny(*RL, *KINDS[kind])
    assert contents(tmp_path / "run") == wanted
    assert not (tmp_path / "run" / "rl" / "checkpoints").exists()


SELECTING = (
    *PPO, "reward=[length,format]", "reward.length.max=0", "reward.format.weight=0",
    "stage.rl.select_by=format",
)  # fmt: skip


@pytest.mark.parametrize(
    ("turn", "saved"), [(2, "step_000000_within"), (5, "step_000002"), (6, "step_000002_within")]
)
def test_rl_that_selects_goes_on(
    run_tiny, never_stopped, stop_at, tmp_path, monkeypatch, turn, saved
):
    """Candidates and training answer in turns, the start first: interrupted in the first batch,
    while the third candidate is scored, and in the third batch. The second candidate is kept."""
    monkeypatch.setattr(Candidate, "beats", lambda candidate, kept: candidate.iteration == 1)
    before = ("stages=[sft]",)
    never_stopped(*before)
    wanted = never_stopped(*RL, *SELECTING)
    run_tiny(*before)
    stop_at(OnlineOptimizer, "collect", turn)
    with pytest.raises(Interrupted):
        run_tiny(*RL, *SELECTING)
    assert newest_checkpoint(tmp_path / "run" / "rl" / "checkpoints").name == saved
    run_tiny(*RL, *SELECTING)
    assert contents(tmp_path / "run") == wanted


ANSWERS = (
    "stages=[sft,sample,label,reward_model,rl,evaluate]", "stage.sample.num_completions=16",
    "stage.sample.models=[sft,base]", "stage.evaluate.num_completions=30", "reward=[length]",
    "stage.rl.total_episodes=8",
)  # fmt: skip


@pytest.mark.parametrize("turn", [3, 6, 13])
def test_sampling_and_evaluation_go_on(run_tiny, never_stopped, stop_at, tmp_path, turn):
    """In sample, 8 answers of a model to each of 12 prompts are 2 parts; in evaluate, 30 to each of
    6 are 3."""
    wanted = never_stopped(*ANSWERS)
    stop_at(CompletionSampler, "_parts", turn, signal.SIGINT)
    with pytest.raises(Interrupted):
        run_tiny(*ANSWERS)
    run_tiny(*ANSWERS)
    assert contents(tmp_path / "run") == wanted
