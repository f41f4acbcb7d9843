"""SFT and reward model training when memory runs out: the same gradients, and one line."""

from functools import partial

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import LlamaForCausalLM, TrainingArguments
from trl import SFTConfig

from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.scalar_model import BodyAndHead, ScalarModel
from rlhfkit.stages.reward_model import RankingTrainer, _collate, accuracy
from rlhfkit.stages.sft import CompletionTrainer
from rlhfkit.testing import tiny
from tests.memory import limit_rows

LENGTHS = [(2, 3), (1, 2), (3, 1), (2, 2), (4, 3), (1, 1)]
SFT_ROWS = [
    {"input_ids": list(range(5, 5 + a + b)), "completion_mask": [0] * a + [1] * b}
    for a, b in LENGTHS
]
RANKINGS = [
    {
        "prompt": list(range(start, start + a)),
        "completions": [[7] * b, [8, 9], [10]],
        "rankings": [[1, 2, 3]],
    }
    for start, (a, b) in enumerate(LENGTHS, start=5)
]


def arguments(kind, tmp_path, **options):
    return kind(
        str(tmp_path), per_device_train_batch_size=3, gradient_accumulation_steps=2, max_steps=1,
        use_cpu=True, report_to="none", save_strategy="no", learning_rate=0.1, disable_tqdm=True,
        per_device_eval_batch_size=3, activation_checkpointing=False, optim="sgd",
        max_grad_norm=0.0, lr_scheduler_type="constant", bf16=False, **options,
    )  # fmt: skip


def sft(tmp_path):
    tiny.tokenizer(tmp_path, chat=True)
    rows = Dataset.from_list(SFT_ROWS)
    return CompletionTrainer(
        LanguageModel(LlamaForCausalLM(tiny.config())),
        args=arguments(SFTConfig, tmp_path, completion_only_loss=True, max_length=None),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tiny.PreTrainedTokenizerFast.from_pretrained(tmp_path),
    )


def reward_model(tmp_path, share_prompts=True):
    torch.manual_seed(4)
    body = LanguageModel(LlamaForCausalLM(tiny.config()), share_prompts=share_prompts)
    options = {"remove_unused_columns": False, "label_names": ["elements"]}
    return RankingTrainer(
        ScalarModel(body, nn.Linear(16, 1)),
        args=arguments(TrainingArguments, tmp_path, **options),
        train_dataset=Dataset.from_list(RANKINGS),
        data_collator=_collate,
    )


def body_of(trainer):
    model = trainer.model
    return model.body.model if isinstance(model, BodyAndHead) else model.model


KINDS = [(sft, 1), (reward_model, 1), (partial(reward_model, share_prompts=False), 3)]


@pytest.mark.parametrize(("make", "each"), KINDS)
def test_a_step_ends_at_the_same_parameters(make, each, tmp_path, capsys):
    """One step accumulated over two batches of three, when there is memory for one row: what the
    first batch left must not be lost."""
    whole, parts = make(tmp_path), make(tmp_path)
    before = [item.detach().clone() for item in whole.model.parameters()]
    seen = limit_rows(body_of(parts), each, after=1)
    whole.train()
    capsys.readouterr()
    parts.train()
    assert seen == [3 * each, 3 * each, each, each, each]
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    moved = [
        (one - old).abs().max() for one, old in zip(whole.model.parameters(), before, strict=True)
    ]
    assert max(moved) > 1e-2
    logged = [trainer.state.log_history[-1]["train_loss"] for trainer in (whole, parts)]
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)
    assert f"out of memory in {whole.stage} training with 3 rows" in capsys.readouterr().out


@pytest.mark.parametrize(("make", "each"), KINDS)
def test_one_row_that_does_not_fit_is_one_line(make, each, tmp_path):
    trainer = make(tmp_path)
    limit_rows(body_of(trainer), each - 1)
    option = f"stage.{trainer.stage}.gradient_checkpointing=true"
    with pytest.raises(UserError, match=f"out of memory in {trainer.stage} training .* {option}"):
        trainer.train()


def test_the_validation_loss_too(tmp_path):
    whole, parts = sft(tmp_path), sft(tmp_path)
    seen = limit_rows(body_of(parts), 1)
    expected = whole.evaluate()["eval_loss"]
    assert parts.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert max(seen) == 3


@pytest.mark.parametrize(("share_prompts", "each"), [(True, 1), (False, 3)])
def test_validation_accuracy_too(tmp_path, share_prompts, each):
    whole, parts = (reward_model(tmp_path, share_prompts) for _ in range(2))
    seen = limit_rows(body_of(parts), each)
    rows = Dataset.from_list(RANKINGS)
    expected = accuracy(whole.scalar_model, rows, 3)
    assert accuracy(parts.scalar_model, rows, 3) == expected
    assert max(seen) == 3 * each
