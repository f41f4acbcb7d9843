"""The options of every stage, under `stage.<name>.<option>`. No torch here."""

from dataclasses import dataclass, field
from pathlib import Path

from rlhfkit.config.prepare import PrepareConfig
from rlhfkit.config.trainer import TrainingConfig
from rlhfkit.errors import UserError
from rlhfkit.validators import (
    require_above_zero,
    require_below,
    require_not_negative,
    require_one_of,
)

SELECT_BY = ("last", "loss", "reward")
LAST, OBJECTIVE = "last", "objective"
"""What stage.rl.select_by may be beside a reward's name."""

SHARES = ("rows", "tokens")
ROLES = ("user", "assistant", "system")
OF_A_RUN = ("sft", "base", "rl", "prompted")
"""What evaluate calls the run's own policies."""


@dataclass
class SftConfig(TrainingConfig):
    """Supervised fine-tuning on demonstrations (InstructGPT, section 3.5)."""

    residual_dropout: float = 0.0
    """Dropout of what attention and MLP add to the residual stream, while training (InstructGPT,
    C.1: 0.2), on adapters' bases too; 0 leaves a model's own dropout as it is."""

    select_by: str = "last"
    """Which epoch's model is kept: `last`, `loss` (lowest on the validation rows), or `reward`: the
    run's reward functions score answers to the validation prompts (InstructGPT, C.1), so that
    reward.reward_model.path must name a reward model that is there already."""

    max_completion_length: int = 256
    """Demonstrations with longer completions, in tokens, are dropped and counted."""

    pretraining_fraction: float = 0.0
    """Share of pretraining texts mixed in; 0.1 is the paper's RL initialisation (C.3)."""

    pretraining_fraction_of: str = "rows"
    """What that is a share of: `rows` of the mix, or `tokens` that the loss is taken on, of which a
    text has many more than an answer. The paper does not say which."""

    pretraining_length: int = 128
    """Tokens of each pretraining text."""

    validation_fraction: float = 0.05
    """Share of the demonstrations kept for the validation loss."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_one_of(name, self, SELECT_BY, "select_by")
        require_one_of(name, self, SHARES, "pretraining_fraction_of")
        require_above_zero(name, self, "max_completion_length", "pretraining_length")
        require_below(name, self, 1, "residual_dropout", "pretraining_fraction")
        require_below(name, self, 1, "validation_fraction")


@dataclass
class RlSftConfig(SftConfig):
    """The model that RL starts from and measures its KL against, where it is not the SFT model:
    two epochs with a tenth of pretraining texts (InstructGPT, C.3). Not in `stages` by default."""

    num_train_epochs: float = 2.0
    """Passes over the data."""

    pretraining_fraction: float = 0.1


@dataclass
class SampleConfig:
    """K completions per prompt, to be ranked."""

    num_completions: int = 4
    """Completions of each prompt, K: between 2 and 16 (4 to 9 in the paper)."""

    num_prompts: int | None = None
    """How many training prompts are answered; null takes all."""

    models: list[str] = field(default_factory=lambda: ["sft"])
    """Which models answer, in turns: `base`, `sft`, `rl_sft`, `rl`, directories or hub names."""

    round_models: list[str] = field(default_factory=lambda: ["best", "best", "sft"])
    """Who answers from round=2 on, in turns: one of `models`, `best`, which is the policy of an
    earlier round with the highest win rate, or `round1`, `round2` and so on. One that is named
    twice has two turns."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        completions = self.num_completions
        if not 2 <= completions <= 16:
            raise UserError(
                f"{name}.num_completions={completions}: K must be from 2 to 16, a ranking needs at "
                f"least two completions"
            )
        require_above_zero(name, self, "num_prompts")
        if not 1 <= len(self.models) <= completions:
            raise UserError(f"{name}.models={self.models}: between 1 and {completions} models")
        if not self.round_models:
            raise UserError(f"{name}.round_models={self.round_models}: at least one model")

    def models_of(self, number: int) -> list[str]:
        """Those that answer in a round."""
        return self.models if number == 1 else self.round_models

    def unused_in(self, number: int) -> tuple[str, ...]:
        """Options that change nothing in a round, and stand in no record of it."""
        return ("round_models",) if number == 1 else ("models",)


@dataclass
class LabelConfig:
    """Rankings of the sampled completions."""

    labels_per_prompt: int = 1
    """How many different labelers rank each prompt."""

    overlap_prompts: int = 20
    """On this many prompts a second labeler ranks too, so that agreement can be reported."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "labels_per_prompt")
        require_not_negative(name, self, "overlap_prompts")


@dataclass
class RewardModelConfig(TrainingConfig):
    """The reward model learns from K-wise rankings (InstructGPT, section 3.5, equation 1)."""

    start: str | None = None
    """Directory or hub name of the model it starts from; null is the SFT model. One of another size
    (InstructGPT, C.2) has the run's tokenizer and needs loader=full; value models are as large."""

    validation_fraction: float = 0.15
    """Share of the prompts, never of pairs, kept for validation accuracy."""

    per_device_train_batch_size: int = 4
    """Prompts in a batch of each process: all K completions of a prompt are one batch element."""

    max_completion_length: int = 256
    """Completions are cut to this many tokens: a ranking needs all of its K."""

    normalise_on: int | None = None
    """The bias makes so many demonstrations, drawn at random, average 0; null takes all of them
    (section C.2), and 0 leaves the bias at 0."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "max_completion_length")
        require_not_negative(name, self, "normalise_on")
        require_below(name, self, 1, "validation_fraction")


@dataclass
class RlConfig:
    """The shared rollout loop of online optimizers; the optimizer's own options are its own."""

    total_episodes: int = 1024
    """How many completions are sampled in all."""

    num_prompts: int | None = None
    """How many training prompts, drawn at random, are answered again and again; null takes all."""

    batch_size: int = 64
    """Episodes per iteration, of all processes together."""

    micro_batch_size: int = 16
    """Sequences per forward pass of a process, as many tokens as so many of the longest; changes
    speed and memory, not results."""

    micro_batch_tokens: int | None = None
    """Tokens per forward pass of a process, padding included, in place of `micro_batch_size`: more
    sequences at once where they are short; with `loader=qlora` take 2,000 at least."""

    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass of an update: less memory, a third more time."""

    activation_offloading: bool = False
    """With gradient_checkpointing on a GPU: the layers' inputs wait in main memory for the backward
    pass (the name is TRL's)."""

    missing_eos_penalty: float = 1.0
    """Taken off the score of a completion that did not end by itself."""

    use_score_scaling: bool = False
    """Divide scores by their running standard deviation over all episodes so far (Engstrom et al.
    2020; the name is that of TRL's first PPO)."""

    use_score_norm: bool = False
    """With use_score_scaling: take off their running mean first."""

    reward_clip: float | None = None
    """Scores, scaled or not, are clipped to plus or minus this; null leaves them."""

    whiten_rewards: bool = False
    """Scale per-token rewards to unit variance, mean kept (Ziegler et al. 2019)."""

    select_by: str = "last"
    """Which iteration's policy is kept: `last`; the name of a reward of weight 0, as `gold`, which
    scores answers to prompts that nothing trains or evaluates on; or `objective`, the trained
    reward less the KL at its first price."""

    select_candidates: int = 8
    """With select_by: how many policies are compared, evenly spread over the iterations, beside the
    one that RL starts from; each answers `select_prompts` once."""

    select_prompts: int = 64
    """With select_by: how many prompts they answer, of the stage prepare's validation part or else
    taken out of RL's, and then a fifth of them at most."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "total_episodes", "batch_size", "micro_batch_size")
        require_above_zero(name, self, "micro_batch_tokens", "num_prompts", "reward_clip")
        require_above_zero(name, self, "select_candidates", "select_prompts")
        require_not_negative(name, self, "missing_eos_penalty")
        if self.activation_offloading and not self.gradient_checkpointing:
            raise UserError(
                f"{name}.activation_offloading=true: needs {name}.gradient_checkpointing=true"
            )
        if self.use_score_norm and not self.use_score_scaling:
            raise UserError(f"{name}.use_score_norm=true: needs {name}.use_score_scaling=true")


PROMPTED = "prompted"
"""What the base model is called where `stage.evaluate.few_shot` has it answer once more."""


@dataclass
class EvaluateConfig:
    """Held-out comparison of the policies."""

    num_prompts: int = 200
    """How many held-out prompts at most."""

    num_completions: int = 1
    """How often each policy answers each prompt; intervals are over prompts all the same."""

    temperature: float | None = None
    """Temperature at which every policy answers here and the KL is taken (Huang et al. 2024: 0.01);
    null is the sampler's."""

    opponents: dict[str, str | None] = field(default_factory=dict)
    """More models to compare: a name of your own, and a directory or hub name; null leaves that
    one out and says so."""

    few_shot: list[dict[str, str]] = field(default_factory=list)
    """Messages before every prompt of the policy `prompted`, which is the base model (InstructGPT,
    section 3.5: few-shot prefix); with none it is left out."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "num_prompts", "num_completions", "temperature")
        for opponent, path in self.opponents.items():
            _check_opponent(f"{name}.opponents.{opponent}", opponent, path)
        _check_few_shot(f"{name}.few_shot", self.few_shot)


@dataclass
class ReportConfig:
    """Table and figures of the run."""

    formats: list[str] = field(default_factory=lambda: ["png"])
    """Picture formats that matplotlib writes: png, svg, pdf."""

    runs: list[str] = field(default_factory=list)
    """Directories of more runs with a gold reward, drawn beside this one's: of other proxies."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        for run in self.runs:
            if not Path(run).is_dir():
                raise UserError(f"{name}.runs: {run}: no such directory")


@dataclass
class StageConfigs:
    """Options by stage."""

    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    rl_sft: RlSftConfig = field(default_factory=RlSftConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    rl: RlConfig = field(default_factory=RlConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    report: ReportConfig = field(default_factory=ReportConfig)


def _check_opponent(option: str, opponent: str, path: str | None) -> None:
    """Names of their own, and paths that are there: a hub name has one slash at most."""
    if opponent in OF_A_RUN:
        raise UserError(f"{option}: the run has a policy of that name; choose another")
    if path is not None and path.count("/") > 1 and not Path(path).is_dir():
        raise UserError(f"{option}={path}: no such directory")


def _check_few_shot(option: str, turns: list[dict[str, str]]) -> None:
    """Whole messages; a prompt follows, so the last is not the user's."""
    for turn in turns:
        if turn.keys() != {"role", "content"} or turn["role"] not in ROLES:
            raise UserError(f"{option}: {turn} must have a role ({', '.join(ROLES)}) and content")
    if turns and turns[-1]["role"] == "user":
        raise UserError(f"{option}: the last message is the user's; add its answer")
