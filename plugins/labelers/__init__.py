"""Labelers: who ranks the completions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.errors import UserError, nearest
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE
from rlhfkit.user_code import UserCodeConfig
from rlhfkit.validators import (
    require_above_zero,
    require_at_least,
    require_below,
    require_fractions,
    require_not_negative,
)
from rlhfkit_plugins.labelers.pool import POOL
from rlhfkit_plugins.server_options import ServerOptions


@dataclass
class SimulatedConfig:
    """A pool of simulated labelers, each with documented preferences and an error rate."""

    labelers: list[str] | None = None
    """Which of the pool rank; null takes all of them."""

    error_rate: float | None = None
    """Share of typical pairs a labeler confuses, below 0.5; null keeps each labeler's own."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_below(name, self, 0.5, "error_rate")
        if self.labelers is None:
            return
        for labeler in self.labelers:
            if labeler not in POOL:
                raise UserError(
                    f"{name}.labelers: no simulated labeler '{labeler}'; {nearest(labeler, POOL)}"
                )
        if not self.labelers or len(set(self.labelers)) < len(self.labelers):
            raise UserError(f"{name}.labelers={self.labelers}: name at least one, and none twice")


@dataclass
class RewardModelLabelerConfig:
    """A reward model as gold labeler: ranks by its score."""

    path: str = "???"
    """A directory or hub name; it may have another tokenizer than the policy."""

    tie_margin: float = 0.0
    """Scores this close are ties."""

    batch_size: int = 16
    """Texts scored together."""

    trust_remote_code: bool = False
    """Run code that comes with a classifier. Never set by a recipe."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "tie_margin")
        require_above_zero(name, self, "batch_size")


@dataclass
class JudgePoolOptions:
    """Judges that are a model, one for each prompt it is asked by; noisy ones as in AlpacaFarm."""

    prompts: list[str] = field(default_factory=lambda: ["pairwise"])
    """How the model is asked, a judge each: `pairwise`, `instruction`, `truthful`, or paths of YAML
    files of your own."""

    judges_per_prompt: int | None = None
    """How many of the judges, drawn anew for each prompt, are asked about it; null asks all."""

    flip_rate: float = 0.0
    """Share of a judge's preferences that are turned round (AlpacaFarm: 0.25)."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_below(name, self, 0.5, "flip_rate")
        require_above_zero(name, self, "judges_per_prompt")

    @property
    def read_files(self) -> list[str]:
        """The prompts of the user's own."""
        return [prompt for prompt in self.prompts if is_file(prompt)]


@dataclass
class ModelJudgeConfig(JudgePoolOptions, ServerOptions):
    """A model behind a server of OpenAI's protocol as judge: it is shown two completions at a time,
    in both orders; with evaluator=ratings one alone."""

    model: str = "???"
    """What the server calls the model."""

    temperature: float = 0.0
    """Sampling temperature."""

    max_tokens: int = 64
    """Longest answer, of a rating for each of its lines; more where a prompt of yours has the model
    think first."""

    body: dict[str, Any] = field(default_factory=dict)
    """More of the request's body, as +labeler.body.top_p=0.9; null leaves out what is in it, as
    max_tokens."""

    requests_at_once: int = 8
    """Questions that the server has at once."""

    max_unreadable: float = 0.2
    """Largest share of answers without a verdict, refusals too, which count as ties; above it the
    stage stops."""

    input_price: float = 0.0
    """Dollars for a million tokens of questions."""

    output_price: float = 0.0
    """Dollars for a million tokens of answers."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        ServerOptions.check(self, name)
        require_above_zero(name, self, "max_tokens", "requests_at_once")
        require_not_negative(name, self, "temperature", "input_price", "output_price")
        require_fractions(name, self, "max_unreadable")


@dataclass
class LocalJudgeConfig(JudgePoolOptions):
    """A model in this process as judge: it is shown two completions at a time, in both orders, and
    the likelier verdict counts; with evaluator=ratings one alone."""

    path: str = "???"
    """A directory or hub name."""

    batch_size: int = 8
    """Verdicts that are weighed together."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "batch_size")


@dataclass
class ImportedConfig:
    """Rankings that people made, from the data's `rankings` split; nothing is sampled."""

    min_completions: int = 2
    """Rankings of fewer completions are left out (InstructGPT, 3.5: K from 4 to 9)."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_at_least(name, self, 2, "min_completions")


@dataclass
class PeopleConfig:
    """Rankings that people made in the browser: rlhfkit label RUN."""

    run: str | None = None
    """Directory of the run that was labelled; null is this run."""

    with_simulated: bool = False
    """Let the simulated pool rank the run's completions, too; its rankings join the people's."""

    def file(self, run_dir: Path) -> Path:
        """Where the judgements are."""
        return Path(self.run or run_dir).expanduser() / JUDGEMENTS_FILE

    def fingerprint(self, run_dir: Path) -> str:
        """Changes with the judgements, so that what was trained on older ones is made again."""
        from rlhfkit.labelling.training import fingerprint

        return fingerprint(self.file(run_dir))


@dataclass
class FunctionConfig(UserCodeConfig):
    """A function of your own, which gives each prompt's completions a rank each, or a class with
    rank(): labeler=FILE.py:NAME."""

    gives: ClassVar[tuple[str, ...]] = ("completions", "prompts")
    methods: ClassVar[tuple[str, ...]] = ("rank",)


def is_file(prompt: str) -> bool:
    """Whether a judge's prompt is a path, not the name of one of the package's."""
    return prompt.endswith((".yaml", ".yml"))


@hookimpl
def labelers() -> Sequence[Component]:
    package = "rlhfkit_plugins.labelers"
    return (
        Component("simulated", SimulatedConfig, f"{package}.simulated:SimulatedLabelers"),
        Component(
            "reward_model", RewardModelLabelerConfig, f"{package}.reward_model:RewardModelLabeler"
        ),
        Component("model_judge", ModelJudgeConfig, f"{package}.model_judge:ModelJudge"),
        Component("local_judge", LocalJudgeConfig, f"{package}.local_judge:LocalJudge"),
        Component("function", FunctionConfig, f"{package}.function:build"),
        Component("imported", ImportedConfig, f"{package}.imported:ImportedRankings"),
        Component("people", PeopleConfig, f"{package}.people:PeopleRankings"),
    )
