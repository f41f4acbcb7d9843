"""DeepSpeed's ZeRO-2 and ZeRO-3 with TRL's DPOTrainer: two CPU processes, and one without it."""

import pytest
import torch
from accelerate.utils import is_deepspeed_available
from safetensors.torch import load_file

from rlhfkit.errors import UserError
from rlhfkit.runner.launcher_checks import check_launcher
from rlhfkit.stages.registry import find_stage
from tests.distributed.launching import ROOT, launch

TOLERANCE = 1e-5
"""Of weights after three steps of 1e-3, a hundred times as large; sums add in another order."""

ON_CPU = {
    "module": "tests.distributed.on_cpu",
    "environment": {"ACCELERATE_USE_CPU": "false", "CUDA_VISIBLE_DEVICES": ""},
}

WORDS = (
    "data=[files]",
    "labeler=imported",
    "stages=[label,rl]",
    "run_name=same",
    "model.max_prompt_length=24",
    "optimizer=dpo",
    "optimizer.learning_rate=1e-3",
)
"""From the base model, on 24 pairs in batches of eight."""


@pytest.mark.skipif(not is_deepspeed_available(), reason="needs rlhfkit[deepspeed]")
@pytest.mark.parametrize(("stage", "loader"), [(2, "lora"), (3, "full")])
def test_dpo_under_deepspeed_gives_the_weights_of_one_process(tiny_files, tmp_path, stage, loader):
    data = [f"data.files.{split}={tiny_files[split]}" for split in ("prompts", "rankings")]
    words = [*WORDS, *data, f"model.path={tiny_files['model']}", f"loader={loader}"]
    config = ROOT / "conf" / "accelerate" / f"zero{stage}.yaml"
    for count, options in ((1, {}), (2, {"config": config, **ON_CPU})):
        batch = f"optimizer.per_device_train_batch_size={8 // count}"
        done = launch(count, *words, batch, f"run_dir={tmp_path / str(count)}", **options)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"trained under ZeRO-{stage}") == 2
    folders = [tmp_path / count / "rl" / "model" for count in ("1", "2")]
    (file,) = (path.name for path in folders[0].glob("*.safetensors"))
    one, two = (load_file(folder / file) for folder in folders)
    torch.testing.assert_close(two, one, rtol=0, atol=TOLERANCE)


def test_what_has_accelerate_drop_deepspeed_is_refused(monkeypatch, make_context):
    config = make_context("stages=[rl]", "optimizer=dpo").config
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    check_launcher(config, [find_stage(name) for name in config.stages])
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(UserError, match="with ACCELERATE_USE_CPU=true accelerate leaves it out"):
        check_launcher(config, [find_stage(name) for name in config.stages])
