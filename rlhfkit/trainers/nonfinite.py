"""NaN and infinity stop a stage before they reach its weights: what, whose, where, what helps."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from rlhfkit.context import Context
from rlhfkit.distributed.fsdp import whole
from rlhfkit.errors import Stopped
from rlhfkit.types import Response


class NonFiniteError(Stopped):
    """A loss, gradient or log-probability is NaN or infinite."""


class NonFiniteGuard:
    """Looks at the numbers of one stage. `step` is the one to name in messages."""

    step: int | None = None

    def __init__(self, context: Context) -> None:
        self._context = context

    def require(self, model: str, what: str, values: Tensor | Sequence[float]) -> None:
        """Raise `NonFiniteError` unless all values are finite. model: whose they are, as in
        `policy`."""
        self.require_all(what, {model: torch.as_tensor(values)})

    def require_all(self, what: str, values: Mapping[str, Tensor]) -> None:
        """The same of several models; a look at all of them waits for the device once."""
        if self._context.dry_run or not values:  # only memory is counted: weights are anything
            return
        looked_at = [whole(each).isfinite().all() for each in values.values()]
        finite = torch.stack(looked_at).tolist()
        for model, is_finite in zip(values, finite, strict=True):
            if not is_finite:
                raise self._error(model, what)

    def _error(self, model: str, what: str) -> NonFiniteError:
        step = "" if self.step is None else f", step {self.step}"
        return NonFiniteError(
            f"stage {self._context.stage}{step}: a {what} of the {model} model is NaN or "
            f"infinite, and nothing was updated by it; try {self._advice(model)}"
        )

    def require_norms(self, norms: Mapping[str, float]) -> None:
        """Gradient norms by name, as in `policy/grad_norm`; to be called before the update."""
        for name, norm in norms.items():
            self.require(name.partition("/")[0], "gradient", [norm])

    def require_scale(self, model: str, scaler: Any) -> None:
        """In float16: scaled gradients may overflow, which halves the scale; below 1 it is they
        that are too large, or NaN."""
        if scaler.get_scale() < 1:
            raise self._error(model, "gradient")

    def require_responses(self, model: str, responses: Sequence[Response]) -> None:
        """The log-probabilities of a model's own samples."""
        logprobs = [value for response in responses for value in response.logprobs]
        self.require(model, "log-probability", logprobs)

    def _advice(self, model: str) -> str:
        rate, dtype = self._rate(model), self._context.precision.weights
        choices = [rate] if rate else []
        if dtype is not torch.float32:
            choices.append("model.dtype=float32")
        if dtype is torch.float16 and self._context.precision.mixed == "bf16":
            choices.append("model.dtype=bfloat16")
        return " or ".join(choices) or "another model: its weights do not give numbers"

    def _rate(self, model: str) -> str | None:
        """A lower learning rate, where the model is trained with one."""
        config, stage = self._context.config, self._context.stage
        in_rl = stage == "rl"
        options = config.optimizer if in_rl else getattr(config.stage, stage)
        name = "value_learning_rate" if model == "value" else "learning_rate"
        if model == "reference" or not hasattr(options, name):
            return None
        prefix = "optimizer" if in_rl else f"stage.{stage}"
        return f"a lower {prefix}.{name} than {getattr(options, name):g}"


class NonFiniteCallback(TrainerCallback):  # type: ignore[misc]
    """Looks at the losses and gradients of a trainer's steps."""

    def __init__(self, context: Context, trainer: Any) -> None:
        self._finite = NonFiniteGuard(context)
        self._trainer = trainer
        self._training_step, trainer.training_step = trainer.training_step, self._checked_step

    def _checked_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss: Tensor = self._training_step(*args, **kwargs)
        self._finite.require("trained", "loss", loss)
        return loss

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._finite.step = state.global_step + 1

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        if self._trainer.accelerator.scaler is not None:
            self._finite.require_scale("trained", self._trainer.accelerator.scaler)
            return
        grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        self._finite.require("trained", "gradient", nn.utils.get_total_norm(grads))

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any
    ) -> None:
        if "eval_loss" in metrics:
            self._finite.require("trained", "validation loss", [metrics["eval_loss"]])
