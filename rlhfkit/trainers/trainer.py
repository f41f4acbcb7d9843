"""What the stages that use a transformers or TRL trainer share."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from functools import cached_property
from typing import Any, TypeVar

import torch
from accelerate.data_loader import BatchSamplerShard
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from rlhfkit.config.trainer import TrainingConfig
from rlhfkit.console import ProgressBar, progress_bar
from rlhfkit.context import Context
from rlhfkit.distributed import fsdp, processes
from rlhfkit.distributed.launch import wants_sharding
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.reporting import Reporter
from rlhfkit.trainers.nonfinite import NonFiniteCallback
from rlhfkit.trainers.optim import available_optim
from rlhfkit.trainers.resumable import Part, Resumable

A = TypeVar("A", bound=TrainingArguments)


def training_arguments(
    context: Context, config: TrainingConfig, kind: type[A], **options: Any
) -> A:
    """A trainer's arguments from a stage's options."""
    shared = {item.name: getattr(config, item.name) for item in fields(TrainingConfig)}
    shared["optim"] = available_optim(f"stage.{context.stage}.optim", config.optim, context.device)
    if shared.pop("group_by_length"):
        shared["train_sampling_strategy"] = "group_by_length"
    if floor := shared.pop("min_lr_rate"):
        shared["lr_scheduler_type"] = "cosine_with_min_lr"
        shared["lr_scheduler_kwargs"] = {"min_lr_rate": floor}
    del shared["gradient_checkpointing"]  # the stages' own: `rlhfkit.models.checkpointing`
    shared["activation_checkpointing"] = False  # the trainers' own, which TRL's have on by default
    # every process gets the batches of all together and takes its share: `ShardedStepMixin`
    shared["per_device_train_batch_size"] *= processes.world_size()
    shared["average_tokens_across_devices"] = False
    return trainer_arguments(context, kind, **shared, **options)


def trainer_arguments(context: Context, kind: type[A], **options: Any) -> A:
    """A trainer's arguments on the run's device; reporting is left to `train`."""
    device = context.device.type
    without_gpu = device == "cpu" and processes.under_deepspeed()
    arguments: A = kind(
        output_dir=str(context.stage_dir / "trainer"),
        seed=context.config.seed,
        report_to="none",
        logging_nan_inf_filter=False,  # not to be hidden: `rlhfkit.trainers.nonfinite` stops there
        disable_tqdm=True,
        save_strategy="no",
        use_cpu=device == "cpu" and not without_gpu,  # accelerate leaves DeepSpeed out with it
        ddp_backend="gloo" if without_gpu else None,
        bf16=context.mixed_precision == "bf16",
        fp16=context.mixed_precision == "fp16",
        dataloader_pin_memory=device == "cuda",
        **options,
    )
    return arguments


class ShardedStepMixin:
    """Mixin for trainers: several processes share each batch, and a step that runs out of memory is
    repeated with parts of it.

    The loss is a sum over the batch divided by the number of its items, so that the parts' losses
    and gradients add up to the whole batch's.
    """

    args: TrainingArguments
    accelerator: Any
    stage: str
    """Whose options the trainer has."""

    def items(self, inputs: Mapping[str, Any]) -> Any:
        """How many items the loss of a batch is the mean of."""
        raise NotImplementedError

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> Tensor:
        """One batch's gradients added to those of earlier batches of the same optimizer step."""
        count = self.items(inputs) if num_items_in_batch is None else num_items_in_batch
        step = super().training_step  # type: ignore[misc]
        before = _copy_gradients(model)
        loss = self.in_parts(
            inputs,
            lambda part, count=count: step(model, part, count),
            undo=lambda: _set_gradients(model, before),
        )
        sharded = fsdp.sharded_parts(model)  # their gradients are summed in the backward pass
        if self.accelerator.sync_gradients and not sharded:  # the optimizer's step is next
            processes.sum_gradients(model.parameters())
        return loss

    def in_parts(
        self,
        inputs: Mapping[str, Any],
        compute: Callable[..., Tensor],
        undo: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """Sum of a number computed from the batch whole or, if that does not fit, from parts.

        compute: of a part, and of by what to divide in place of its own number of items.
        """
        own = {name: processes.local_shard(rows) for name, rows in inputs.items()}
        rows = len(next(iter(own.values())))

        def total(size: int) -> Tensor:
            starts = range(0, rows, size)
            return torch.stack([compute(_part(own, start, size)) for start in starts]).sum()

        if wants_sharding():  # weights are gathered by all together: one pass in each
            number = compute(own) if rows else compute(_part(inputs, 0, 1), torch.inf)
        else:
            number = self._batch_size.run(rows, total, undo) if rows else torch.zeros(())
        return processes.all_reduce_sum(number.to(self.args.device))

    def _get_dataloader(self, *arguments: Any, **options: Any) -> Any:
        """The same batches in every process, where accelerate would deal them out."""
        loader = super()._get_dataloader(*arguments, **options)  # type: ignore[misc]
        dealer = loader.batch_sampler
        if isinstance(dealer, BatchSamplerShard):
            dealer.num_processes, dealer.process_index, dealer.even_batches = 1, 0, False
        return loader

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        """Shares of gradients accumulate: each backward pass sums over the processes."""
        return nullcontext()

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """Operations of this process's share of a batch; the trainer adds up all of them."""
        every: int = super().floating_point_ops(inputs)  # type: ignore[misc]
        return every // processes.world_size()

    @cached_property
    def _batch_size(self) -> AdaptiveBatchSize:
        return AdaptiveBatchSize(
            f"{self.stage} training",
            self.args.per_device_train_batch_size // processes.world_size(),
            f"stage.{self.stage}.gradient_checkpointing=true",
        )


def _copy_gradients(model: nn.Module) -> list[Tensor | None]:
    """The gradients so far; there are none, and no copies, without accumulation."""
    grads = [parameter.grad for parameter in model.parameters()]
    return [None if grad is None else grad.clone() for grad in grads]


def _set_gradients(model: nn.Module, wanted: Sequence[Tensor | None]) -> None:
    """Back to a copy of earlier gradients, which stays as it is."""
    for parameter, grad in zip(model.parameters(), wanted, strict=True):
        if grad is None:
            parameter.grad = None
        elif parameter.grad is not None:
            parameter.grad.copy_(grad)


def _part(inputs: Mapping[str, Any], start: int, size: int) -> dict[str, Any]:
    return {name: rows[start : start + size] for name, rows in inputs.items()}


def train(context: Context, trainer: Resumable, part: Part | None = None) -> None:
    """Run a trainer with this project's progress, reporting and checkpoints.

    part: what the checkpoints hold beside the trainer.
    """
    fsdp.shard_trainer(trainer)
    trainer.remove_callback(PrinterCallback)
    with (
        Reporter(context, trainer.args) as reporter,
        progress_bar(context.stage, _steps(trainer)) as bar,
    ):
        trainer.add_callback(_Forward(reporter, bar))
        trainer.add_callback(NonFiniteCallback(context, trainer))
        trainer.resume(context.checkpoints, part)


def _steps(trainer: Any) -> int:
    batches = len(trainer.get_train_dataloader())
    per_epoch = -(-batches // trainer.args.gradient_accumulation_steps)
    return int(-(-per_epoch * trainer.args.num_train_epochs // 1))


class _Forward(TrainerCallback):  # type: ignore[misc]
    """Hands a trainer's logs to the reporter and its steps to the bar."""

    _SHOWN = ("loss", "eval_loss", "mean_token_accuracy", "accuracy", "eval_accuracy")

    def __init__(self, reporter: Reporter, bar: ProgressBar) -> None:
        self._reporter, self._bar = reporter, bar

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar.advance()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        found = {name: float(value) for name, value in (logs or {}).items() if _is_number(value)}
        numbers = {name: value for name, value in found.items() if math.isfinite(value)}
        self._reporter.log(state.global_step, numbers)
        self._bar.advance(0, {name: numbers[name] for name in self._SHOWN if name in numbers})


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
