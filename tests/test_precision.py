"""What a run computes in, by device and `model.dtype`."""

from dataclasses import replace

import pytest
import torch

from rlhfkit.context import Context, DryRun
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.precision import choose_precision, half_of
from rlhfkit.testing import tiny

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


@pytest.mark.parametrize(
    ("device_kind", "wanted", "half", "weights", "autocast", "mixed"),
    [
        ("cpu", "auto", None, FP32, None, "no"),
        ("cpu", "auto", BF16, FP32, None, "no"),
        ("cpu", "bfloat16", None, BF16, None, "no"),
        ("cuda", "auto", BF16, BF16, BF16, "bf16"),
        ("cuda", "auto", FP16, FP16, FP16, "fp16"),
        ("cuda", "auto", None, FP32, None, "no"),
        ("cuda", "float32", BF16, FP32, None, "no"),
        ("cuda", "float32", FP16, FP32, None, "no"),
        ("cuda", "float16", BF16, FP16, BF16, "bf16"),
        ("mps", "auto", BF16, BF16, BF16, "bf16"),
        ("mps", "auto", None, FP32, None, "no"),
    ],
)
def test_choice(device_kind, wanted, half, weights, autocast, mixed):
    chosen = choose_precision(device_kind, wanted, half)
    assert (chosen.weights, chosen.autocast, chosen.mixed) == (weights, autocast, mixed)


@pytest.mark.parametrize(
    ("capability", "half"), [((6, 1), None), ((7, 0), FP16), ((7, 5), FP16), ((8, 6), BF16)]
)
def test_a_card_that_emulates_bfloat16_does_not_have_it(monkeypatch, capability, half):
    """As a GTX 10, a V100, a T4 or RTX 20, and an RTX 30 answer."""
    native = capability >= (8, 0)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert half_of("cuda") is half


def test_a_plan_for_an_absent_card_takes_it_for_one_with_bfloat16(make_context):
    planned = replace(make_context(), dry_run=DryRun("cuda"))
    assert planned.precision == choose_precision("cuda", "auto", BF16)


def test_a_plan_for_a_card_without_bfloat16_scales_no_losses(make_context, monkeypatch):
    """Accelerate scales those of float16, which fake tensors cannot be read for."""
    monkeypatch.setattr(Context, "precision", choose_precision("cuda", "auto", FP16))
    assert make_context().mixed_precision == "fp16"
    assert replace(make_context(), dry_run=DryRun("cuda")).mixed_precision == "bf16"


def test_a_model_without_a_precision_of_its_own_leaves_that_of_its_surroundings(tmp_path):
    model = LanguageModel(tiny.LlamaForCausalLM(tiny.config()))
    with torch.autocast("cpu", torch.bfloat16), model.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is BF16


@pytest.mark.parametrize("loader", ["lora", "qlora", "full"])
def test_every_stage_in_bfloat16(run_tiny, monkeypatch, loader):
    """What a card would choose, on the CPU: mixed precision in every forward pass."""
    monkeypatch.setattr(Context, "precision", choose_precision("cuda", "auto", BF16))
    run_tiny(f"loader={loader}", "optimizer.ptx_coef=1")
