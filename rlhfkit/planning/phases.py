"""The phases of a run, each once at its largest size, through the stages' own code.

sft, reward_model and update start with the optimizer's states, which a first step on gradients of
zero makes: from the second step on they are there beside gradients and activations. Reading prompts
and decoding are counted apart, because only the latter grows with the length of the answers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from rlhfkit.config.run import RunConfig
from rlhfkit.config.stages import SftConfig
from rlhfkit.config.trainer import TrainingConfig
from rlhfkit.context import Context
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import by_micro_batch, lower_rows, teacher_forced_logprobs
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.scalar_model import ScalarModel
from rlhfkit.online.loop import OnlineOptimizer
from rlhfkit.online.rollout import Rollout
from rlhfkit.planning.meter import Meter
from rlhfkit.stages.reward_model import Element, ranking_loss
from rlhfkit.stages.sft import completion_loss
from rlhfkit.trainers.optim import build_optimizer
from rlhfkit.types import Ends, Response

SHORT = (3, 5)
"""Lengths of the answers that are decoded; memory and time grow evenly with the length, but for the
step right after the prompts, which starts with less than those after it."""

_TOKEN = 3
"""Any token id; what it is changes nothing."""


@dataclass(frozen=True)
class Lengths:
    """The most tokens of each kind that the configuration lets through."""

    prompt: int
    response: int
    ranked: int

    @classmethod
    def of(cls, config: RunConfig) -> "Lengths":
        """From the options of model, stages and sampler."""
        response = getattr(config.sampler, "response_length", config.model.max_prompt_length)
        ranked = config.stage.reward_model.max_completion_length
        return cls(
            prompt=config.model.max_prompt_length,
            response=response,
            ranked=min(ranked, response) if "sample" in config.stages else ranked,
        )

    @property
    def episode(self) -> int:
        """Tokens of the longest prompt with the longest response."""
        return self.prompt + self.response


def different_prompts(count: int, length: int) -> list[list[int]]:
    """The worst case for samplers that read equal prompts once; [count][length] token ids."""
    return [[row] + [_TOKEN] * (length - 1) for row in range(count)]


class Rehearsal:
    """Loads models as the stages load theirs and runs phases on them under a meter."""

    def __init__(
        self, context: Context, lengths: Lengths, meter: Meter, episodes: int | None = None
    ) -> None:
        """episodes: of a whole iteration of rl, where the context's has fewer."""
        self.context, self.lengths, self.meter = context, lengths, meter
        self.episodes = episodes or context.config.stage.rl.batch_size
        self.loader = context.build("loader")
        self.sizes: dict[str, AdaptiveBatchSize] = {}
        """Rows computed at once, by phase; kept when a phase is run again."""

    def sft(self) -> None:
        """A batch of the longest demonstrations."""
        self._sft("sft", self.context.config.stage.sft)

    def rl_sft(self) -> None:
        """The same with the options of stage rl_sft."""
        self._sft("rl_sft", self.context.config.stage.rl_sft)

    def _sft(self, phase: str, config: SftConfig) -> None:
        with self.meter.counting_as("base"):
            model = self.loader.language_model(None, trainable=True)
        self._label(model)
        model.drop_residuals(config.residual_dropout)
        if config.residual_dropout:
            model.model.train()
        length = self.lengths.prompt + config.max_completion_length
        rows = config.per_device_train_batch_size
        ids = torch.tensor([[_TOKEN] * length] * rows, device=model.device)
        labels = ids.clone()
        labels[:, : self.lengths.prompt] = -100
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        count = (labels != -100).sum()

        def loss(part: slice) -> Tensor:
            chosen = {name: values[part] for name, values in inputs.items()}
            return completion_loss(model, chosen, count)

        self._train(phase, config, model, rows, loss)

    def sample(self) -> None:
        """A batch of the sample stage."""
        with self.meter.counting_as("base"):
            model = self._frozen()
        self._label(model)
        self._draw("sample", model)

    def reward_model(self) -> None:
        """A batch of rankings, all completions of a prompt together."""
        config = self.context.config.stage.reward_model
        with self.meter.counting_as("base"):
            model = self.loader.scalar_model(self._base, trainable=True)
        self._label(model.language_model, model)
        count = self.context.config.stage.sample.num_completions
        completions = [[_TOKEN] * self.lengths.ranked] * count
        ranks = list(range(1, count + 1))
        rows = config.per_device_train_batch_size
        prompts = different_prompts(rows, self.lengths.prompt)
        elements = [Element(prompt, completions, [ranks]) for prompt in prompts]
        self._train(
            "reward_model",
            config,
            model,
            rows,
            lambda part: ranking_loss(model, elements[part], rows),
        )

    def rl(self) -> None:
        """Rollout, scoring and update of an online optimizer, with all four roles in memory."""
        optimizer = self.context.build("optimizer")
        if not isinstance(optimizer, OnlineOptimizer):
            return
        with self.meter.counting_as("base"):
            scored = "reward_model" in (*self.context.config.reward, *optimizer.needs)
            roles = self.loader.roles(None, self._base if scored else None)
        self._label(roles.policy, *filter(None, (roles.value, roles.reward)))
        self._label(roles.reference)
        optimizer.prepare(self.context, roles)
        optimizer.update_size = self.sizes.setdefault("update", optimizer.update_size)
        if optimizer.config.ptx_coef:
            optimizer.pretraining = [[_TOKEN] * optimizer.config.ptx_length]
        self._draw("rollout", roles.policy)
        lower = None  # a meter that goes on where memory runs out leaves it so
        with self.meter.phase("score"):
            lower = self._score(roles, optimizer.completions_per_prompt)
        rollout = self._rollout(lower, optimizer.completions_per_prompt)
        with self._training_parts(optimizer.optimizer), self.meter.phase("update"):
            optimizer.step(rollout)

    def evaluate(self) -> None:
        """A batch of the evaluation; one policy is in memory at a time."""
        with self.meter.counting_as("base"):
            model = self._frozen()
        self._label(model)
        self._draw("evaluate", model)

    def _size(self, phase: str, rows: int) -> AdaptiveBatchSize:
        return self.sizes.setdefault(phase, AdaptiveBatchSize(phase, rows))

    @property
    def _base(self) -> str:
        return self.context.config.model.path

    def _frozen(self) -> LanguageModel:
        """What an adapter of an earlier stage loads as: merged, or beside its base."""
        stays = getattr(self.loader, "merge_frozen", True) is False
        model: LanguageModel = self.loader.language_model(None, trainable=stays)
        return model

    def _draw(self, phase: str, model: LanguageModel) -> None:
        """A full batch of prompts; answers of `SHORT` lengths tell what longer ones take. Then what
        a sampler keeps from call to call, and what is there when it is released."""
        for length in (n for n in SHORT if n < self.lengths.response or n == min(SHORT)):
            sampler = self._sampler(min(length, self.lengths.response))
            rows = getattr(self.context.config.sampler, "batch_size", 1)
            prompts = different_prompts(rows, self.lengths.prompt)
            generator = torch.Generator(model.device).manual_seed(0)
            with self.meter.phase(f"{phase}/prompts/{length}"):
                hook = model.body.register_forward_pre_hook(
                    partial(self._decoding, f"{phase}/tokens/{length}"), with_kwargs=True
                )
                sampler.sample(model, prompts, Ends((-1,)), generator)
                hook.remove()
                if hasattr(sampler, "release"):
                    self.meter.next_phase(f"{phase}/kept/{length}")
                    sampler.release()
                    self.meter.next_phase(f"{phase}/without/{length}")

    def _decoding(self, name: str, _: Any, __: Any, inputs: dict[str, Any]) -> None:
        """From the first single token on; what prompts left behind until then is theirs."""
        if inputs["input_ids"].shape[1] == 1:
            self.meter.next_phase(name)

    def _sampler(self, length: int) -> Any:
        sampler = self.context.build("sampler")
        if hasattr(sampler, "response_length"):
            sampler.response_length = length
        return sampler

    def _prompts(self, count: int, completions: int) -> list[list[int]]:
        """So many of the longest, each as often as it is completed."""
        different = different_prompts(-(-count // completions), self.lengths.prompt)
        return [prompt for prompt in different for _ in range(completions)][:count]

    def _rollout(self, lower: LowerRows | None, completions: int) -> Rollout:
        """One mini-batch of the longest episodes."""
        count = self.context.config.stage.rl.batch_size
        length = self.lengths.response
        responses = [Response([_TOKEN] * length, [-1.0] * length, True)] * count
        device = self.context.device
        numbers = torch.zeros(count, length, device=device)
        return Rollout(
            prompts=[[]] * count,
            prompt_ids=self._prompts(count, completions),
            completions=[""] * count,
            responses=responses,
            response_mask=torch.ones(count, length, dtype=torch.bool, device=device),
            logprobs=numbers,
            ref_logprobs=numbers.clone(),
            scores=torch.zeros(count, device=device),
            raw_scores={},
            lower=lower,
        )

    def _score(self, roles: RoleModels, completions: int) -> LowerRows | None:
        """One micro-batch; gives the states of the shared layers, which all episodes keep."""
        rows = self.context.config.stage.rl.micro_batch_size
        prompts = self._prompts(rows, completions)
        responses = [[_TOKEN] * self.lengths.response] * rows
        size = self._size("score", rows)
        model = roles.reference
        lower = lower_rows(model, prompts, responses, roles.shared_depth, size)
        if lower is not None:
            kept = [lower.rows[0].clone() for _ in range(self.episodes)]
            lower = LowerRows(kept, lower.depth)
        teacher_forced_logprobs(model, prompts, responses, 1.0, size, lower)
        if roles.reward is not None:
            by_micro_batch(model, prompts, responses, size, roles.reward.scores, lower)
        return lower

    def _train(
        self,
        phase: str,
        config: TrainingConfig,
        trained: LanguageModel | ScalarModel,
        rows: int,
        loss: Callable[[slice], Tensor],
    ) -> None:
        """loss: of some of the batch's rows, over the number of all."""

        def backward(size: int) -> None:
            for _ in range(min(config.gradient_accumulation_steps, 2)):
                for start in range(0, rows, size):
                    torch.autograd.backward(loss(slice(start, start + size)))

        model = trained.language_model if isinstance(trained, ScalarModel) else trained
        if config.gradient_checkpointing:
            model.checkpoint_activations()
        optimizer = build_optimizer(config.optim, [{"params": trained.trainable_parameters()}])
        with self._training_parts(optimizer), self.meter.phase(phase):
            self._size(phase, rows).run(rows, backward, undo=optimizer.zero_grad)
            optimizer.step()

    def _label(self, model: LanguageModel, *scalar_models: ScalarModel) -> None:
        """Count adapters and heads as such."""
        for name, parameter in model.model.named_parameters():
            if "lora_" in name:
                self.meter.mark(parameter, "adapters")
        for scalar_model in scalar_models:
            for parameter in scalar_model.head.parameters():
                self.meter.mark(parameter, "adapters")

    @contextmanager
    def _training_parts(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Make the optimizer's states, and count them and gradients as such."""
        parameters = [item for group in optimizer.param_groups for item in group["params"]]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        with self.meter.counting_as("optimizer"):
            optimizer.step()
        optimizer.zero_grad()
        hooks: list[Any] = [self._hook(parameter) for parameter in parameters]
        hooks += [
            register_optimizer_step_pre_hook(lambda *_: self._count_as("optimizer")),
            register_optimizer_step_post_hook(lambda *_: self._count_as("activations")),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _count_as(self, part: str) -> None:
        self.meter.set_part(part)

    def _hook(self, parameter: Any) -> Any:
        trained = parameter.requires_grad  # an adapter that is not the active one is not, just now
        hook = parameter.requires_grad_().register_post_accumulate_grad_hook(self._mark_gradient)
        parameter.requires_grad_(trained)
        return hook

    def _mark_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.meter.mark(parameter.grad, "gradients")
