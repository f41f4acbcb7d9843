"""for stage in stages: skip, run or refuse."""

from dataclasses import dataclass
from enum import Enum
from importlib import import_module

from omegaconf import DictConfig, OmegaConf

from rlhfkit.config.run import RunConfig, check_entries
from rlhfkit.console import console
from rlhfkit.context import Context, Findings
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.runner.gates import check_gates
from rlhfkit.runner.launcher_checks import check_launcher
from rlhfkit.runner.planned import Planned, Remaining
from rlhfkit.runner.preflight import refuse_mistakes
from rlhfkit.runner.reuse import Lenders, take_over
from rlhfkit.runner.run_lock import run_lock
from rlhfkit.runner.stage_settings import stage_settings
from rlhfkit.stage import Stage
from rlhfkit.stages.registry import find_stage, stages_of
from rlhfkit.storage.rounds import earlier_rounds, record_round
from rlhfkit.storage.run_dir import RunDir, StageRecord
from rlhfkit.storage.run_record import RunRecord
from rlhfkit.storage.stop_signals import stop_at_next_step, stop_if_requested


class State(Enum):
    """What a run directory says of a stage."""

    COMPLETE = "complete"
    STALE = "made with other settings"
    INTERRUPTED = "interrupted"
    INCOMPLETE = "started, not complete"
    ABSENT = "not run"
    LENT = "complete in another run"

    @property
    def next_step(self) -> str:
        """What the next `run` does with such a stage."""
        steps = {
            State.COMPLETE: "skip",
            State.STALE: "refuse",
            State.LENT: "take over",
            State.INTERRUPTED: "resume",
        }
        return steps.get(self, "run")


class StageFailed(Exception):
    """An unexpected error inside a stage; the cause keeps its traceback."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


@dataclass(frozen=True)
class Status:
    """A stage of a run: its state now, and its record when there is one."""

    stage: Stage
    state: State
    record: StageRecord | None
    """Record of a stage that is complete, or of one that has a checkpoint."""

    wanted: StageRecord
    lender: RunDir | None = None
    """The other run that has what this one lacks."""


class Runner:
    """Runs the stages of one configuration in one run directory."""

    def __init__(self, raw: DictConfig, plugins: Plugins, record: RunRecord | None = None) -> None:
        """record: what was typed, for `rlhfkit resume` and others; None keeps none."""
        config = OmegaConf.to_object(raw)
        assert isinstance(config, RunConfig)
        check_entries(config)
        self.config = config
        self.raw = raw
        self.plugins = plugins
        self.run_dir = RunDir(config.run_dir)
        self.has_started = False  # a stage
        self._record = record
        self.stages = stages_of(plugins)
        self.chosen = [self.find(name) for name in config.stages]
        self._earlier = earlier_rounds(config.round, config.previous)
        self._lenders = Lenders(config.reuse, self.run_dir, self._earlier)
        self._lent: dict[str, StageRecord | None] = {}
        self._check_order()
        if config.force_from is not None:
            self.find(config.force_from)

    def find(self, name: str) -> Stage:
        """The stage of a name."""
        return find_stage(name, self.stages)

    def run(self) -> None:
        """Every chosen stage in turn; what is finished with the same settings is skipped."""
        with stop_at_next_step():
            self._run()

    def _run(self) -> None:
        # 1. every check, before anything is set aside, loaded or trained
        check_launcher(self.config, self.chosen)
        planned, mistakes = self.planned()
        processes.on_main_process(refuse_mistakes, planned, mistakes)
        with run_lock(self.run_dir.root):
            self._run_chosen(planned)
        # 4. what the results must keep
        processes.on_main_process(check_gates, self.config.gates(), self.run_dir)

    def _run_chosen(self, planned: Planned) -> None:
        # 2. which round it is, and what is to be made again
        if self.config.previous is not None and self._earlier:
            lineage = self.run_dir, self.config.round, self.config.previous
            processes.on_main_process(record_round, *lineage)
        processes.on_main_process(self._set_aside)
        self._prepare_device(planned.names)
        # 3. skip, refuse, take over or run
        for stage in self.chosen:
            stop_if_requested()
            status = self.status(stage)
            if status.state is not State.STALE and self._record is not None:
                processes.on_main_process(self._record.write, self.run_dir)
            if status.state is State.COMPLETE:
                processes.on_main_process(self.run_dir.tidy, stage.name)
                console.print(f"[dim]{stage.name}: complete, skipped[/dim]")
                continue
            if status.state is State.STALE:
                raise UserError(self._refusal(status))
            if status.lender is not None:
                processes.on_main_process(take_over, stage.name, status.lender, self.run_dir)
                console.print(
                    f"{stage.name}: taken over from {status.lender.root}", style="dim", markup=False
                )
                continue
            self._run_stage(stage, status.wanted)

    def status(self, stage: Stage) -> Status:
        """The state of a stage, measured against the present configuration and data."""
        settings = stage_settings(stage, self.raw, self.config, self.plugins)
        wanted = StageRecord(stage.name, settings, self._inputs(stage))
        record = self.run_dir.record(stage.name)
        interrupted = self.run_dir.interrupted(stage.name)
        found = record or interrupted
        if found is not None and found.differences(wanted):
            return Status(stage, State.STALE, found, wanted)
        if record is not None:
            return Status(stage, State.COMPLETE, record, wanted)
        lender = self._lenders.find(wanted) if self._may_borrow(stage) else None
        if lender is not None:
            return Status(stage, State.LENT, None, wanted, lender)
        started = self.run_dir.stage_dir(stage.name).exists()
        empty = State.INCOMPLETE if started else State.ABSENT
        return Status(stage, State.INTERRUPTED if interrupted else empty, interrupted, wanted)

    def _run_stage(self, stage: Stage, wanted: StageRecord) -> None:
        context = self.context(stage.name)
        self.has_started = True
        processes.on_main_process(self.run_dir.start, wanted)
        console.rule(f"[bold]{stage.name}", align="left")
        checkpoints = context.checkpoints
        if processes.is_main():
            self.plugins.hook.stage_started(stage=stage.name, context=context)
        try:
            if stage.main_process_only:
                processes.on_main_process(stage.start, context)
            else:
                stage.start(context)
        except BaseException as error:
            self.plugins.hook.stage_failed(stage=stage.name, context=context, error=error)
            if isinstance(error, UserError) or not isinstance(error, Exception):
                raise
            if (provider := self.plugins.provider_of(error)) is not None:
                error.add_note(f"(raised in {provider})")
            raise StageFailed(stage.name) from error
        self._refuse_changed_inputs(stage, wanted)
        seconds = checkpoints.seconds
        record = StageRecord(stage.name, wanted.settings, wanted.inputs, round(seconds, 1))
        processes.on_main_process(self.run_dir.complete, record)
        if processes.is_main():
            self.plugins.hook.stage_finished(stage=stage.name, context=context, seconds=seconds)
        console.print(f"{stage.name}: done in {seconds:.0f} s")

    def context(self, stage: str) -> Context:
        """What a stage of this run is given."""
        return Context(self.config, self.plugins, self.run_dir, stage)

    def planned(self) -> tuple[Planned, list[str]]:
        """What the next `run` does, for the checks before it, and what is wrong with the results
        and the files of data that are there."""
        again = self._forced()
        remaining = Remaining(self.run_dir, again)
        waiting, complete = list[Stage](), set[str]()
        mistakes, stale = list[str](), list[str]()
        for stage in self.stages:
            try:
                there = stage.name not in again and self._is_there(stage, stale)
            except UserError as error:  # of a stage that is not chosen, those say it that read it
                there = False
                mistakes += [str(error)] if stage in self.chosen else []
            if there:
                complete.add(stage.name)
            elif stage in self.chosen:
                waiting.append(stage)
        context = Context(self.config, self.plugins, remaining, "check", findings=Findings())
        mistakes += stale[:1]  # what helps the first makes the others again, too
        return Planned(context, waiting, frozenset(complete)), mistakes

    def _is_there(self, stage: Stage, stale: list[str]) -> bool:
        """Whether a stage is complete, here or in a run to take it over from."""
        if stage not in self.chosen:
            return self.run_dir.record(stage.name) is not None
        status = self.status(stage)
        if status.state is State.STALE and _stays_stale(status):
            stale.append(self._refusal(status))
        return status.state in (State.COMPLETE, State.LENT)

    def _prepare_device(self, waiting: list[str]) -> None:
        """Where a model will compute: say on what and in what precision, and choose kernels."""
        if not any("loader" in self.find(name).option_groups for name in waiting):
            return
        if self.config.deterministic:  # these two import torch, which a skipped run does not need
            import_module("rlhfkit.storage.random_state").use_deterministic_kernels()
        context = self.context("precision")
        name = import_module("rlhfkit.precision").device_name(context.device)
        console.print(f"computing on {name} in {context.precision}", style="dim", markup=False)

    def _inputs(self, stage: Stage) -> dict[str, str]:
        """Digests of the stage's data and of the finished stages it reads."""
        inputs = {}
        for earlier in stage.reads:
            record = self.run_dir.record(earlier) or self._lent_record(earlier)
            if record is not None:
                inputs[f"result of {earlier}"] = record.digest
        for number, run in enumerate(self._earlier, start=1):
            for earlier in stage.reads_earlier:
                record = run.record(earlier)
                if record is not None:
                    inputs[f"round {number}: {earlier}"] = record.digest
        if stage.splits:
            chosen = self.context(stage.name).build_all("data")
            splits = {*stage.splits}
            if not any("prompts" in source.splits() for source in chosen.values()):
                splits |= {"demonstrations"} if "prompts" in splits else set()  # theirs are taken
            for name, source in chosen.items():
                for split in splits:
                    if split in source.splits():
                        inputs[f"data {name}.{split}"] = source.fingerprint(split)
        labeler = self.config.labeler
        if stage.name == "label" and hasattr(labeler, "fingerprint"):
            inputs[f"labeler={labeler.name}"] = labeler.fingerprint(self.run_dir.root)
        return inputs

    def _refuse_changed_inputs(self, stage: Stage, wanted: StageRecord) -> None:
        """Refuse results of data that changed meanwhile: who knows which of its rows were read."""
        now = StageRecord(stage.name, wanted.settings, self._inputs(stage))
        if changed := wanted.differences(now):
            raise UserError(
                f"stage {stage.name}: {', '.join(changed)} changed while it ran, so it does not "
                f"count as finished; leave the data alone and add force_from={stage.name} to make "
                f"the stage again"
            )

    def _may_borrow(self, stage: Stage) -> bool:
        """Only what would run here, and not what is to be made again."""
        again = stage.name in self._forced()
        return bool(self._lenders) and stage in self.chosen and not again

    def _lent_record(self, name: str) -> StageRecord | None:
        """What the record of a stage will be once it is taken over; None when it is not to be."""
        stage = self.find(name)
        if name not in self._lent and self._may_borrow(stage):
            status = self.status(stage)
            self._lent[name] = status.wanted if status.lender else None
        return self._lent.get(name)

    def _forced(self) -> list[str]:
        """The stages whose results are to be made again."""
        if self.config.force_from is None:
            return []
        first = self.stages.index(self.find(self.config.force_from))
        return [stage.name for stage in self.stages[first:]]

    def _set_aside(self) -> None:
        forced = self._forced()
        moved = self.run_dir.set_aside(forced) if forced else None
        if moved:
            console.print(f"set aside: earlier results are in {moved}", markup=False)

    def _check_order(self) -> None:
        order = [self.stages.index(stage) for stage in self.chosen]
        if order != sorted(set(order)):
            known = ",".join(stage.name for stage in self.stages)
            raise UserError(f"stages={self.config.stages}: each once, in the order [{known}]")

    def _refusal(self, status: Status) -> str:
        assert status.record is not None
        made = "made" if status.record.finished_at else "started"
        changes = [
            f"{key}: {old!r} -> {new!r}"
            for key, (old, new) in status.record.differences(status.wanted).items()
        ]
        return (
            f"stage {status.stage.name} in {self.run_dir.root} was {made} with other settings "
            f"({'; '.join(changes)}); add force_from={status.stage.name} to make it again, "
            f"or choose another run_name"
        )


def _stays_stale(status: Status) -> bool:
    """Whether a stage differs in more than the results of earlier ones, which may be made yet."""
    assert status.record is not None
    changed = status.record.differences(status.wanted)
    return any(not key.startswith("result of ") for key in changed)
