"""What the paper trains SFT models with: residual dropout, a rate that ends above 0, the choice
of an epoch, and a model of its own for RL."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, BloomConfig, OPTConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.runner.runner import State
from rlhfkit.stages.registry import find_stage
from rlhfkit.storage.run_dir import read_jsonl
from tests.architectures import ARCHITECTURES, SHAPE

IDS = torch.tensor([[5, 6, 7, 8]])
OTHERS = {
    "opt": (OPTConfig, {"ffn_dim": 64, "word_embed_proj_dim": 64}),
    "bloom": (BloomConfig, {"n_layer": 2, "n_head": 2}),
}
"""That have the dropout in ways of their own."""


def weights(runner, stage="sft"):
    return load_file(runner.run_dir.stage_dir(stage) / "model" / "adapter_model.safetensors")


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("name", [*ARCHITECTURES, "opt", "bloom"])
def test_residual_dropout_is_in_every_layer_in_train_mode_alone(name):
    torch.manual_seed(0)
    kind, options = {**ARCHITECTURES, **OTHERS}[name]
    made = AutoModelForCausalLM.from_config(kind(**{**SHAPE, **options})).eval()
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # what GPT-2 drops elsewhere by default
    model = LanguageModel(made)
    plain = model.hidden_states(IDS, torch.ones_like(IDS))
    model.drop_residuals(1.0)
    torch.testing.assert_close(model.hidden_states(IDS, torch.ones_like(IDS)), plain)

    changed = []
    for layer in model.body.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.register_forward_hook(
                lambda _, inputs, output: changed.append(
                    not torch.equal(inputs[0], output[0] if isinstance(output, tuple) else output)
                )
            )
    model.hidden_states(IDS, torch.ones_like(IDS))
    assert changed == [True, True]
    changed.clear()
    model.model.train()
    model.hidden_states(IDS, torch.ones_like(IDS))
    assert changed == [False, False], "with all dropped, a layer gives back what it got"


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_residual_dropout_changes_the_training(run_tiny, tmp_path, loader):
    options = [f"loader={loader}", "stages=[sft]"]
    plain = run_tiny(*options, f"run_dir={tmp_path / 'plain'}")
    dropped = run_tiny(
        *options, "stage.sft.residual_dropout=0.2", f"run_dir={tmp_path / 'dropped'}"
    )
    assert not same(weights(plain), weights(dropped))


def test_the_rate_ends_at_a_share_of_the_peak(run_tiny):
    runner = run_tiny(
        "stages=[sft]",
        "stage.sft.min_lr_rate=0.1",
        "stage.sft.learning_rate=0.01",
        "stage.sft.num_train_epochs=4",
        "stage.sft.logging_steps=1",
    )
    rows = read_jsonl(runner.run_dir.stage_dir("sft") / "metrics.jsonl")
    rates = [row["learning_rate"] for row in rows if "learning_rate" in row]
    steps = len(rates)
    for step, rate in enumerate(rates):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        assert rate == pytest.approx(0.01 * (0.1 + 0.9 * cosine), rel=1e-5)


def test_a_floor_needs_a_cosine(run_tiny):
    with pytest.raises(UserError, match=r"sft.min_lr_rate=0.1: needs .*=cosine, not linear"):
        run_tiny("stages=[sft]", "stage.sft.min_lr_rate=0.1", "stage.sft.lr_scheduler_type=linear")


SELECTING = (
    "stages=[sft]",
    "stage.sft.num_train_epochs=3",
    "stage.sft.learning_rate=0.02",
    "stage.sft.validation_fraction=0.2",
    "reward=[length]",
    "reward.length.max=1",
    "reward.length.slope=100",
)


@pytest.mark.parametrize("way", ["loss", "reward"])
def test_the_best_epoch_is_kept(run_tiny, tmp_path, monkeypatch, way):
    saved = {}
    save = LanguageModel.save

    def keep(model, path):
        save(model, path)
        saved[len(saved) + 1] = load_file(path / "adapter_model.safetensors")

    monkeypatch.setattr(LanguageModel, "save", keep)
    runner = run_tiny(*SELECTING, f"stage.sft.select_by={way}")
    epochs = json.loads((runner.run_dir.stage_dir("sft") / "epochs.json").read_text())
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    scores = [row["score"] for row in epochs]
    assert len(set(scores)) > 1, "the case must have something to choose"
    records = sum(score > max(scores[:i], default=-torch.inf) for i, score in enumerate(scores))
    assert len(saved) == records
    assert same(weights(runner), saved[records])
    if way == "loss":
        rows = read_jsonl(runner.run_dir.stage_dir("sft") / "metrics.jsonl")
        assert scores == [-row["eval_loss"] for row in rows if "eval_loss" in row]


def test_answers_count_where_they_choose_and_only_there(run_tiny, make_raw, tiny_overrides):
    """A change of the sampler makes an SFT model stale that was chosen by its answers."""
    other = "sampler.response_length=5"
    runner = run_tiny(*SELECTING, "stage.sft.select_by=reward")
    again = type(runner)(
        make_raw(*tiny_overrides, *SELECTING, "stage.sft.select_by=reward", other), runner.plugins
    )
    assert again.status(find_stage("sft")).state is State.STALE
    runner = run_tiny(*SELECTING, "force_from=sft")
    again = type(runner)(make_raw(*tiny_overrides, *SELECTING, other), runner.plugins)
    assert again.status(find_stage("sft")).state is State.COMPLETE


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["stage.sft.select_by=rewards"], "did you mean 'reward'"),
        (["stage.sft.validation_fraction=0"], "raise stage.sft.validation_fraction"),
        (["reward=[reward_model]"], "reward=reward_model must be there before stage sft"),
        (["reward=[]"], r"reward=\[\] has none to ask"),
    ],
)
def test_nothing_to_choose_by(run_tiny, overrides, says):
    options = ["stages=[sft]", "stage.sft.validation_fraction=0.2", "stage.sft.select_by=reward"]
    with pytest.raises(UserError, match=says):
        run_tiny(*options, *overrides)


@pytest.mark.parametrize("loader", ["lora", "full"])
def test_rl_starts_from_its_own_sft_model_and_is_compared_with_it(run_tiny, loader):
    runner = run_tiny(
        f"loader={loader}", "stages=[sft,rl_sft,rl]", "reward=[length]",
        "stage.rl_sft.pretraining_fraction=0.5", "stage.rl_sft.learning_rate=0.01",
        "optimizer.learning_rate=1e-30",
    )  # fmt: skip
    name = "model.safetensors" if loader == "full" else "adapter_model.safetensors"
    first, start, policy = (
        load_file(runner.run_dir.stage_dir(stage) / "model" / name)
        for stage in ("sft", "rl_sft", "rl")
    )
    assert not same(first, start)
    assert same(start, policy)
    rows = read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")
    assert abs(rows[0]["objective/kl"]) < 1e-4
    assert "result of rl_sft" in runner.run_dir.record("rl").inputs
