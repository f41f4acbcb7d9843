"""The Hydra application behind `rlhfkit run`, `plan`, `stages` and `export`."""

import sys
from importlib import import_module
from tempfile import TemporaryDirectory

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from rlhfkit import processes
from rlhfkit.command_errors import composing
from rlhfkit.config import register_configs
from rlhfkit.config_guard import guard_configs
from rlhfkit.console import quiet_libraries
from rlhfkit.plugin_manager import Plugins
from rlhfkit.runner import Runner
from rlhfkit.sweep import SweepDirectory, compare_points, finished_points, record_point

_LEAVE_NO_TRACE = (
    "hydra.output_subdir=null",
    "hydra.run.dir=.",
    "hydra/job_logging=disabled",
    "hydra.job_logging.root=null",
)
"""What changes no stage, Hydra is not to record among the invocations; nor twice what several
processes run."""


def run_application(command: str, arguments: list[str], plugins: Plugins) -> None:
    """Compose the configuration from the arguments; then run, plan, export or show its stages."""
    guard_configs()
    register_configs(plugins)
    failures: list[Exception] = []
    SweepDirectory.place = None

    @hydra.main(version_base="1.3", config_path="pkg://rlhfkit_conf", config_name="config")
    def task(config: DictConfig) -> None:
        quiet_libraries()  # this may be another process
        config, failure = _own_directory(config), None
        try:
            _perform(command, Runner(config, plugins))
        except Exception as error:  # Hydra would print it; the command line words errors itself
            failure = error
            failures.append(error)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            record_point(config.run_dir, failure)

    with TemporaryDirectory() as nowhere:
        no_trace = [*_LEAVE_NO_TRACE, f"hydra.sweep.dir={nowhere}"]
        recorded = command == "run" and processes.is_main()
        sys.argv = ["rlhfkit", *arguments, *([] if recorded else no_trace)]
        with composing(arguments):
            task()
        if failures:
            raise failures[0]
        points = finished_points()
    if command == "run" and len(points) > 1:
        processes.by_main(compare_points, points)
    processes.leave()


def _perform(command: str, runner: Runner) -> None:
    if command == "stages":
        from rlhfkit.listing import show_stages

        show_stages(runner)
    elif command == "export":
        from rlhfkit.export import export

        export(runner.config, runner.plugins)
    elif command == "plan":
        import_module("rlhfkit.planning.command").show_plan(runner.context("plan"))
    else:
        runner.run()


def _own_directory(config: DictConfig) -> DictConfig:
    """In a sweep every job gets a run directory of its own, named by its overrides."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode is RunMode.MULTIRUN:
        with open_dict(config):
            config.reuse = config.reuse  # resolved: it may name what all points stand in
            config.run_dir = f"{config.run_dir}/{hydra_config.job.override_dirname}"
    return config
