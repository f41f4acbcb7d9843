"""The whole loop on a tiny random model, with every loader and optimizer."""

import json

import pytest

from rlhfkit.run_dir import read_jsonl
from rlhfkit.stages import STAGES


@pytest.mark.parametrize("loader", ["full", "lora", "qlora"])
def test_every_stage_with_every_loader(run_tiny, loader):
    runner = run_tiny(f"loader={loader}", "optimizer.ptx_coef=1.0", "optimizer.ptx_batch_size=2")
    root = runner.run_dir.root
    for stage in STAGES:
        assert runner.run_dir.record(stage.name) is not None, stage.name
    completions = read_jsonl(root / "sample" / "completions.jsonl")
    assert len(completions) == 12
    assert all(len(row["completions"]) == 3 for row in completions)
    rows = read_jsonl(root / "rl" / "metrics.jsonl")
    assert [row["episode"] for row in rows] == [8, 16]
    assert all(row["loss/ptx"] > 0 for row in rows)
    metrics = json.loads((root / "evaluate" / "metrics.json").read_text())
    assert set(metrics) == {"sft", "base", "rl"}
    assert metrics["sft"]["kl"]["value"] == 0
    assert 0 <= metrics["rl"]["win_rate"]["low"] <= metrics["rl"]["win_rate"]["high"] <= 1
    assert (root / "report" / "reward_vs_kl.png").stat().st_size > 1000
    assert "| rl |" in (root / "report" / "report.md").read_text()


@pytest.mark.parametrize("optimizer", ["rloo", "dpo"])
def test_other_optimizers(run_tiny, optimizer):
    runner = run_tiny(f"optimizer={optimizer}", "stages=[sft,sample,label,reward_model,rl]")
    rows = read_jsonl(runner.run_dir.root / "rl" / "metrics.jsonl")
    assert rows
    assert (runner.run_dir.root / "rl" / "model" / "adapter_model.safetensors").exists()
