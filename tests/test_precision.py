"""What a run computes in, by device and `model.dtype`."""

from dataclasses import replace

import pytest
import torch

from rlhfkit.context import Context, DryRun
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.precision import choose_precision, has_bfloat16
from rlhfkit.testing import tiny

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


@pytest.mark.parametrize(
    ("device_kind", "wanted", "bfloat16", "weights", "autocast"),
    [
        ("cpu", "auto", False, FP32, None),
        ("cpu", "auto", True, FP32, None),
        ("cpu", "bfloat16", False, BF16, None),
        ("cuda", "auto", True, BF16, BF16),
        ("cuda", "auto", False, FP32, None),
        ("cuda", "float32", True, FP32, None),
        ("cuda", "float16", True, FP16, BF16),
        ("mps", "auto", True, BF16, BF16),
        ("mps", "auto", False, FP32, None),
    ],
)
def test_choice(device_kind, wanted, bfloat16, weights, autocast):
    chosen = choose_precision(device_kind, wanted, bfloat16)
    assert (chosen.weights, chosen.autocast) == (weights, autocast)
    assert chosen.mixed == ("bf16" if autocast else "no")


def test_a_card_that_emulates_bfloat16_does_not_have_it(monkeypatch):
    """As an RTX 20 or a T4 answers."""
    answers = {True: True, False: False}
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: answers[including_emulation],
    )
    assert not has_bfloat16("cuda")


def test_a_plan_for_an_absent_card_takes_it_for_one_with_bfloat16(make_context):
    planned = replace(make_context(), dry_run=DryRun("cuda"))
    assert planned.precision == choose_precision("cuda", "auto", True)


def test_a_model_without_a_precision_of_its_own_leaves_that_of_its_surroundings(tmp_path):
    model = LanguageModel(tiny.LlamaForCausalLM(tiny.config()))
    with torch.autocast("cpu", torch.bfloat16), model.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is BF16


@pytest.mark.parametrize("loader", ["lora", "qlora", "full"])
def test_every_stage_in_bfloat16(run_tiny, monkeypatch, loader):
    """What a card would choose, on the CPU: mixed precision in every forward pass."""
    monkeypatch.setattr(Context, "precision", choose_precision("cuda", "auto", True))
    run_tiny(f"loader={loader}", "optimizer.ptx_coef=1")
