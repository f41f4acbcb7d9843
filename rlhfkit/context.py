"""What a stage and every component's factory are given: configuration, directories, components."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from rlhfkit.component import GROUPS
from rlhfkit.config.run import RunConfig
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.plugin_manager import Plugins
from rlhfkit.protocols import (
    DataSource,
    Evaluator,
    KLController,
    Labeler,
    ModelLoader,
    PolicyOptimizer,
    RewardFunction,
    Sampler,
)
from rlhfkit.storage.rounds import earlier_rounds
from rlhfkit.storage.run_dir import RunDir

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from rlhfkit.models.roles import RoleModels
    from rlhfkit.precision import Precision
    from rlhfkit.storage.checkpoints import Checkpoints

_GROUPS = {group.name: group for group in GROUPS}


@dataclass(frozen=True)
class DryRun:
    """A run that is only rehearsed: models are made from their configuration, by `rlhfkit plan` of
    fake tensors, by the memory benchmark of random weights."""

    device_kind: str
    """What memory is counted for: "cuda" or "cpu"."""

    model_config: Any = None
    """In place of the configuration of `model.path`, for a shallower model of its kind."""

    device: str = "cpu"
    """Where the tensors are; fake ones need no device of their own."""


@dataclass
class Findings:
    """What reading the data finds while a run is only checked: every split is read once, and what
    is left out is counted in silence."""

    rows: dict[str, Any] = field(default_factory=dict)
    """Usable rows by split."""

    totals: dict[str, int] = field(default_factory=dict)
    """How many rows there were, by split."""

    drops: dict[str, Counter[str]] = field(default_factory=dict)
    """How many were left out, by split and reason."""


@dataclass(frozen=True)
class Context:
    """One stage of one run."""

    config: RunConfig
    plugins: Plugins
    run_dir: RunDir
    stage: str

    roles: "RoleModels | None" = None
    """The four models in memory, while the rl stage runs; None elsewhere."""

    dry_run: "DryRun | None" = None
    """While memory is counted or measured; None in a run."""

    findings: "Findings | None" = None
    """While data is checked before a run; None in the run."""

    @property
    def stage_dir(self) -> Path:
        """Where this stage writes."""
        return self.run_dir.stage_dir(self.stage)

    @cached_property
    def checkpoints(self) -> "Checkpoints":
        """Where this stage goes on from, and saves what it could go on from."""
        from rlhfkit.storage.checkpoints import Checkpoints

        return Checkpoints(self.stage_dir, self.config.checkpoint)

    @cached_property
    def device(self) -> "torch.device":
        """Where models and tensors of this process live."""
        import torch

        if self.dry_run:
            return torch.device(self.dry_run.device)
        return processes.device()

    @property
    def device_kind(self) -> str:
        """The device that is computed or planned for: "cuda", "cpu" or "mps"."""
        return self.dry_run.device_kind if self.dry_run else self.device.type

    @cached_property
    def precision(self) -> "Precision":
        """What models compute in. A plan for a card that is not here takes it for one that has
        bfloat16."""
        import torch

        from rlhfkit.precision import choose_precision, half_of

        kind = self.device_kind
        imagined = kind == "cuda" and not torch.cuda.is_available()
        half = torch.bfloat16 if imagined else half_of(kind)
        return choose_precision(kind, self.config.model.dtype, half)

    @property
    def mixed_precision(self) -> Literal["bf16", "fp16", "no"]:
        """What accelerate is told. A plan has no losses to scale: bfloat16 takes as many bytes."""
        mixed = self.precision.mixed
        return "bf16" if mixed == "fp16" and self.dry_run else mixed

    @property
    def accelerator(self) -> "Accelerator":
        """Devices, precision and processes. Made on each call: creating a trainer's arguments
        resets the state that accelerators share, and an older one no longer works."""
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        if processes.world_size() > 1:
            processes.init_process_group()
        if AcceleratorState._shared_state.get("_mixed_precision") != self.mixed_precision:
            AcceleratorState._reset_state()  # of a plan for another kind of device
        accelerator = Accelerator(mixed_precision=self.mixed_precision)
        if processes.under_deepspeed():  # loaders get whole weights, which trainers then share out
            unset_hf_deepspeed_config()
        return accelerator

    @overload
    def build(self, group: Literal["loader"]) -> ModelLoader: ...
    @overload
    def build(self, group: Literal["sampler"]) -> Sampler: ...
    @overload
    def build(self, group: Literal["labeler"]) -> Labeler: ...
    @overload
    def build(self, group: Literal["optimizer"]) -> PolicyOptimizer: ...
    @overload
    def build(self, group: Literal["kl"]) -> KLController: ...
    def build(self, group: str) -> Any:
        """The chosen component of a group: `context.build("kl")`."""
        return self.make(group, getattr(self.config, group))

    @overload
    def build_all(self, group: Literal["data"]) -> dict[str, DataSource]: ...
    @overload
    def build_all(self, group: Literal["reward"]) -> dict[str, RewardFunction]: ...
    @overload
    def build_all(self, group: Literal["evaluator"]) -> dict[str, Evaluator]: ...
    def build_all(self, group: str) -> dict[str, Any]:
        """The chosen components of a group that takes several, by name."""
        chosen = getattr(self.config, group)
        return {name: self.make(group, config) for name, config in chosen.items()}

    def output_of(self, stage: str, name: str) -> Path:
        """A file or directory that an earlier stage wrote."""
        path = self.run_dir.stage_dir(stage) / name
        if not path.exists():
            raise UserError(
                f"stage {self.stage} needs {path}: let the stage '{stage}' run first, as in "
                f"stages={stage},{self.stage}"
            )
        return path

    def model_of(self, stage: str) -> str | None:
        """The model that a finished stage wrote, None when this run has none."""
        path = self.run_dir.stage_dir(stage) / "model"
        return str(path) if self.run_dir.record(stage) is not None else None

    @cached_property
    def earlier_rounds(self) -> list[RunDir]:
        """The runs of the rounds before this one, the first in front; mostly none."""
        return earlier_rounds(self.config.round, self.config.previous)

    @property
    def rl_start(self) -> str | None:
        """The model that RL starts from and is compared with: of stage rl_sft, else of sft."""
        return self.model_of("rl_sft") or self.model_of("sft")

    def factory(self, group: str, config: Any) -> Any:
        """What makes the component of these options: a class or a function."""
        provided = self.plugins.find(_GROUPS[group], config.name)
        try:
            return provided.component.factory
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"{group}={config.name} of {provided.provider}: cannot import "
                f"{provided.component.build}: {error}"
            ) from error

    def make(self, group: str, config: Any) -> Any:
        """The object of one chosen component, by its options."""
        return self.factory(group, config)(config, self)
