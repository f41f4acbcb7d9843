"""The moving average of weights where the policy is an adapter."""

import pytest
import torch
from safetensors.torch import load_file

from rlhfkit.storage.run_dir import read_jsonl


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_the_average_of_an_adapter_is_saved_and_changes_no_step(run_tiny, tmp_path, loader):
    def run(decay):
        folder = tmp_path / str(decay)
        run_tiny(
            f"loader={loader}", f"run_dir={folder}", "stages=[sft,rl]", "reward=[length]",
            "optimizer.learning_rate=0.01", f"optimizer.ema_decay={decay}",
        )  # fmt: skip
        rows = read_jsonl(folder / "rl" / "metrics.jsonl")
        scores = [row["objective/scores"] for row in rows]
        return load_file(folder / "rl" / "model" / "adapter_model.safetensors"), scores

    (last, scores), (average, same_scores) = run(0), run(0.992)
    start = load_file(tmp_path / "0" / "sft" / "model" / "adapter_model.safetensors")
    assert scores == same_scores
    assert last.keys() == average.keys()
    moved = sum(float((last[name] - start[name]).norm()) for name in last)
    apart = sum(float((last[name] - average[name]).norm()) for name in last)
    assert 0 < apart < moved
    assert not all(torch.equal(last[name], average[name]) for name in last)
