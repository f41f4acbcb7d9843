"""optimizer=dpo with adapters: one base in memory, the SFT adapter as reference, float32 adapters;
and TRL's trainers and transformers' sampling in mixed precision, as on a card."""

import math

import pytest
import torch
from safetensors.torch import load_file

from rlhfkit.context import Context
from rlhfkit.precision import Precision
from rlhfkit_plugins.loaders import lora
from rlhfkit_plugins.optimizers import dpo

DPO = ("optimizer=dpo", "stages=[sft,sample,label,rl]")
ONLINE = ("stages=[sft,rl]", "reward=[length]")
RATES = ("stage.sft.learning_rate=0.02", "optimizer.learning_rate=0.01")
ADAPTER, MODEL = "adapter_model.safetensors", "model.safetensors"


@pytest.fixture
def loaded(monkeypatch):
    """The stages in which a base was loaded, once for each time."""
    stages, load = [], lora.load_causal_lm

    def spy(context, *arguments, **options):
        stages.append(context.stage)
        return load(context, *arguments, **options)

    monkeypatch.setattr(lora, "load_causal_lm", spy)
    return stages


@pytest.fixture
def trained(monkeypatch):
    """The trainer, with the losses of its steps."""
    kept, train = {}, dpo.train

    def spy(context, trainer):
        kept.update(trainer=trainer, losses=[])
        step = trainer.training_step

        def logged(*arguments):
            loss = step(*arguments)
            kept["losses"].append(loss.item())
            return loss

        trainer.training_step = logged
        train(context, trainer)

    monkeypatch.setattr(dpo, "train", spy)
    return kept


def weights_of(runner, stage, file=ADAPTER):
    folder = runner.run_dir.root / stage / "model"
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    return load_file(folder / file)


def in_memory(model, adapter):
    """An adapter under the names that it is stored under."""
    return {
        name.replace(f".{adapter}.", "."): parameter.detach()
        for name, parameter in model.named_parameters()
        if f".{adapter}." in name
    }


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_the_reference_is_the_sft_adapter_on_the_policys_base(run_tiny, loaded, trained, loader):
    runner = run_tiny(*DPO, *RATES, f"loader={loader}")
    model, sft, policy = trained["trainer"].model, *(weights_of(runner, n) for n in ("sft", "rl"))
    assert trained["trainer"].ref_model is None
    assert loaded.count("rl") == 1
    assert trained["losses"][0] == pytest.approx(math.log(2), abs=1e-5), "they start as equals"
    assert abs(trained["losses"][-1] - math.log(2)) > 1e-3
    torch.testing.assert_close(in_memory(model, "ref"), sft, rtol=0, atol=0)
    torch.testing.assert_close(policy, in_memory(model, "default"), rtol=0, atol=0)
    assert any((policy[name] - sft[name]).abs().max() > 1e-3 for name in sft)
    assert all(values.dtype is torch.float32 for values in policy.values())


def test_a_whole_model_has_a_reference_of_its_own(run_tiny, trained):
    runner = run_tiny(*DPO, *RATES, "loader=full")
    reference, policy = trained["trainer"].ref_model, weights_of(runner, "rl", MODEL)
    assert trained["losses"][0] == pytest.approx(math.log(2), abs=1e-5)
    sft = weights_of(runner, "sft", MODEL)
    now = {name: values for name, values in reference.state_dict().items() if name in sft}
    torch.testing.assert_close(now, sft, rtol=0, atol=0)
    assert any((policy[name] - sft[name]).abs().max() > 1e-3 for name in sft)


@pytest.mark.parametrize(
    "overrides",
    [
        ("loader=lora", *DPO),
        ("loader=qlora", *DPO),
        ("loader=lora", "optimizer=trl_grpo", *ONLINE),
        ("loader=qlora", "optimizer=trl_grpo", *ONLINE),
        ("loader=lora", "optimizer=trl_rloo", *ONLINE),
        ("loader=lora", "optimizer=rloo", "sampler=continuous", *ONLINE),
        ("loader=qlora", "optimizer=rloo", "sampler=continuous", *ONLINE),
        ("loader=full", "optimizer=rloo", "sampler=continuous", *ONLINE),
    ],
    ids=" ".join,
)
def test_in_mixed_precision_trained_weights_stay_float32(run_tiny, monkeypatch, overrides):
    monkeypatch.setattr(Context, "precision", Precision(torch.bfloat16, torch.bfloat16))
    file = MODEL if "loader=full" in overrides else ADAPTER
    runner = run_tiny(*overrides, *RATES)
    sft, policy = (weights_of(runner, stage, file) for stage in ("sft", "rl"))
    assert all(values.dtype is torch.float32 for values in policy.values())
    assert all(values.isfinite().all() for values in policy.values())
    assert any((policy[name] - sft[name]).abs().max() > 1e-3 for name in sft)
    rounded = {name: values.bfloat16().float() for name, values in policy.items()}
    assert any((policy[name] != rounded[name]).any() for name in policy)
