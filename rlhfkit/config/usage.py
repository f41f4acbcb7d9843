"""Options of the commands that use a run's models: chat, generate and score. No stage depends on
them."""

from dataclasses import dataclass, field

from rlhfkit.validators import require_above_zero, require_not_negative


@dataclass
class ChatConfig:
    """`rlhfkit chat RUN`: the run's policies side by side, in the terminal or in the browser."""

    browser: bool = False
    """Talk on a page in the browser of this computer."""

    port: int = 8766
    """Port of that page, which only this computer reaches."""

    policies: list[str] = field(default_factory=list)
    """Who answers, as in base,sft,rl, or directories; empty is all that the run has. Each is a
    model in memory."""

    system: str | None = None
    """A system prompt; /system changes it."""

    temperature: float | None = None
    """Temperature of the answers, 0 for the likeliest tokens; null is the sampler's."""

    max_tokens: int | None = None
    """Longest answer in tokens; null is the sampler's response_length."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_not_negative(name, self, "temperature")
        require_above_zero(name, self, "max_tokens", "port")


@dataclass
class GenerateConfig:
    """`rlhfkit generate RUN --prompts FILE`: answers to a file of prompts."""

    prompts: str | None = None
    """A JSONL file with `prompt` (text or messages) or `messages` in its rows, or a text file with
    a prompt a line."""

    to: str | None = None
    """The JSONL file to write, a row an answer; one that is there is continued. Null is
    FILE.POLICY.jsonl beside the prompts."""

    policy: str = "rl"
    """Who answers: base, sft, rl_sft, rl, a directory or a hub name."""

    num_completions: int = 1
    """Answers to each prompt, a row each."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "num_completions")


@dataclass
class ScoreConfig:
    """`rlhfkit score RUN --file FILE`: the reward model's number for each answer of a file."""

    file: str | None = None
    """A JSONL file with `prompt` and `completion`, `prompt` and `completions`, or `messages` that
    end with the assistant's."""

    to: str | None = None
    """The JSONL file to write: the rows with `score` or `scores`. Null is FILE.scored.jsonl beside
    it."""

    batch_size: int = 16
    """Completions scored at once."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_above_zero(name, self, "batch_size")
