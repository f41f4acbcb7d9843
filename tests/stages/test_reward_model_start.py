"""A reward model of another size than the policy's (InstructGPT, C.2), and the values with it."""

import json

from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.testing import tiny


def test_reward_and_value_models_may_be_larger_than_the_policy(run_tiny, tiny_files, tmp_path):
    tiny.language_model(tmp_path / "large", hidden_size=96, intermediate_size=96)
    runner = run_tiny(
        "loader=full",
        f"stage.reward_model.start={tmp_path / 'large'}",
        "labeler=imported",
        f"data.files.rankings={tiny_files['rankings']}",
        "stages=[sft,label,reward_model,rl]",
    )
    made = {
        stage: json.loads((runner.run_dir.stage_dir(stage) / "model" / "config.json").read_text())
        for stage in ("sft", "reward_model", "rl")
    }
    sizes = {stage: config["hidden_size"] for stage, config in made.items()}
    assert sizes == {"sft": 64, "reward_model": 96, "rl": 64}
    rows = read_jsonl(runner.run_dir.stage_dir("rl") / "metrics.jsonl")
    assert all(row["value/grad_norm"] > 0 for row in rows)
