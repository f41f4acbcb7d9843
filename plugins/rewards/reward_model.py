"""reward=reward_model: the run's reward model, another run's, or a sequence classifier."""

from pathlib import Path
from typing import Any, cast

import torch

from rlhfkit.context import Context
from rlhfkit.data.text_format import TOKENIZER_FILE, TextFormat, load_text_format
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import by_micro_batch
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.models.scalar_model import HEAD_FILE, ScalarModel
from rlhfkit.protocols import RewardFunction
from rlhfkit.types import Messages
from rlhfkit_plugins.rewards import RewardModelRewardConfig
from rlhfkit_plugins.rewards.classifier import load_classifier


def build(config: RewardModelRewardConfig, context: Context) -> RewardFunction:
    """The reward function of these options: of `path`, of the models in memory, or of the run."""
    if config.path is not None:
        trust = config.trust_remote_code
        return load_reward(context, config.path, config.batch_size, trust)
    if context.roles is not None and context.roles.reward is not None:
        shared = IdsReward(context.roles.reward, config.batch_size)
        if context.dry_run is not None:  # nothing is read, and a plan need not have a tokenizer
            return cast(RewardFunction, shared)
        return RunReward(shared, load_text_format(context), shares_lower=True)
    text = load_text_format(context)
    path = context.output_of("reward_model", "model")
    model = context.build("loader").scalar_model(str(path))
    return RunReward(IdsReward(model, config.batch_size), text)


def load_reward(
    context: Context, path: str, batch_size: int, trust_remote_code: bool = False
) -> RewardFunction:
    """The reward function of a directory or hub name, from texts alone: the model may have another
    tokenizer than the run's."""
    if not (Path(path) / HEAD_FILE).exists():
        return load_classifier(context, path, batch_size, trust_remote_code)
    model: ScalarModel = context.build("loader").scalar_model(path)
    return TextReward(IdsReward(model, batch_size), _text_format(context, path))


class IdsReward:
    """A scalar model's score at the last token of a completion."""

    def __init__(self, model: ScalarModel, batch_size: int) -> None:
        self._model, self._batch_size = model, AdaptiveBatchSize("reward model scores", batch_size)

    def score(
        self,
        prompts: list[list[int]],
        completions: list[list[int]],
        lower: LowerRows | None = None,
    ) -> list[float]:
        """A number per completion (token ids, at least one)."""
        model = self._model
        rows = by_micro_batch(
            model.language_model, prompts, completions, self._batch_size, model.scores, lower
        )
        return torch.stack(rows).tolist() if rows else []


class RunReward:
    """The run's own reward model. It reads what labelers read and what it was trained on: a
    completion's text as the run tokenises it. The tokens that were sampled may be others, as blanks
    before the end, or a word in other pieces than the tokenizer's."""

    def __init__(self, reward: IdsReward, text: TextFormat, *, shares_lower: bool = False) -> None:
        """shares_lower: whether the lower layers are those of the policy that is scored."""
        self._reward, self._text, self._shares_lower = reward, text, shares_lower

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: Any
    ) -> list[float]:
        """Reads the columns `prompt_ids` and `finished`; `lower`, which is of the tokens that were
        sampled, where these `completion_ids` are those of the text."""
        pairs = zip(completions, columns["finished"], strict=True)
        read = [self._text.completion_ids(*pair) for pair in pairs]
        prompt_ids, lower = columns["prompt_ids"], columns.get("lower")
        if lower is None or not self._shares_lower:
            return self._reward.score(prompt_ids, read)
        sampled = [ids == own for ids, own in zip(read, columns["completion_ids"], strict=True)]
        scores: dict[int, float] = {}
        for same in (True, False):
            rows = [row for row, is_same in enumerate(sampled) if is_same is same]
            if not rows:
                continue
            found = self._reward.score(
                [prompt_ids[row] for row in rows],
                [read[row] for row in rows],
                lower.select(rows) if same else None,
            )
            scores |= dict(zip(rows, found, strict=True))
        return [scores[row] for row in range(len(read))]


class TextReward:
    """A scalar model's score of texts, rendered for its own tokenizer."""

    def __init__(self, reward: IdsReward, text: TextFormat) -> None:
        self._reward, self._text = reward, text

    def __call__(
        self,
        prompts: list[Messages],
        completions: list[str],
        *,
        finished: list[bool] | None = None,
        **columns: object,
    ) -> list[float]:
        """finished: whether each completion ended by itself; None takes all as finished."""
        ended = [True] * len(completions) if finished is None else finished
        return self._reward.score(
            [self._text.prompt_ids(prompt) for prompt in prompts],
            [self._text.completion_ids(*pair) for pair in zip(completions, ended, strict=True)],
        )


def _text_format(context: Context, path: str) -> TextFormat:
    """The tokenizer beside the model, or the run's where there is none."""
    own = (Path(path) / TOKENIZER_FILE).exists()
    return load_text_format(context, path if own else None)
