"""The options that evaluators share. No torch here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlhfkit.errors import UserError
from rlhfkit.validators import require_above_zero, require_not_negative
from rlhfkit_plugins.labelers import is_file


def as_list(value: Any) -> list[Any]:
    """The parts of an option that takes several, or the one."""
    return value if isinstance(value, list) else [value]


@dataclass
class IntervalConfig:
    """How the bootstrap intervals of the numbers are made."""

    confidence_level: float = 0.95
    """Confidence level of the intervals."""

    resamples: int = 10_000
    """Bootstrap resamples over prompts."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        if not 0 < self.confidence_level < 1:
            raise UserError(
                f"{name}.confidence_level={self.confidence_level}: must be above 0 and below 1"
            )
        require_above_zero(name, self, "resamples")


@dataclass
class BenchmarkConfig(IntervalConfig):
    """What evaluators ask for that measure every policy on the same items."""

    limit: int | None = None
    """How many items at most, the first ones; null takes all."""

    resamples: int = 2_000

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "limit")

    @property
    def read_files(self) -> list[str]:
        """The files among the options: what was measured on other items is not this measure."""
        values = [item for value in vars(self).values() for item in as_list(value)]
        return [item for item in values if isinstance(item, str) and Path(item).is_file()]


@dataclass
class TruthfulQAConfig(BenchmarkConfig):
    """TruthfulQA (Lin et al. 2022): how likely true answers are beside false ones (MC1, MC2), and
    generated answers for a judge, with the question-answer primer and with an instruction before
    it (InstructGPT, table 14)."""

    path: str | None = None
    """TruthfulQA.csv of the data set's authors; null does not run it."""

    generate: bool = True
    """Store each policy's own answers, greedy and sampled, in the rows, for a judge."""


@dataclass
class BiasConfig(BenchmarkConfig):
    """Entropy, in bits, of the choice between two sentences that differ in whom they are about, as
    in InstructGPT, table 14: 1 prefers neither, 0 is sure. CrowS-Pairs (Nangia et al. 2020) and
    Winogender (Rudinger et al. 2018)."""

    crows_pairs: str | None = None
    """crows_pairs_anonymized.csv of the data set's authors; null does not run it."""

    winogender: str | None = None
    """all_sentences.tsv of the data set's authors; null does not run it."""


@dataclass
class ToxicityConfig(BenchmarkConfig):
    """How toxic continuations are, by a classifier, when asked plainly, for respect and for bias
    (InstructGPT, table 14; Gehman et al. 2020)."""

    path: str | None = None
    """A file with a column `prompt`, of texts or of RealToxicityPrompts' objects; null does not run
    it."""

    classifier: str | None = None
    """A sequence classifier by directory or hub name, or `hatesonar` (extra `toxicity`); null does
    not run it."""

    labels: list[str] = field(default_factory=list)
    """Which of the classifier's labels are toxic, their probabilities added up; none are needed
    where it has one label, or one called toxic."""

    batch_size: int = 16
    """Texts classified together."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "batch_size")


@dataclass
class InstructionsConfig(BenchmarkConfig):
    """Whether answers keep constraints that a program can check: length, format, words, case,
    language, in the form of IFEval (Zhou et al. 2023)."""

    path: str | None = None
    """A file with the columns `prompt`, `instruction_id_list` and `kwargs`, as of IFEval; null does
    not run it."""


@dataclass
class RatingsConfig:
    """Each answer alone, by the model that `labeler=model_judge` or `labeler=local_judge` names:
    overall ratings from 1 to 7, and the share of answers with each flag of InstructGPT's table 3. A
    question for every answer of every policy."""

    prompts: list[str] = field(default_factory=lambda: ["rating"])
    """How the model is asked, a judge each: `rating`, or paths of YAML files of your own."""

    @property
    def read_files(self) -> list[str]:
        """The prompts of the user's own."""
        return [prompt for prompt in self.prompts if is_file(prompt)]


@dataclass
class LmEvalConfig(BenchmarkConfig):
    """Public benchmarks through lm-evaluation-harness (extra `lm-eval`), asked of the run's own
    models: HellaSwag, RTE, DROP, GSM8K and whatever else it knows (InstructGPT, table 14)."""

    tasks: list[str] = field(default_factory=list)
    """Names of the harness's tasks, or YAML files of your own, without code in them; none are not
    run. Data of named tasks comes from the hub."""

    num_fewshot: int | None = None
    """Examples before each item; null is each task's own."""

    apply_chat_template: bool = False
    """Ask as the user's messages of the model's chat template; else as plain text."""

    system_instruction: str | None = None
    """A system message or first text before every item."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_not_negative(name, self, "num_fewshot")


@dataclass
class RewardModelConfig(IntervalConfig):
    """How good the reward model is: accuracy on rankings it did not learn from, calibration, the
    labelers' own agreement, RewardBench 2, and how often answers that no person would prefer beat
    the policies' own."""

    reward: str = "reward_model"
    """Which of the run's rewards is measured, by its name."""

    bins: int = 10
    """Bins of the reliability table, of the probability that the higher score is preferred."""

    attacks: bool = True
    """Score empty, repeated, copied, exchanged, fixed, truncated and foreign answers."""

    rewardbench: str | None = None
    """RewardBench 2 as a parquet file (columns prompt, chosen, rejected, subset); null does not run
    it."""

    resamples: int = 2_000

    @property
    def read_files(self) -> list[str]:
        """RewardBench 2."""
        return [self.rewardbench] if self.rewardbench else []

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        super().check(name)
        require_above_zero(name, self, "bins")
