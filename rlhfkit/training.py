"""What the stages that use a transformers or TRL trainer share."""

from dataclasses import fields
from typing import Any, TypeVar

from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from rlhfkit.console import ProgressBar, progress_bar
from rlhfkit.context import Context
from rlhfkit.reporting import Reporter
from rlhfkit.stage_configs import TrainingConfig

A = TypeVar("A", bound=TrainingArguments)


def training_arguments(
    context: Context, config: TrainingConfig, kind: type[A], **options: Any
) -> A:
    """A trainer's arguments from a stage's options."""
    shared = {item.name: getattr(config, item.name) for item in fields(TrainingConfig)}
    shared["activation_checkpointing"] = shared.pop("gradient_checkpointing")  # its new name
    return trainer_arguments(context, kind, **shared, **options)


def trainer_arguments(context: Context, kind: type[A], **options: Any) -> A:
    """A trainer's arguments on the run's device; reporting is left to `train`."""
    device = context.device.type
    arguments: A = kind(
        output_dir=str(context.stage_dir / "trainer"),
        seed=context.config.seed,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        use_cpu=device == "cpu",
        bf16=context.mixed_precision == "bf16",
        dataloader_pin_memory=device == "cuda",
        **options,
    )
    return arguments


def train(context: Context, trainer: Any) -> None:
    """Run a trainer with this project's progress and reporting."""
    trainer.remove_callback(PrinterCallback)
    with (
        Reporter(context, trainer.args) as reporter,
        progress_bar(context.stage, _steps(trainer)) as bar,
    ):
        trainer.add_callback(_Forward(reporter, bar))
        trainer.train()


def _steps(trainer: Any) -> int:
    batches = len(trainer.get_train_dataloader())
    per_epoch = -(-batches // trainer.args.gradient_accumulation_steps)
    return int(-(-per_epoch * trainer.args.num_train_epochs // 1))


class _Forward(TrainerCallback):  # type: ignore[misc]
    """Hands a trainer's logs to the reporter and its steps to the bar."""

    _SHOWN = ("loss", "eval_loss", "mean_token_accuracy", "accuracy", "eval_accuracy")

    def __init__(self, reporter: Reporter, bar: ProgressBar) -> None:
        self._reporter, self._bar = reporter, bar

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar.advance()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        numbers = {name: float(value) for name, value in (logs or {}).items() if _is_number(value)}
        self._reporter.log(state.global_step, numbers)
        self._bar.advance(0, {name: numbers[name] for name in self._SHOWN if name in numbers})


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
