"""What stages with a trainer of their own share. No torch here."""

from dataclasses import dataclass

from rlhfkit.errors import UserError
from rlhfkit.validators import (
    require_above_zero,
    require_below,
    require_not_negative,
    require_one_of,
)

OPTIMS = (
    "adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_32bit", "paged_adamw_8bit",
)  # fmt: skip


@dataclass
class TrainingConfig:
    """What every stage with a trainer of its own shares; names as in transformers and TRL."""

    learning_rate: float = 1e-4
    """Peak rate of AdamW."""

    optim: str = "adamw_torch"
    """adamw_torch, adamw_torch_fused, adamw_8bit, paged_adamw_8bit or paged_adamw_32bit: 8 bytes a
    trained parameter, or 2; paged ones move to main memory when the GPU is full."""

    num_train_epochs: float = 1.0
    """Passes over the data."""

    per_device_train_batch_size: int = 8
    """Batch size of each process: two of 4 make the same steps as one of 8."""

    gradient_accumulation_steps: int = 1
    """Batches that share an optimizer step."""

    lr_scheduler_type: str = "cosine"
    """Course of the learning rate, by transformers' names."""

    min_lr_rate: float = 0.0
    """Share of the peak at which a cosine ends (InstructGPT, C.1 and C.2: 0.1)."""

    warmup_steps: int = 0
    """Optimizer steps over which the learning rate rises from 0."""

    weight_decay: float = 0.0
    """AdamW's weight decay."""

    adam_beta1: float = 0.9
    """Decay of AdamW's mean of gradients."""

    adam_beta2: float = 0.95
    """Decay of AdamW's mean of squared gradients."""

    adam_epsilon: float = 1e-8
    """Added to the denominator of AdamW's step."""

    max_grad_norm: float = 1.0
    """Norm that gradients are clipped to; 0 does not clip."""

    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass: less memory, a third more time."""

    group_by_length: bool = True
    """Batches of like length: less is computed on padding; false shuffles alone."""

    logging_steps: int = 5
    """Optimizer steps between two lines of metrics.jsonl."""

    def check(self, name: str) -> None:
        """Raise `UserError` for a value outside its meaning."""
        require_one_of(name, self, OPTIMS, "optim")
        require_above_zero(name, self, "num_train_epochs", "per_device_train_batch_size")
        require_above_zero(name, self, "gradient_accumulation_steps", "logging_steps")
        require_above_zero(name, self, "adam_epsilon")
        require_not_negative(name, self, "learning_rate", "weight_decay", "max_grad_norm")
        require_not_negative(name, self, "warmup_steps")
        require_below(name, self, 1, "min_lr_rate", "adam_beta1", "adam_beta2")
        if self.min_lr_rate and self.lr_scheduler_type != "cosine":
            raise UserError(
                f"{name}.min_lr_rate={self.min_lr_rate}: needs {name}.lr_scheduler_type=cosine, "
                f"not {self.lr_scheduler_type}"
            )
