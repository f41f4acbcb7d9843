"""A stage of a run, described without importing what it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhfkit.component import named
from rlhfkit.types import Split


@dataclass(frozen=True)
class Stage:
    """What the runner, the plan and the report must know of a stage.

    A plugin adds one by the hook `stages`; the built-in ones stand in
    `rlhfkit.stages.registry`.
    """

    name: str
    """As in `stages=[<name>]`; the stage writes to a directory of this name in the run's."""

    config: type
    """A dataclass with typed fields and defaults, set by `stage.<name>.<option>=...`."""

    run: str
    """`"package.module:callable"`, imported on first use and called as `callable(context)`. It
    writes to `context.stage_dir` and returns nothing."""

    option_groups: tuple[str, ...] = ()
    """Top-level options its results depend on, `stage.<name>` apart: `"seed"`, `"model"`,
    `"sampler"`. When one of them changes, the stage has to be made again."""

    splits: tuple[Split, ...] = ()
    """Data splits it reads."""

    reads: tuple[str, ...] = ()
    """Earlier stages whose results it reads, when they are part of the run."""

    reads_earlier: tuple[str, ...] = ()
    """Stages of earlier rounds whose results it reads."""

    after: str | None = None
    """The stage that a plugin's stands right behind in the order; None puts it last."""

    describe: str | None = None
    """`"package.module:callable"`, called as `callable(path)` with the directory of the complete
    stage; returns one line for the report. None leaves the stage out of it."""

    planned_as: str | None = None
    """Whose memory the plan counts for it: `"sft"`, `"sample"`, `"reward_model"`, `"rl"` or
    `"evaluate"`; None where no model is on the device."""

    shardable: bool = False
    """Whether its models may lie in shares on several devices (FSDP2)."""

    main_process_only: bool = False
    """Whether of several processes the main one runs it by itself: it has no models."""

    def groups_with(self, options: Any) -> tuple[str, ...]:
        """`option_groups`, and what an SFT model is chosen by: its answers. options:
        `stage.<name>`."""
        by_reward = getattr(options, "select_by", None) == "reward"
        return (*self.option_groups, "sampler", "reward") if by_reward else self.option_groups

    def start(self, context: Any) -> None:
        """Run it from the run's seed, whatever ran before in this process."""
        from accelerate.utils import set_seed

        set_seed(context.config.seed)
        named(self.run)(context)

    def described(self, path: Path) -> str | None:
        """The report's line for the complete stage in `path`."""
        return named(self.describe)(path) if self.describe else None
