"""Stage reward_model: learns from K-wise rankings.

1. read rankings and render them  2. hold some prompts out  3. train: a prompt, its K completions
and all rankings of them are one batch element, of one forward pass  4. measure validation accuracy
5. shift the bias so that demonstrations average 0  6. save

Writes: model/ with head.safetensors, metrics.jsonl, result.json. Source: InstructGPT, section 3.5
(equation 1) and C.2.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainingArguments

from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.artifacts import training_rankings
from rlhfkit.data.chat_template import CannotRender
from rlhfkit.data.text_format import TextFormat, load_text_format, plain_text
from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import as_forward_pass, unsharded
from rlhfkit.errors import UserError
from rlhfkit.intervals import ratio_interval
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import by_micro_batch
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.rl.losses import RankingLoss, kwise_ranking_loss
from rlhfkit.storage.catalogue import RESULT_FILE
from rlhfkit.storage.run_dir import write_json
from rlhfkit.trainers.resumable import Resumable
from rlhfkit.trainers.trainer import ShardedStepMixin, train, training_arguments
from rlhfkit.types import Demonstration, Ranking


@dataclass(frozen=True)
class Element:
    """One batch element: a prompt with its K completions as tokens, and every ranking of them."""

    prompt: list[int]
    completions: list[list[int]]
    rankings: list[list[int]]
    """The K ranks that each labeler gave."""


def run(context: Context) -> None:
    """Train the reward model."""
    config = context.config.stage.reward_model
    text = load_text_format(context)
    training, held_out = _split(context, _read(context))
    arguments = training_arguments(
        context,
        config,
        TrainingArguments,
        remove_unused_columns=False,
        label_names=["elements"],
    )
    start = config.start or context.model_of("sft") or context.config.model.path
    model = context.build("loader").scalar_model(start, trainable=True)
    if config.gradient_checkpointing:
        model.language_model.checkpoint_activations()
    trainer = RankingTrainer(
        model,
        args=arguments,
        train_dataset=_elements(context, text, training),
        data_collator=_collate,
    )
    train(context, trainer)
    rows, size = _elements(context, text, held_out), config.per_device_train_batch_size
    with unsharded(trainer.model):
        result = {
            **accuracy(model, rows, size, context.config.seed),
            **_normalise(context, text, model),
        }
        write_json(context.stage_dir / RESULT_FILE, result)
        model.save(context.stage_dir / "model")


class RankingTrainer(ShardedStepMixin, Resumable):
    """transformers' Trainer with the K-wise loss; TRL's RewardTrainer knows pairs only."""

    stage = "reward_model"

    def __init__(self, scalar_model: ScalarModel, **options: Any) -> None:
        super().__init__(model=scalar_model.language_model.module, **options)
        self.scalar_model = scalar_model

    def items(self, inputs: Mapping[str, Any]) -> int:
        """The prompts."""
        return len(inputs["elements"])

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: float | None = None,
    ) -> Tensor:
        """Mean over the prompts of the batch of the mean over each prompt's pairs."""
        own = self.accelerator.unwrap_model(model)
        elements = inputs["elements"]
        return as_forward_pass(
            own, lambda: ranking_loss(self.scalar_model, elements, num_items_in_batch)
        )


def ranking_loss(
    model: ScalarModel, elements: Sequence[Element], count: float | None = None
) -> Tensor:
    """Sum over elements of the mean over their rankings of the mean over each one's pairs, over
    `count`, by default the number of elements."""
    scores = score_elements(model, elements)
    losses = [
        torch.stack([item.loss for item in _by_ranking(*pair)]).mean()
        for pair in zip(scores, elements, strict=True)
    ]
    return torch.stack(losses).sum() / (count or len(elements))


def _by_ranking(rewards: Tensor, element: Element) -> list[RankingLoss]:
    return [
        kwise_ranking_loss(rewards, torch.tensor(ranks, device=rewards.device))
        for ranks in element.rankings
    ]


def score_elements(model: ScalarModel, elements: Sequence[Element]) -> Sequence[Tensor]:
    """A [K] tensor of scores per element, from one batch of all their completions."""
    prompts = [element.prompt for element in elements for _ in element.completions]
    completions = [ids for element in elements for ids in element.completions]
    scores = model.scores(model.language_model.batch(prompts, completions))
    return torch.split(scores, [len(element.completions) for element in elements])


@torch.no_grad()
def accuracy(
    model: ScalarModel, rows: Dataset | None, batch_size: int, seed: int = 0
) -> dict[str, Any]:
    """Share of the pairs, ties apart, whose better completion scores higher, with its 95 % interval
    over prompts: the pairs of a prompt are not independent."""
    if rows is None:
        return {"validation_accuracy": None, "validation_pairs": 0, "validation_prompts": 0}
    elements = _collate(list(rows))["elements"]
    size = AdaptiveBatchSize("validation", batch_size)
    own: list[tuple[list[int], int, int]] = []
    for part, scores in size.map(processes.local_shard(elements), partial(score_elements, model)):
        for element, rewards in zip(part, scores, strict=True):
            counted = _by_ranking(rewards, element)
            right = sum(int(item.correct) for item in counted)
            own.append((element.prompt, right, sum(int(item.pairs) for item in counted)))
    by_prompt: defaultdict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0])
    for prompt, right, of in processes.gather(own):
        by_prompt[tuple(prompt)][0] += right
        by_prompt[tuple(prompt)][1] += of
    counts = list(by_prompt.values())
    correct, pairs = ([row[place] for row in counts] for place in (0, 1))
    found = ratio_interval(correct, pairs, level=0.95, resamples=2000, seed=seed)
    return {
        "validation_accuracy": found.value,
        "validation_low": found.low,
        "validation_high": found.high,
        "validation_pairs": sum(pairs),
        "validation_prompts": found.count,
    }


def _read(context: Context) -> list[Ranking]:
    """The rankings of the label stage and of earlier rounds; those that tie everything say nothing
    and are dropped."""
    rankings = training_rankings(context)
    useful = [ranking for ranking in rankings if len(set(ranking.ranks)) > 1]
    drops = Counter({"all completions tied": len(rankings) - len(useful)})
    sources.report_drops(context, "rankings", +drops, len(rankings))
    if not useful:
        raise UserError("stage reward_model: every ranking ties all its completions")
    return useful


def held_out_rankings(context: Context) -> list[Ranking]:
    """The rankings that a reward model of this run has not learned from."""
    return _split(context, _read(context))[1]


def _split(context: Context, rankings: list[Ranking]) -> tuple[list[Ranking], list[Ranking]]:
    """By prompt, never by pair: the pairs of a prompt share it and would leak. The held-out prompts
    are those of the stage prepare, or drawn at random."""
    prompts = sorted({plain_text(ranking.prompt) for ranking in rankings})
    random.Random(context.config.seed).shuffle(prompts)
    count = int(len(prompts) * context.config.stage.reward_model.validation_fraction)
    held_out = sources.validation_texts(context).intersection(prompts) or set(prompts[:count])
    inside = [ranking for ranking in rankings if plain_text(ranking.prompt) not in held_out]
    outside = [ranking for ranking in rankings if plain_text(ranking.prompt) in held_out]
    return inside, outside


def _elements(context: Context, text: TextFormat, rankings: list[Ranking]) -> Dataset | None:
    """Rankings as tokens, those of the same completions together; those whose prompt is too long
    are dropped and counted."""
    limit = context.config.model.max_prompt_length
    rows: dict[str, dict[str, Any]] = {}
    too_long = 0
    for ranking in sources.renderable(context, text, rankings):
        prompt = text.prompt_ids(ranking.prompt)
        if len(prompt) > limit:
            too_long += 1
            continue
        completions = _completion_ids(context, text, ranking)
        row = rows.setdefault(repr((prompt, completions)), _row(prompt, completions))
        row["rankings"].append(ranking.ranks)
    drops = Counter({f"prompt longer than {limit} tokens": too_long})
    sources.report_drops(context, "rankings", +drops, len(rankings))
    return Dataset.from_list(list(rows.values())) if rows else None


def _completion_ids(context: Context, text: TextFormat, ranking: Ranking) -> list[list[int]]:
    limit = context.config.stage.reward_model.max_completion_length
    return [
        text.completion_ids(completion, finished)[:limit]
        for completion, finished in zip(ranking.completions, ranking.finished, strict=True)
    ]


def _row(prompt: list[int], completions: list[list[int]]) -> dict[str, Any]:
    """`length` is what transformers' group_by_length looks at."""
    length = len(prompt) + sum(map(len, completions))
    return {"prompt": prompt, "completions": completions, "rankings": [], "length": length}


def _collate(rows: list[dict[str, Any]]) -> dict[str, list[Element]]:
    elements = [Element(row["prompt"], row["completions"], row["rankings"]) for row in rows]
    return {"elements": elements}


@torch.no_grad()
def _normalise(context: Context, text: TextFormat, model: ScalarModel) -> dict[str, Any]:
    """Shift the bias so that demonstrations average 0 (section C.2); gives the shift, and how many
    demonstrations it is taken from."""
    config = context.config.stage.reward_model
    found = sources.demonstrations(context) if config.normalise_on != 0 else []
    random.Random(context.config.seed).shuffle(found)  # files are often sorted by use case
    rows = list(islice(_rendered(context, text, found), config.normalise_on))
    if not rows:
        return {"shift": 0.0, "shift_demonstrations": 0}
    prompts, completions = zip(*rows, strict=True)
    scores = by_micro_batch(
        model.language_model,
        list(prompts),
        list(completions),
        AdaptiveBatchSize("normalisation", config.per_device_train_batch_size),
        model.scores,
    )
    shift = -float(torch.stack(scores).mean())
    model.shift(shift)
    return {"shift": shift, "shift_demonstrations": len(rows)}


def _rendered(
    context: Context, text: TextFormat, demonstrations: list[Demonstration]
) -> Iterator[tuple[list[int], list[int]]]:
    """Demonstrations as tokens, of the lengths that rankings have, without those that the chat
    template refuses."""
    most = context.config.stage.reward_model.max_completion_length
    for demonstration in demonstrations:
        with suppress(CannotRender):
            prompt, completion = text.demonstration_ids(demonstration)
            if len(prompt) <= context.config.model.max_prompt_length:
                yield prompt, completion[:most]
