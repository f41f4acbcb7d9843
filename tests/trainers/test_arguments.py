"""Options of SFT and reward training as transformers' trainers get them."""

import torch
from transformers import Trainer, TrainingArguments

from rlhfkit.trainers.trainer import training_arguments


def test_adamw_of_a_paper(make_context):
    """Huang et al. 2024: PyTorch's AdamW with an epsilon of its own, and no clipping."""
    options = ("adam_epsilon=1e-5", "weight_decay=0.01", "adam_beta2=0.999", "max_grad_norm=0")
    context = make_context(*(f"stage.sft.{option}" for option in options), stage="sft")
    arguments = training_arguments(context, context.config.stage.sft, TrainingArguments)
    trainer = Trainer(torch.nn.Linear(2, 2), arguments)
    trainer.create_optimizer()
    groups = trainer.optimizer.param_groups
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert [(group["eps"], group["betas"]) for group in groups] == [(1e-5, (0.9, 0.999))] * 2
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]  # weights, biases
    assert arguments.max_grad_norm == 0


def test_adamw_by_default(make_context):
    context = make_context(stage="reward_model")
    arguments = training_arguments(context, context.config.stage.reward_model, TrainingArguments)
    assert (arguments.adam_epsilon, arguments.weight_decay) == (1e-8, 0.0)
