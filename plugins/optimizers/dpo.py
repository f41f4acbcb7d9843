"""optimizer=dpo: TRL's DPOTrainer on every ordered pair of the rankings; the reference is the SFT
model, as in PPO, and no reward model or sampling is needed.

With adapters TRL keeps a copy of the SFT adapter as the reference, on the policy's own base.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.artifacts import training_rankings
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.trainers.resumable import Resumable
from rlhfkit.trainers.trainer import train, trainer_arguments
from rlhfkit.types import Ranking
from rlhfkit_plugins.optimizers import DpoConfig


class DPO:
    """Offline: learns from the label stage's rankings alone."""

    needs = ("sft", "label")
    offline = True

    def __init__(self, config: DpoConfig, context: Context) -> None:
        self.config = config

    def train(self, context: Context) -> None:
        """Train on the pairs and save the policy."""
        config = self.config
        text = load_text_format(context)
        loader = context.build("loader")
        policy = loader.language_model(context.rl_start, trainable=True)
        own_base = policy.adapter is None
        reference = loader.language_model(context.rl_start).model if own_base else None
        arguments = trainer_arguments(
            context,
            DPOConfig,
            learning_rate=config.learning_rate,
            beta=config.beta,
            num_train_epochs=config.num_train_epochs,
            per_device_train_batch_size=config.per_device_train_batch_size,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            max_length=config.max_length,
        )
        with unrounded(policy):
            trainer = _Trainer(
                model=policy.model,
                ref_model=reference,
                args=arguments,
                train_dataset=self._pairs(context, text),
                processing_class=text.tokenizer,
            )
        train(context, trainer)
        policy.save(context.stage_dir / "model")

    def _pairs(self, context: Context, text: TextFormat) -> Dataset:
        """The ordered pairs as TRL tokenises them, but with the tokens of every other stage."""
        rows, drops = list[dict[str, list[int]]](), Counter[str]()
        stored = training_rankings(context)
        rankings = sources.renderable(context, text, stored)
        for ranking in rankings:
            prompt = text.prompt_ids(ranking.prompt)
            if len(set(ranking.ranks)) == 1:
                drops["all completions tied"] += 1
            elif len(prompt) >= self.config.max_length:
                drops["prompt fills optimizer.max_length"] += 1
            else:
                rows += _ordered(prompt, text, ranking)
        sources.report_drops(context, "rankings", drops, len(rankings))
        if not rows:
            raise UserError(f"optimizer=dpo: no ranking is left, {' and '.join(drops)}")
        return Dataset.from_list(rows)


def _ordered(prompt: list[int], text: TextFormat, ranking: Ranking) -> list[dict[str, list[int]]]:
    """A row for every two completions of different ranks."""
    flags = zip(ranking.completions, ranking.finished, strict=True)
    ids = [text.completion_ids(completion, finished) for completion, finished in flags]
    pairs = combinations(range(len(ids)), 2)
    ordered = [sorted(pair, key=ranking.ranks.__getitem__) for pair in pairs]
    return [
        {"prompt_ids": prompt, "chosen_ids": ids[better], "rejected_ids": ids[worse]}
        for better, worse in ordered
        if ranking.ranks[better] < ranking.ranks[worse]
    ]


@contextmanager
def unrounded(policy: LanguageModel) -> Iterator[None]:
    """Around the making of a trainer: on a 4-bit base TRL rounds the trained adapter to bfloat16,
    where updates of a usual learning rate are lost, but not its copy, the reference."""
    weights = [(parameter, parameter.data) for parameter in policy.trainable_parameters()]
    yield
    for parameter, values in weights:
        parameter.data = values


class _Trainer(Resumable, DPOTrainer):  # type: ignore[misc]
    """TRL's, going on from checkpoints; its pairs are token ids."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset
