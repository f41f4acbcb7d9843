"""FSDP2: sft and reward_model on two CPU processes that each keep half of a model, and on one."""

import os

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

from rlhfkit.distributed.launch import wants_sharding
from rlhfkit.errors import UserError
from rlhfkit.runner import launcher_checks
from rlhfkit.runner.launcher_checks import plannable_stages
from rlhfkit.stages.registry import find_stage
from rlhfkit.storage.run_dir import read_jsonl
from tests.distributed.launching import ROOT, launch
from tests.distributed.test_two_processes import SPEEDS

CONF = ROOT / "conf" / "accelerate"
TOLERANCE = 2e-6
"""Of weights after a few steps of AdamW, whose updates are 1e-4; sums add in another order."""

WORDS = (
    "data=[files]",
    "labeler=imported",
    "loader=full",
    "run_name=same",
    "stages=[sft,label,reward_model]",
    "model.max_prompt_length=24",
    "stage.sft.validation_fraction=0.25",
    "stage.sft.num_train_epochs=2",
    "stage.sft.gradient_accumulation_steps=2",
    "stage.sft.logging_steps=1",
    "stage.sft.select_by=loss",
    "stage.reward_model.gradient_checkpointing=true",
    "stage.reward_model.logging_steps=1",
)
"""Nine demonstrations in batches of four: of the last one, one process has nothing."""


@pytest.fixture(scope="module")
def runs(tiny_files, tmp_path_factory):
    """The directories of the same run in one process and in two that were stopped and went on, by
    their number."""
    root = tmp_path_factory.mktemp("sharded")
    splits = ("demonstrations", "prompts", "rankings")
    data = [f"data.files.{split}={tiny_files[split]}" for split in splits]
    for count in (1, 2):
        sizes = [
            f"stage.{stage}.per_device_train_batch_size={4 // count}"
            for stage in ("sft", "reward_model")
        ]
        words = [*WORDS, *data, *sizes, f"model.path={tiny_files['model']}"]
        words.append(f"run_dir={root / str(count)}")
        if count == 2:
            with pytest.MonkeyPatch.context() as patched:
                patched.setenv("STOP_AFTER", "sft 3")
                stopped = sharded(count, *words, plugins=root)
                assert "stopped, and what was done is saved" in stopped.stderr, stopped.stderr
        done = sharded(count, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    return {count: root / str(count) for count in (1, 2)}


def sharded(count, *words, **options):
    return launch(count, *words, config=CONF / "fsdp2.yaml", **options)


@pytest.mark.parametrize("stage", ["sft", "reward_model"])
def test_sharded_training_gives_the_weights_and_metrics_of_one_process(runs, stage):
    files = sorted(path.name for path in (runs[1] / stage / "model").glob("*.safetensors"))
    assert "model.safetensors" in files
    assert ("head.safetensors" in files) == (stage == "reward_model")
    for file in files:
        one, two = (load_file(runs[count] / stage / "model" / file) for count in (1, 2))
        torch.testing.assert_close(two, one, rtol=0, atol=TOLERANCE)
    one, two = (read_jsonl(runs[count] / stage / "metrics.jsonl") for count in (1, 2))
    assert len(two) == len(one) > 3
    for expected, found in zip(one, two, strict=True):
        shown = {name: value for name, value in expected.items() if name not in SPEEDS}
        assert {name: found[name] for name in shown} == pytest.approx(shown, rel=1e-5)


def test_each_process_keeps_half_and_gathers_the_same_weights():
    done = sharded(2, module="tests.distributed.sharing")
    assert done.returncode == 0, done.stderr
    first, second, every = map(int, done.stdout.split())
    assert first + second == every
    assert abs(first - second) < 0.05 * every


def check_launcher(config):
    launcher_checks.check_launcher(config, [find_stage(name) for name in config.stages])


@pytest.fixture
def two_processes(monkeypatch):
    for name, value in {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RLHFKIT_SHARDS_FOR", "")  # so that it is put back
    return monkeypatch


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([], "stage rl shards loader=full, not lora"),
        (["optimizer=dpo"], "optimizer=dpo is TRL's own and not sharded"),
        (["loader=full", "loader.offload_idle=true"], "loader.offload_idle=true"),
        (["loader=full", "optimizer.optim=adamw_8bit"], "optimizer.optim=adamw_8bit"),
        (["loader=full", "stage.rl.batch_size=9"], "stage.rl.batch_size=9 is no multiple of 2"),
        (
            ["loader=full", "stage.rl.batch_size=6", "optimizer.num_mini_batches=2"],
            "stage.rl.batch_size / optimizer.num_mini_batches=3 is no multiple of 2",
        ),
        (
            ["loader=full", "optimizer.ptx_coef=1", "optimizer.ptx_batch_size=3"],
            "optimizer.ptx_batch_size=3 is no multiple of 2",
        ),
        (["stages=[sft]", "loader=qlora"], "loader=qlora is not sharded"),
        (["stages=[sft]", "stage.sft.optim=adamw_8bit"], "stage.sft.optim=adamw_8bit"),
    ],
)
def test_what_fsdp_cannot_shard_is_refused(two_processes, make_context, overrides, says):
    config = make_context(*overrides).config
    two_processes.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match=says):
        check_launcher(config)


def test_options_of_fsdp_that_do_nothing_here_are_refused(two_processes, make_context):
    config = make_context("stages=[sft]").config
    assert plannable_stages([find_stage("sft")]) == ["sft"]
    two_processes.setenv("ACCELERATE_USE_FSDP", "true")
    check_launcher(config)
    assert wants_sharding()
    assert plannable_stages(map(find_stage, ["sft", "sample", "reward_model", "rl"])) == ["sample"]
    two_processes.setenv("ACCELERATE_USE_FSDP", "true")
    two_processes.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(UserError, match="fsdp_offload_params=true: with rlhfkit it is false"):
        check_launcher(config)


def test_deepspeed_itself_is_for_trls_trainers(two_processes, make_context):
    two_processes.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    check_launcher(make_context("stages=[rl]", "optimizer=dpo").config)
    assert not wants_sharding()
    with pytest.raises(UserError, match=r"optimizer=dpo runs under it, stage reward_model before"):
        check_launcher(make_context("stages=[sample,reward_model,rl]", "optimizer=dpo").config)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ZERO_STAGE", "1"), ("OFFLOAD_PARAM_DEVICE", "cpu"), ("CONFIG_FILE", "mine.json")],
)
def test_other_stages_are_sharded_in_its_place(two_processes, make_context, variable, value):
    config = make_context("stages=[sft,rl]", "loader=full").config
    two_processes.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    two_processes.setenv(f"ACCELERATE_DEEPSPEED_{variable}", value)
    with pytest.raises(UserError, match=f"deepspeed_config.{variable.lower()}={value}: with"):
        check_launcher(config)
    assert not wants_sharding()
    two_processes.delenv(f"ACCELERATE_DEEPSPEED_{variable}")
    check_launcher(config)
    assert wants_sharding()
    assert "ACCELERATE_USE_DEEPSPEED" not in os.environ


@pytest.mark.parametrize("stage", [2, 3])
def test_accelerate_reads_the_deepspeed_configs(stage):
    config = load_config_from_file(str(CONF / f"zero{stage}.yaml"))
    assert config.distributed_type == "DEEPSPEED"
    assert config.deepspeed_config["zero_stage"] == stage
    assert config.num_processes == 8
