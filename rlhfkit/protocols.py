"""What the components of each group must be able to do; types only, no base classes to inherit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rlhfkit.types import Ends, Evaluation, Judgement, Messages, PolicySamples, Response, Split

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from rlhfkit.context import Context
    from rlhfkit.models.language_model import LanguageModel
    from rlhfkit.models.roles import RoleModels
    from rlhfkit.models.scalar_model import ScalarModel


@runtime_checkable
class DataSource(Protocol):
    """Data of one or more splits, in TRL's column names."""

    def splits(self) -> Sequence[Split]:
        """The splits this source can load."""

    def load(self, split: Split) -> "Dataset | Sequence[Mapping[str, Any]]":
        """The rows of a split, as a data set or as dictionaries.

        demonstrations: `prompt` (text or messages) and `completion`, or `messages` whose last
        message is the assistant's. prompts, eval_prompts: `prompt`. pretraining: `text`.
        rankings: `prompt`, `completions` and `ranks` (1 is best, equal ranks are ties), or a pair
        as `prompt`, `chosen` and `rejected`. Published forms (`rlhfkit.data.schemas`) will do, too.

        Raises `rlhfkit.errors.UserError` naming the file for anything wrong with it.
        """

    def fingerprint(self, split: Split) -> str:
        """A digest that changes when the rows would; cheap, so that a finished run is skipped."""


class ModelLoader(Protocol):
    """Loads every model of a run, because the loader decides what they share.

    A loader that keeps frozen adapters beside their base, as on quantised weights, says so with
    `merge_frozen = False`: the plan reads it.
    """

    def language_model(self, path: str | None, *, trainable: bool = False) -> "LanguageModel":
        """A causal language model: of `path` (what `LanguageModel.save` wrote, a directory or a
        hub name), or the run's base model for None."""

    def scalar_model(self, path: str, *, trainable: bool = False) -> "ScalarModel":
        """A model with one number per token: what `ScalarModel.save` wrote, or a sequence
        classifier with one label; a language model gets a fresh head."""

    def roles(self, sft: str | None, reward_model: str | None) -> "RoleModels":
        """The four roles of RLHF in one call. The policy starts as a copy of `sft` (None: the base
        model), which is also the frozen reference; the value model starts as a copy of the reward
        model, head included, or of `sft` with a fresh head when there is none."""


class Sampler(Protocol):
    """Draws completions from a model."""

    temperature: float
    """Divides the logits; log-probabilities everywhere in RL are taken at it."""

    def sample(
        self,
        model: "LanguageModel",
        prompts: Sequence[Sequence[int]],
        ends: Ends,
        generator: "torch.Generator",
    ) -> list[Response]:
        """One response per prompt (token ids), in the order of the prompts: drawn up to the first
        of `ends`, which it includes, with the log-probability of every sampled token. Reproducible
        for a generator's state."""


class Labeler(Protocol):
    """Ranks the completions of prompts.

    One that ranks by a number may have `score(prompts, completions)` too, which gives it for each
    prompt's one completion without mistakes: `reward=gold` asks for it.
    """

    def rank(
        self, prompts: Sequence[Messages], completions: Sequence[Sequence[str]]
    ) -> list[list[Judgement]]:
        """For every prompt a judgement by each labeler of the pool, in the pool's order. The same
        question gets the same answer."""


class RewardFunction(Protocol):
    """TRL's signature, so that functions written for TRL's GRPO work here."""

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        """A score per completion, higher is better. `prompts` are message lists, `completions`
        texts; columns are `prompt_ids`, `completion_ids`, `finished` and, for models that
        share lower layers with the policy, `lower`."""


class PolicyOptimizer(Protocol):
    """Improves the policy and writes it.

    One that learns from rankings alone, without prompts and rewards, says so with `offline = True`:
    the checks before a run read it.
    """

    needs: Sequence[str]
    """Names of the stages whose results it reads: `("sft", "reward_model")` for PPO, `("sft",
    "label")` for DPO."""

    def train(self, context: "Context") -> None:
        """Train and save the policy under `context.stage_dir / "model"`."""


class KLController(Protocol):
    """Decides the coefficient of the KL penalty."""

    coef: float
    """beta: what a nat of KL costs in reward."""

    def update(self, kl: float, num_episodes: int) -> None:
        """After each batch. kl: mean over its episodes of the summed per-token KL, in nats."""

    def state_dict(self) -> dict[str, float]:
        """What a resumed run must know."""

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take up a saved state."""


class Evaluator(Protocol):
    """Turns the policies' samples into numbers."""

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """Metrics by policy and name, each with its interval, and the rows they are taken over.
        `samples` always has `sft`."""
