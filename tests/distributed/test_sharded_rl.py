"""FSDP2: stage rl on two CPU processes that each keep half of all four models, and on one."""

import pytest
import torch
from accelerate.utils import is_deepspeed_available
from safetensors.torch import load_file

from rlhfkit.storage.run_dir import read_jsonl
from tests.distributed.launching import ROOT, launch
from tests.distributed.test_two_processes import SPEEDS

CONF = ROOT / "conf" / "accelerate"
RESUMED_BY = "zero3.yaml" if is_deepspeed_available() else "fsdp2.yaml"
"""Both are sharded alike; the launcher wants DeepSpeed to be installed."""

TOLERANCE = 1e-5
"""Of weights after steps of 1e-3; sums add in another order."""

WORDS = (
    "data=[files]",
    "labeler=imported",
    "loader=full",
    "run_name=same",
    "sampler=scripted",
    "sampler.response_length=5",
    "model.max_prompt_length=24",
    "stage.reward_model.learning_rate=1e-3",
    "stage.rl.total_episodes=24",
    "stage.rl.batch_size=8",
    "stage.rl.micro_batch_size=2",
    "stage.rl.gradient_checkpointing=true",
    "stage.rl.whiten_rewards=true",
    "stage.rl.use_score_scaling=true",
    "kl=adaptive",
    "optimizer.learning_rate=1e-3",
    "optimizer.value_learning_rate=1e-3",
    "optimizer.num_mini_batches=2",
    "optimizer.ptx_coef=1.0",
    "optimizer.ptx_batch_size=2",
    "optimizer.ema_decay=0.5",
)


@pytest.fixture(scope="module")
def runs(tiny_files, tmp_path_factory):
    """The directories of the same run in one process and in two that were stopped and went on, by
    their number."""
    root = tmp_path_factory.mktemp("sharded_rl")
    texts = root / "texts.jsonl"
    texts.write_text("".join(f'{{"text": "red is {" best" * count}"}}\n' for count in range(20)))
    splits = ("demonstrations", "prompts", "rankings")
    words = [*WORDS, *[f"data.files.{split}={tiny_files[split]}" for split in splits]]
    words += [f"data.files.pretraining={texts}", f"model.path={tiny_files['model']}"]
    before = launch(
        1, *words, "stages=[label,reward_model]", f"run_dir={root / 'before'}", plugins=root
    )
    assert before.returncode == 0, before.stdout + before.stderr
    words += ["stages=[label,reward_model,rl]", f"reuse={root / 'before'}"]
    one = launch(1, *words, f"run_dir={root / '1'}", plugins=root)
    assert one.returncode == 0, one.stdout + one.stderr
    assert "shares of 0 parts" in one.stderr
    words.append(f"run_dir={root / '2'}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("STOP_AFTER", "rl 2")
        stopped = launch(2, *words, config=CONF / "fsdp2.yaml", plugins=root)
        assert "stopped, and what was done is saved" in stopped.stderr, stopped.stderr
    two = launch(2, *words, config=CONF / RESUMED_BY, plugins=root)
    assert two.returncode == 0, two.stdout + two.stderr
    assert "shares of 3 parts" in two.stderr  # two layers and the rest
    return {count: root / str(count) for count in (1, 2)}


def test_sharded_ppo_gives_the_policy_of_one_process(runs):
    one, two = (load_file(runs[count] / "rl/model/model.safetensors") for count in (1, 2))
    assert one.keys() == two.keys()
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=0, atol=TOLERANCE)


def test_sharded_ppo_gives_the_metrics_of_one_process(runs):
    one, two = (read_jsonl(runs[count] / "rl" / "metrics.jsonl") for count in (1, 2))
    assert len(two) == len(one) == 3
    assert one[0]["objective/kl_coef"] != one[2]["objective/kl_coef"]
    for expected, found in zip(one, two, strict=True):
        shown = {name: value for name, value in expected.items() if name not in SPEEDS}
        assert shown["loss/ptx"] > 0
        assert {name: found[name] for name in shown} == pytest.approx(shown, rel=1e-4, abs=1e-5)
