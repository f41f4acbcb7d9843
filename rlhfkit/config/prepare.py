"""The options of the stage prepare, under `stage.prepare`. No torch here."""

from dataclasses import dataclass, field

from rlhfkit.errors import UserError
from rlhfkit.validators import (
    require_above_zero,
    require_below,
    require_fractions,
    require_not_negative,
)


@dataclass
class LabelerShareConfig:
    """Share of the labelers' rows (`source` labeler) in the training part of each kind of data, the
    rest of it customers' (`source` customer). The surplus and rows of neither are left out; null
    takes all rows. The paper: 0.89 of the demonstrations, 0.2 of the rankings, 0 of the prompts
    for RL (section A.3)."""

    demonstrations: float | None = None
    """Labelers' share of the demonstrations; null takes all."""

    prompts: float | None = None
    """Labelers' share of the prompts; null takes all."""

    rankings: float | None = None
    """Labelers' share of the rankings; null takes all."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_fractions(name, self, "demonstrations", "prompts", "rankings")


@dataclass
class PrepareConfig:
    """Filters and splits of the data before anything is trained (InstructGPT, sections 3.2, A and
    C); every one is off unless it is set."""

    max_prompt_length: int | None = None
    """Longest prompt in tokens (the paper: 1000); rows with longer ones are dropped."""

    max_completion_length: int | None = None
    """Longest completion of demonstrations and rankings in tokens (the paper: 1000)."""

    dedup_prefix: int | None = None
    """Keep only the first of the prompts that begin with the same so many characters. Take more
    than the longest system prompt or task description that prompts have in common."""

    max_per_user: int | None = None
    """Most rows of one `user` in each kind of data (the paper: 200); needs rows with `user`."""

    validation_fraction: float = 0.0
    """Share of the users whose rows validate sft and reward_model, in place of those stages' own
    share of the rows. Where rows have no `user` it is a share of the prompts."""

    test_fraction: float = 0.0
    """Share of the users whose prompts are the held-out ones, in place of `eval_fraction`."""

    pii: list[str] = field(default_factory=list)
    """Kinds of personal data: EMAIL, PHONE, SSN, CREDIT_CARD, IP_ADDRESS, DATE, ZIP_CODE. Training
    rows that hold one are dropped. Patterns find them: names of people are not found."""

    labeler_share: LabelerShareConfig = field(default_factory=LabelerShareConfig)

    few_shot: int = 0
    """How many other demonstrations of its `instruction` stand before each demonstration that has
    one (section A.1: all of them), while they fit model.max_prompt_length."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "max_prompt_length", "max_completion_length")
        require_above_zero(name, self, "dedup_prefix", "max_per_user")
        require_not_negative(name, self, "few_shot")
        require_below(name, self, 1, "validation_fraction", "test_fraction")
        if self.validation_fraction + self.test_fraction >= 1:
            raise UserError(
                f"{name}.validation_fraction={self.validation_fraction} and "
                f"test_fraction={self.test_fraction}: their sum must be below 1"
            )
