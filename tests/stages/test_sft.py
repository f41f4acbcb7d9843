"""The SFT stage's loss, masks and mix."""

import json
from functools import partial

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

from rlhfkit.data import sources
from rlhfkit.data.text_format import load_text_format
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.stages.sft import CompletionTrainer, _pretraining, _render, completion_loss
from rlhfkit.testing import tiny

ROWS = [
    {"input_ids": [5, 6, 7, 8, 2], "completion_mask": [0, 0, 1, 1, 1]},
    {"input_ids": [9, 10, 2], "completion_mask": [0, 1, 1]},
]


def trainer(kind, tmp_path):
    tiny.tokenizer(tmp_path, chat=True)
    tokenizer = tiny.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    arguments = SFTConfig(
        str(tmp_path),
        completion_only_loss=True,
        max_length=None,
        use_cpu=True,
        bf16=False,  # as the stage has it; TRL's default would last for the whole process
        report_to="none",
    )
    model = LlamaForCausalLM(tiny.config())
    dataset = Dataset.from_list(ROWS)
    if kind is CompletionTrainer:
        model = LanguageModel(model)
    return kind(model, args=arguments, train_dataset=dataset, processing_class=tokenizer)


def test_loss_is_trls_and_the_mean_over_completion_tokens(tmp_path):
    ours, theirs = trainer(CompletionTrainer, tmp_path), trainer(SFTTrainer, tmp_path)
    batch = next(iter(ours.get_train_dataloader()))
    loss = ours.compute_loss(ours.model, dict(batch))
    expected = theirs.compute_loss(theirs.model, dict(batch))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)

    terms = []
    for row in ROWS:
        logits = ours.model(torch.tensor([row["input_ids"]])).logits[0]
        logprobs = torch.log_softmax(logits, -1)
        for position, wanted in enumerate(row["completion_mask"]):
            if wanted:
                terms.append(-logprobs[position - 1, row["input_ids"][position]])
    assert len(terms) == 5
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-6, atol=1e-6)

    loss.backward()
    expected.backward()
    for mine, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=2e-6)


def test_padding_changes_no_gradient():
    model = LanguageModel(LlamaForCausalLM(tiny.config()))
    ids = torch.tensor([row["input_ids"] for row in ROWS[:1]])
    mask = torch.tensor([row["completion_mask"] for row in ROWS[:1]])
    gradients = []
    for padding in (0, 1, 7):
        fill = partial(torch.nn.functional.pad, pad=(0, padding))
        inputs = {
            "input_ids": fill(ids, value=1),
            "attention_mask": fill(torch.ones_like(ids)),
            "labels": fill(torch.where(mask == 1, ids, -100), value=-100),
        }
        loss = completion_loss(model, inputs)
        gradients.append(torch.autograd.grad(loss, model.trainable_parameters()))
    for other in gradients[1:]:
        for one, plain in zip(other, gradients[0], strict=True):
            torch.testing.assert_close(one, plain, rtol=1e-5, atol=1e-5 * float(plain.abs().max()))


def test_completion_mask_covers_completion_and_eos(make_context, tiny_overrides):
    context = make_context(*tiny_overrides, stage="sft")
    text = load_text_format(context)
    demonstrations = sources.demonstrations(context)
    row = _render(context, context.config.stage.sft, text, demonstrations)[0].tokens
    completion = text.completion_ids("I like it fine")
    assert completion[-1] == text.ends.taught
    start = len(row["input_ids"]) - len(completion)
    assert row["input_ids"][start:] == completion
    assert row["completion_mask"] == [0] * start + [1] * len(completion)


ANSWER = {"input_ids": [5, 6, 7, 8, 2], "completion_mask": [0, 0, 1, 1, 1]}


@pytest.mark.parametrize(("share", "texts"), [(0.0, 0), (0.1, 2), (0.5, 18)])
def test_pretraining_share(make_context, tiny_overrides, share, texts):
    context = make_context(*tiny_overrides, f"stage.sft.pretraining_fraction={share}", stage="sft")
    text = load_text_format(context)
    rows = _pretraining(context, context.config.stage.sft, text, [ANSWER] * 18)
    assert len(rows) == texts
    assert all(row["completion_mask"] == [1] * len(row["input_ids"]) for row in rows)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_pretraining_share_of_the_tokens(make_context, tiny_overrides, share):
    """Of 18 answers of 3 tokens the loss is taken on 54: beside 6 or 54 of texts, give or take the
    last one."""
    options = [
        f"stage.sft.pretraining_fraction={share}",
        "stage.sft.pretraining_fraction_of=tokens",
    ]
    context = make_context(*tiny_overrides, *options, stage="sft")
    rows = _pretraining(context, context.config.stage.sft, load_text_format(context), [ANSWER] * 18)
    lengths = [len(row["input_ids"]) - 1 for row in rows]
    assert sum(lengths[:-1]) < 54 * share / (1 - share) <= sum(lengths)
    assert all(row["completion_mask"] == [1] * len(row["input_ids"]) for row in rows)


@pytest.mark.parametrize("loader", ["lora", "qlora"])
def test_adapters_are_trained_in_float32(run_tiny, loader):
    runner = run_tiny(f"loader={loader}", "stages=[sft]")
    stored = load_file(runner.run_dir.stage_dir("sft") / "model" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}


def test_an_adapter_records_its_modules_in_one_order(run_tiny):
    """PEFT has them in a set, whose order is another one in every process."""
    folder = run_tiny("stages=[sft]").run_dir.stage_dir("sft") / "model"
    config = json.loads((folder / "adapter_config.json").read_text())
    assert len(config["target_modules"]) > 5
    assert config["target_modules"] == sorted(config["target_modules"])
