"""Sweeps whose points run in other processes: Hydra's launchers."""

import subprocess
from importlib.util import find_spec

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import MissingConfigException

from rlhfkit.commands.error_lines import LAUNCHER_EXTRAS, one_line
from rlhfkit.commands.sweep import Point, PointFailed
from rlhfkit.errors import UserError
from rlhfkit.runner.runner import StageFailed
from tests.commands.test_sweep import JOBLIB, RLHFKIT


def test_a_failure_in_another_process_is_the_same_line(tmp_path):
    arguments = ["recipe=quickstart", "stages=[rl,sft]", "seed=0,1", *JOBLIB, "--multirun"]
    done = subprocess.run(
        [str(RLHFKIT), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("rlhfkit: stages=['rl', 'sft']: each once, in the order")


def test_an_error_of_ours_keeps_its_traceback_and_its_stage():
    with pytest.raises(StageFailed) as caught:
        Point("runs/a", traceback="Traceback: here", stage="rl").require_success()
    assert caught.value.stage == "rl"
    assert isinstance(caught.value.__cause__, PointFailed)
    assert "here" in str(caught.value.__cause__)
    with pytest.raises(PointFailed):
        Point("runs/a", traceback="Traceback: here").require_success()
    with pytest.raises(UserError, match="too small"):
        Point("runs/a", mistake="too small").require_success()


@pytest.mark.parametrize("launcher", LAUNCHER_EXTRAS)
def test_a_missing_plugin_is_told_with_its_extra(launcher):
    error = MissingConfigException("", f"hydra/launcher/{launcher}", ["basic"])
    assert f"pip install 'rlhfkit[{LAUNCHER_EXTRAS[launcher]}]'" in one_line(error)


@pytest.mark.parametrize(
    ("preset", "plugin", "launcher"),
    [("slurm", "submitit", "SlurmLauncher"), ("ray_gpu", "ray", "RayLauncher")],
)
def test_the_presets_of_clusters_give_every_point_a_gpu(plugins, preset, plugin, launcher):
    if find_spec(f"hydra_plugins.hydra_{plugin}_launcher") is None:
        pytest.skip(f"needs rlhfkit[{plugin}]")
    overrides = ["run_name=x", f"hydra/launcher={preset}"]
    with initialize_config_module("rlhfkit_conf", version_base="1.3"):
        chosen = compose("config", overrides, return_hydra_config=True).hydra.launcher
    assert chosen._target_.endswith(launcher)
    assert (chosen.ray.remote.num_gpus if preset == "ray_gpu" else chosen.gpus_per_node) == 1
