"""Stage sft: supervised fine-tuning on demonstrations, with TRL's SFTTrainer.

1. read demonstrations and render them  2. hold some out  3. mix pretraining texts in
4. train on completions only  5. save the model, of the epoch that `select_by` chooses

Writes: model/, metrics.jsonl. Source: InstructGPT, sections 3.5 and C.1.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import SequentialSampler
from trl import SFTConfig, SFTTrainer

from rlhfkit.config.stages import SftConfig
from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.chat_template import CannotRender
from rlhfkit.data.messages import Unusable
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.distributed.fsdp import as_forward_pass
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.sampling import check_sampling
from rlhfkit.models.shared_prompt import right_padded_mask
from rlhfkit.stages.best_epoch import best_epoch
from rlhfkit.trainers.resumable import Resumable
from rlhfkit.trainers.trainer import ShardedStepMixin, train, training_arguments
from rlhfkit.types import Demonstration, Messages

Tokens = dict[str, list[int]]
"""`input_ids`, and `completion_mask` with 1 where the loss is taken."""


class _Row(NamedTuple):
    """A demonstration with its tokens."""

    prompt: Messages
    tokens: Tokens


def run(context: Context) -> None:
    """Train the SFT model."""
    train_sft(context, context.config.stage.sft)


def train_sft(context: Context, config: SftConfig) -> None:
    """Train a model with these options, and save that of the chosen epoch."""
    text = load_text_format(context)
    demonstrations, validation = _split(context, config, text)
    training = [row.tokens for row in demonstrations]
    training += _pretraining(context, config, text, training)

    arguments = training_arguments(
        context,
        config,
        SFTConfig,
        completion_only_loss=True,
        max_length=None,
        eval_strategy="epoch" if validation else "no",
    )
    model = context.build("loader").language_model(None, trainable=True)
    longest = max(len(row["input_ids"]) for row in training)
    model.require_positions(longest, f"stage {context.stage}: a demonstration")
    check_sampling(context, model)
    model.drop_residuals(config.residual_dropout)
    if config.gradient_checkpointing:
        model.checkpoint_activations()
    trainer = CompletionTrainer(
        model,
        args=arguments,
        train_dataset=Dataset.from_list(training),
        eval_dataset=Dataset.from_list([row.tokens for row in validation]) if validation else None,
        processing_class=text.tokenizer,
    )
    trainer.stage = context.stage
    for parameter in model.trainable_parameters():
        parameter.data = parameter.data.float()  # TRL's bfloat16 on 4-bit bases would round steps
    best = best_epoch(context, config, text, model, [row.prompt for row in validation])
    if best is not None:
        trainer.add_callback(best)
    train(context, trainer, best)
    if best is None:
        model.save(context.stage_dir / "model")


class CompletionTrainer(ShardedStepMixin, Resumable, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer with this project's chunked log-probabilities; the loss is the same."""

    stage = "sft"

    def __init__(self, language_model: LanguageModel, **options: Any) -> None:
        super().__init__(model=language_model.model, **options)
        self.language_model = language_model

    def items(self, inputs: Mapping[str, Any]) -> Tensor:
        """The labelled tokens."""
        found: Tensor = (inputs["labels"][:, 1:] != -100).sum()
        return found

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Mean negative log-likelihood of the labelled tokens."""
        loss = as_forward_pass(
            self.accelerator.unwrap_model(model),
            lambda: completion_loss(self.language_model, inputs, num_items_in_batch),
        )
        return (loss, None) if return_outputs else loss

    def _get_eval_sampler(self, eval_dataset: Dataset) -> SequentialSampler:
        """The same batches at every evaluation, which transformers would draw anew."""
        return SequentialSampler(eval_dataset)

    @torch.no_grad()
    def prediction_step(
        self,
        model: Any,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, None, None]:
        """The validation loss, of which nothing else is asked."""
        inputs = self._prepare_inputs(inputs)
        count = self.items(inputs)
        loss = self.in_parts(
            inputs,
            lambda part, count=count: self.compute_loss(model, part, num_items_in_batch=count),
        )
        self.gather_function = _everybodys  # the trainer asks next
        return loss, None, None


def _everybodys(loss: Tensor) -> Tensor:
    """A loss that is that of the whole batch in every process."""
    return loss


def completion_loss(
    model: LanguageModel, inputs: Mapping[str, Tensor], count: Tensor | None = None
) -> Tensor:
    """Negative log-likelihood of the labelled tokens over `count`, by default their number.

    inputs: `input_ids`, `attention_mask` and `labels` [B, L], labels -100 where no loss is taken.
    """
    labels = inputs["labels"][:, 1:]
    wanted = labels != -100
    mask = right_padded_mask(inputs["attention_mask"], model.body)
    hidden = model.hidden_states(inputs["input_ids"], mask)
    logprobs, _ = model.token_logprobs(hidden[:, :-1][wanted], labels[wanted])
    return -logprobs.sum() / torch.as_tensor(wanted.sum() if count is None else count).clamp(min=1)


def _split(context: Context, config: SftConfig, text: TextFormat) -> tuple[list[_Row], list[_Row]]:
    """Demonstrations to train and to validate on: as the stage prepare split them, or at random."""
    demonstrations = sources.demonstrations(context)
    if not demonstrations:
        raise UserError(
            f"stage {context.stage} needs demonstrations: give data.<source>.demonstrations"
        )
    rows = _render(context, config, text, demonstrations)
    random.Random(context.config.seed).shuffle(rows)
    prepared = sources.validation_demonstrations(context)
    if prepared:
        return rows, _render(context, config, text, prepared)
    held_out = int(len(rows) * config.validation_fraction)
    return rows[held_out:], rows[:held_out]


def _render(
    context: Context, config: SftConfig, text: TextFormat, demonstrations: list[Demonstration]
) -> list[_Row]:
    """Demonstrations as tokens; those too long are dropped and counted."""
    kept, drops = [], Counter[str]()
    for demonstration in demonstrations:
        try:
            tokens = _tokens(context, config, text, demonstration)
            kept.append(_Row(demonstration.prompt, tokens))
        except Unusable as error:
            drops[str(error)] += 1
    sources.report_drops(context, "demonstrations", drops, len(demonstrations))
    if not kept:
        reasons = ", ".join(f"{count} ({reason})" for reason, count in drops.most_common())
        raise UserError(
            f"stage {context.stage}: no demonstration can be used: {reasons} of "
            f"{len(demonstrations)}"
        )
    return kept


def _tokens(
    context: Context, config: SftConfig, text: TextFormat, demonstration: Demonstration
) -> Tokens:
    try:
        prompt, completion = text.demonstration_ids(demonstration)
    except CannotRender as error:
        raise Unusable(error.reason) from error
    if len(prompt) > context.config.model.max_prompt_length:
        raise Unusable("longer than model.max_prompt_length")
    if len(completion) > config.max_completion_length:
        raise Unusable(f"longer than stage.{context.stage}.max_completion_length")
    return {
        "input_ids": prompt + completion,
        "completion_mask": [0] * len(prompt) + [1] * len(completion),
    }


def _pretraining(
    context: Context, config: SftConfig, text: TextFormat, demonstrations: Sequence[Tokens]
) -> list[Tokens]:
    """Random pretraining texts that make up the wanted share of the mix (section C.3)."""
    ratio = config.pretraining_fraction / (1 - config.pretraining_fraction)
    wanted = round(len(demonstrations) * ratio)
    drawn = random.Random(context.config.seed)
    if ratio == 0 or (config.pretraining_fraction_of == "rows" and wanted == 0):
        return []
    texts = sources.pretraining_texts(context)

    def row(item: str) -> Tokens:
        ids = text.text_ids(item)[: config.pretraining_length]
        return {"input_ids": ids, "completion_mask": [1] * len(ids)}

    if config.pretraining_fraction_of == "rows":
        return [row(item) for item in drawn.choices(texts, k=wanted)]
    return _enough(map(row, _endless(drawn, texts)), ratio * sum(map(_labelled, demonstrations)))


def _endless(drawn: random.Random, texts: Sequence[str]) -> Iterator[str]:
    while True:
        yield drawn.choice(texts)


def _enough(rows: Iterable[Tokens], tokens: float) -> list[Tokens]:
    """Rows until the loss is taken on so many tokens of them."""
    kept = []
    for row in rows:
        if tokens <= 0:
            break
        kept.append(row)
        tokens -= max(1, _labelled(row))  # of texts of a single token there is an end, too
    return kept


def _labelled(row: Tokens) -> int:
    """The tokens that the loss is taken on: nothing stands before the first."""
    return sum(row["completion_mask"][1:])
