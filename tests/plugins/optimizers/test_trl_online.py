"""TRL's GRPO and RLOO trainers as optimizers: this run's rewards, reference, KL and files."""

import pytest
from safetensors.torch import load_file

from rlhfkit.errors import UserError
from rlhfkit.rl.kl import adaptive_coef
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit_plugins.optimizers import TrlGrpoConfig, TrlRlooConfig
from rlhfkit_plugins.optimizers.trl_online import TrlGRPO, TrlRLOO

RUN = ["reward=[length]", "stage.sft.learning_rate=0.02", "optimizer.learning_rate=0.02"]
FILES = {"full": "model.safetensors"}
both = pytest.mark.parametrize("optimizer", ["trl_grpo", "trl_rloo"])


@pytest.fixture
def run(run_tiny, tmp_path):
    """`run("trl_grpo", "kl=none")`: the rows of rl's metrics and the weights before and after."""

    def make(optimizer, *overrides, stages="sft,rl", loader="lora"):
        runner = run_tiny(
            f"optimizer={optimizer}", f"loader={loader}", f"stages=[{stages}]", *RUN, *overrides
        )
        root = runner.run_dir.root
        sft = root / "sft" / "model" / FILES.get(loader, "adapter_model.safetensors")
        before = load_file(sft) if "sft" in stages else None
        assert not (root / "rl" / "model" / "ref").exists()
        after = load_file(root / "rl" / "model" / FILES.get(loader, "adapter_model.safetensors"))
        return read_jsonl(root / "rl" / "metrics.jsonl"), before, after

    return make


def sampled(rows):
    return [row for row in rows if "objective/kl" in row]


@both
@pytest.mark.parametrize("loader", ["full", "lora", "qlora"])
def test_a_run_starts_at_the_sft_model_and_leaves_it(run, optimizer, loader):
    rows, before, after = run(optimizer, "kl=adaptive", "kl.horizon=10", loader=loader)
    first, second = sampled(rows)
    assert first["objective/kl"] == pytest.approx(0, abs=1e-5), "the reference is the SFT model"
    assert abs(second["objective/kl"]) > 1e-2
    assert set(before) == set(after)
    assert any((before[name] - after[name]).abs().max() > 1e-3 for name in after)
    assert [first["episode"], second["episode"]] == [8, 16]
    coef = adaptive_coef(0.15, first["objective/kl"], 6.0, 8, 10)
    assert second["objective/kl_coef"] == pytest.approx(coef)


@both
@pytest.mark.parametrize("chat", ["true", "false"])
def test_without_sft_the_reference_is_the_base_model(run, optimizer, chat):
    rows, _, _ = run(optimizer, f"model.chat={chat}", stages="rl")
    assert sampled(rows)[0]["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert abs(sampled(rows)[1]["objective/kl"]) > 1e-2


@both
def test_the_controller_sets_beta(run, optimizer, tmp_path):
    ends = []
    for kl in (["kl=none"], ["kl=fixed", "kl.kl_coef=0"], ["kl=fixed", "kl.kl_coef=5"]):
        rows, _, after = run(optimizer, *kl, f"run_dir={tmp_path / str(len(ends))}")
        assert abs(sampled(rows)[1]["objective/kl"]) > 1e-2, "measured whatever it costs"
        ends.append(after)
    none, zero, five = ends
    assert all((none[name] == zero[name]).all() for name in none)
    assert any((none[name] - five[name]).abs().max() > 1e-3 for name in none)


@both
def test_scores_are_the_online_optimizers(run, optimizer):
    rewards = ["reward.length.weight=3", "reward.length.min=4", "reward.length.slope=5"]
    for row in sampled(run(optimizer, *rewards, "stage.rl.missing_eos_penalty=2")[0]):
        expected = 3 * row["reward/length"] - 2 * (1 - row["response/eos_share"])
        assert 0 < row["reward/length"] < 1
        assert 0 < row["response/eos_share"] < 1
        assert row["objective/scores"] == pytest.approx(expected, abs=1e-5)
        assert row["reward"] == pytest.approx(expected, abs=1e-5), "what TRL was given"
        assert 1 - row["completions/clipped_ratio"] == row["response/eos_share"]


@both
def test_several_passes_over_a_batch_are_one_batch_to_the_controller(run, optimizer):
    options = ["kl=adaptive", "kl.horizon=10", "optimizer.num_iterations=2"]
    rows, _, _ = run(optimizer, *options, "stage.rl.micro_batch_size=2")
    coefs = [row["objective/kl_coef"] for row in rows if "loss" in row]
    assert coefs == pytest.approx([0.15, 0.15, 0.126, 0.126])  # less 0.2 * 8 / 10
    assert [row["step"] for row in sampled(rows)] == [1, 3]


OPTIONS = {
    "learning_rate": 3e-5, "lr_scheduler_type": "linear", "max_grad_norm": 0.3,
    "num_generations": 2, "num_iterations": 3, "epsilon": 0.1, "epsilon_high": 0.4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (
            TrlGRPO,
            TrlGrpoConfig(
                **OPTIONS, scale_rewards="none", loss_type="dapo", use_bias_correction_kl=True
            ),
        ),
        (TrlRLOO, TrlRlooConfig(**OPTIONS, normalize_advantages=True)),
    ],
)
def test_every_option_is_trls(make_context, kind, config):
    run = ["sampler.temperature=0.7", "sampler.response_length=9", "stage.rl.batch_size=12"]
    context = make_context("reward=[length]", *run, "stage.rl.micro_batch_size=4", stage="rl")
    arguments = kind(config, context)._arguments(context, None)
    for name, value in vars(config).items():
        assert value != getattr(type(config)(), name), "the case must set every option"
        assert getattr(arguments, name) == value, name
    assert (arguments.temperature, arguments.max_completion_length) == (0.7, 9)
    assert arguments.generation_batch_size == 12
    assert arguments.per_device_train_batch_size == 4


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["stage.rl.batch_size=6"], "multiple of the 4 completions per prompt"),
        (["stage.rl.micro_batch_size=3"], "multiple of stage.rl.micro_batch_size=3"),
        (["reward=[]"], "at least one reward function"),
    ],
)
def test_settings_that_cannot_work(make_context, overrides, says):
    context = make_context("reward=[length]", "stage.rl.batch_size=8", *overrides)
    with pytest.raises(UserError, match=says):
        TrlGRPO(TrlGrpoConfig(), context)
