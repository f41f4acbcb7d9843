"""NaN and infinity stop a stage before they are in the weights; one line says where and why."""

import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import LlamaForCausalLM

from rlhfkit.errors import Stopped
from rlhfkit.stages.sft import CompletionTrainer
from rlhfkit.testing import tiny
from rlhfkit.trainers.nonfinite import NonFiniteError
from rlhfkit_plugins.rewards.length import LengthReward

RL = ("stages=[rl]", "reward=[length]", "kl=fixed")


@pytest.fixture
def updates():
    """A list that grows with every optimizer step."""
    steps = []
    handle = register_optimizer_step_pre_hook(lambda *_: steps.append(1))
    yield steps
    handle.remove()


@pytest.fixture
def stops(run_tiny):
    def run(*overrides):
        with pytest.raises(NonFiniteError) as stopped:
            run_tiny(*overrides)
        assert isinstance(stopped.value, Stopped)
        assert "\n" not in str(stopped.value)
        return str(stopped.value)

    return run


def rewarded(monkeypatch, score):
    monkeypatch.setattr(
        LengthReward, "__call__", lambda self, prompts, texts, **_: [score(len(texts))] * len(texts)
    )


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        (1e30, "a loss of the value model is NaN or infinite"),
        (1e17, "a gradient of the value model is NaN or infinite"),
    ],
    ids=["loss", "gradient"],
)
def test_an_update_that_is_not_finite_is_not_made(stops, updates, monkeypatch, reward, says):
    rewarded(monkeypatch, lambda _: reward)
    said = stops(*RL, "optimizer.vf_coef=1000")
    assert said.startswith(f"stage rl, step 1: {says}")
    assert said.endswith("try a lower optimizer.value_learning_rate than 1e-05")
    assert not updates


def test_weights_that_overflow_are_named_as_the_policys(stops, updates):
    """In the rollout after the update that made them so."""
    options = ("optimizer=rloo", "optimizer.num_ppo_epochs=1", "optimizer.num_mini_batches=1")
    said = stops(*RL, *options, "optimizer.learning_rate=1e36")
    assert said.startswith("stage rl, step 2: a log-probability of the policy model is NaN or")
    assert said.endswith("try a lower optimizer.learning_rate than 1e+36")
    assert len(updates) == 1


def test_a_trainers_loss(stops, updates):
    said = stops(
        "stages=[sft]", "stage.sft.learning_rate=1e36", "stage.sft.per_device_train_batch_size=2"
    )
    assert said.startswith("stage sft, step 2: a loss of the trained model is NaN or infinite")
    assert said.endswith("try a lower stage.sft.learning_rate than 1e+36")
    assert len(updates) == 1


def test_a_trainers_gradient(stops, updates, monkeypatch):
    """The square root of 0 has a value and no slope."""
    loss = CompletionTrainer.compute_loss

    def steep(trainer, model, inputs, *args, **more):
        nothing = 0 * next(p for p in model.parameters() if p.requires_grad).sum()
        return loss(trainer, model, inputs, *args, **more) + nothing.sqrt()

    monkeypatch.setattr(CompletionTrainer, "compute_loss", steep)
    said = stops("stages=[sft]")
    assert said.startswith("stage sft, step 1: a gradient of the trained model")
    assert not updates


@pytest.mark.parametrize("sampler", ["cached", "generate"])
def test_a_model_that_gives_no_numbers(tmp_path, run_tiny, sampler):
    tiny.language_model(tmp_path / "base", hidden_size=64, intermediate_size=64)
    model = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        model.lm_head.weight[3] = math.nan
    model.save_pretrained(tmp_path / "base")
    options = (f"model.path={tmp_path / 'base'}", f"sampler={sampler}")
    with pytest.raises(Stopped, match="NaN or infinite") as stopped:
        run_tiny("stages=[sample]", "stage.sample.models=[base]", *options)
    assert "another model" in str(stopped.value)
