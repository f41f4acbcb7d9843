"""The Hydra application behind `rlhfkit run`, `plan`, `stages` and `export`."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from tempfile import TemporaryDirectory

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from rlhfkit.commands.commented_config import commented
from rlhfkit.commands.error_lines import composing
from rlhfkit.commands.hydra_store import register_configs
from rlhfkit.commands.invocation import Invocation
from rlhfkit.commands.own_parts import OwnParts
from rlhfkit.commands.run_words import own_flags
from rlhfkit.commands.sweep import (
    SweepDirectory,
    compare_points,
    exclude_unswept,
    fixed_options,
    points_of_sweep,
    record_point,
)
from rlhfkit.commands.typed_words import as_hydra_reads
from rlhfkit.commands.untrusted_config import guard_configs
from rlhfkit.console import quiet_libraries, replace_unprintable
from rlhfkit.distributed import processes
from rlhfkit.plugin_manager import Plugins
from rlhfkit.runner.preflight import check_options
from rlhfkit.runner.runner import Runner
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.storage.run_record import RunRecord, as_typed

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
    own_parts = OwnParts(plugins)
    guard_configs(own_parts)
    register_configs(plugins)
    words = own_parts.in_arguments(arguments)
    options, flags = as_hydra_reads(words, plugins, own_flags(command))
    failures: list[Exception] = []
    runners: list[Runner] = []
    SweepDirectory.place = None

    @hydra.main(version_base="1.3", config_path="pkg://rlhfkit_conf", config_name="config")
    def task(config: DictConfig) -> None:
        quiet_libraries()  # this may be another process
        replace_unprintable()
        config, failure = _own_directory(config), None
        try:
            runners.append(Runner(config, plugins, _typed(arguments, config)))
            _perform(command, runners[-1])
        except Exception as error:  # Hydra would print it; the command line words errors itself
            failure = error
            failures.append(error)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            record_point(config.run_dir, failure, any(runner.has_started for runner in runners))

    with TemporaryDirectory() as nowhere:
        no_trace = [*_LEAVE_NO_TRACE, f"hydra.sweep.dir={nowhere}"]
        runs = command in ("run", "resume")
        recorded = runs and processes.is_main()
        ours = [] if "--shell-completion" in flags else [exclude_unswept(options)]
        ours += [] if recorded else no_trace
        sys.argv = ["rlhfkit", *options, *ours, *flags]
        with composing(arguments), commented(options + flags, plugins):
            try:
                task()
            except HydraException as error:
                if str(error).startswith("Ambiguous value"):
                    _raise_what_hides_a_sweep(task, options, [*no_trace, *flags])
                raise
        points = points_of_sweep()
        started = [*(point.has_started for point in points), *(r.has_started for r in runners)]
        if recorded and failures and not any(started):
            Invocation.take_back()
        if failures:
            raise failures[0]
        for point in points:
            point.require_success()
    if runs and len(points) > 1:
        processes.on_main_process(compare_points, [RunDir(point.run_dir) for point in points])
    processes.shutdown()


def _raise_what_hides_a_sweep(
    task: Callable[[], None], options: list[str], others: list[str]
) -> None:
    """Whatever is wrong with the options beside those that are swept: it keeps Hydra from reading
    that the recipe sweeps, and the complaint is then of values with commas between."""
    sys.argv = ["rlhfkit", *fixed_options(options), *others, "--cfg", "job"]
    with redirect_stdout(StringIO()):
        task()


def _perform(command: str, runner: Runner) -> None:
    if command == "stages":
        from rlhfkit.commands.listing import show_stages

        show_stages(runner)
    elif command == "export":
        from rlhfkit.commands.export_checks import export_target, exported_record

        check_options(runner.config.export, "export")
        exported_record(runner.config, runner.plugins)
        export_target(runner.config)
        from rlhfkit.commands.export import export

        export(runner.config, runner.plugins)
    elif command in ("chat", "generate", "score"):
        check_options(runner.config)
        use = getattr(import_module(f"rlhfkit.commands.{command}"), command)
        use(runner.context(command))
    elif command == "plan":
        check_options(runner.config)
        import_module("rlhfkit.planning.command").show_plan(runner.context("plan"))
    elif command == "check":
        import_module("rlhfkit.commands.check").check(runner)
    else:
        runner.run()


def _typed(words: list[str], config: DictConfig) -> RunRecord:
    """What resumes this run: of a sweep's point, with its values."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode is not RunMode.MULTIRUN:
        return as_typed(words)
    return as_typed([*words, f"reuse={config.reuse or 'null'}"], hydra_config.overrides.task)


def _own_directory(config: DictConfig) -> DictConfig:
    """In a sweep every job gets a run directory of its own, named by what is swept."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode is RunMode.MULTIRUN:
        with open_dict(config):
            config.reuse = config.reuse  # resolved: it may name what all points stand in
            config.run_dir = f"{config.run_dir}/{hydra_config.sweep.subdir}"
    return config
