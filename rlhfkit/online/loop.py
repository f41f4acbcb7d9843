"""The rollout loop that online policy optimizers share; a subclass gives `step(rollout)`.

Each iteration: prompts -> completions with log-probabilities -> reference log-probabilities ->
rewards -> `step` (advantages and updates) -> KL controller -> metrics.
"""

import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlhfkit.config.online import OnlineConfig
from rlhfkit.config.stages import LAST
from rlhfkit.console import progress_bar
from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.text_format import load_text_format
from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import shard_like, to_floats, unsharded
from rlhfkit.distributed.launch import wants_sharding
from rlhfkit.errors import UserError
from rlhfkit.models.batch import make_batch
from rlhfkit.models.batch_size import (
    AdaptiveBatchSize,
    advise_when_full,
    micro_batch,
    rows_of,
)
from rlhfkit.models.forward import lower_rows, pad_rows, teacher_forced_logprobs
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.models.roles import RoleModels
from rlhfkit.models.sampling import sampler_for
from rlhfkit.online.checks import check_loop
from rlhfkit.online.ema import WeightAverage
from rlhfkit.online.kl_penalty import KLPenalty
from rlhfkit.online.logprob_drift import SamplingDrift
from rlhfkit.online.loop_checkpoint import resume_loop, save_loop
from rlhfkit.online.lr_schedule import set_rates
from rlhfkit.online.metrics import rollout_metrics, shown_metrics
from rlhfkit.online.prompt_batches import PromptBatches
from rlhfkit.online.rollout import Rollout
from rlhfkit.online.scoring import Scorer
from rlhfkit.online.selection import PolicySelection, check_selection
from rlhfkit.reporting import Reporter
from rlhfkit.rl.losses import pretraining_loss
from rlhfkit.storage.checkpoints import Checkpoints
from rlhfkit.storage.state_file import State
from rlhfkit.trainers.nonfinite import NonFiniteGuard
from rlhfkit.trainers.optim import available_optim, build_optimizer, load_optimizer
from rlhfkit.types import Messages

T = TypeVar("T")


class OnlineOptimizer(ABC):
    """Samples, scores and updates in turn until `stage.rl.total_episodes` are used up."""

    needs: tuple[str, ...] = ("sft",)
    completions_per_prompt: int = 1

    def __init__(self, config: OnlineConfig, context: Context) -> None:
        self.config = config
        self.rl = context.config.stage.rl
        self.seed = context.config.seed
        self._optim = available_optim("optimizer.optim", config.optim, context.device)
        self.kl_penalty = KLPenalty(config)
        self.pretraining: list[list[int]] = []
        self.finite = NonFiniteGuard(context)
        self.drift = SamplingDrift()
        self._pending_rollout: Rollout | None = None
        self._selection: PolicySelection | None = None
        self._losses: dict[str, list[Tensor]] = {}
        size = micro_batch(self.rl)
        self._lower_size = AdaptiveBatchSize("the shared layers", size)
        self._reference_size = AdaptiveBatchSize("reference log-probabilities", size)
        self.update_size = AdaptiveBatchSize(
            "the update", size, "stage.rl.gradient_checkpointing=true"
        )

    @classmethod
    def check_run(cls, config: OnlineConfig, context: Context) -> None:
        """Raise `UserError` for a run that the loop can do nothing with."""
        count = getattr(config, "num_generations", cls.completions_per_prompt)
        check_loop(context.config, count)
        check_selection(context)

    @abstractmethod
    def step(self, rollout: Rollout) -> dict[str, float]:
        """Update the models from one batch of episodes; returns metrics under TRL's names."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """What AdamW gets: a group per model with `name`, `params` and `lr`, the policy first."""

    def train(self, context: Context) -> None:
        """Run the loop and save the policy."""
        self._set_up(context)
        iterations = -(-self.rl.total_episodes // self.rl.batch_size)
        done, self._pending_rollout = resume_loop(self, context.checkpoints)
        with Reporter(context) as reporter, progress_bar("rl", iterations, done) as bar:
            self.accelerator = context.accelerator  # the reporter may have made arguments
            self._select(0)
            for iteration in range(done + 1, iterations + 1):
                self.finite.step = iteration
                set_rates(self.optimizer, self.config, iteration, iterations)
                metrics = self._iterate(iteration, context.checkpoints)
                metrics["lr"] = self.optimizer.param_groups[0]["lr"]
                metrics["episode"] = iteration * self.rl.batch_size
                metrics |= self._select(iteration)
                reporter.log(iteration, metrics)
                bar.advance(1, shown_metrics(metrics))
                save = partial(save_loop, self, iteration, None)
                context.checkpoints.save_if_due(iteration, save)
        self.average.take()
        if self._selection is not None:
            self._selection.take()
        self.roles.policy.save(context.stage_dir / "model")

    def _select(self, iteration: int) -> dict[str, float]:
        """Consider the policy after this iteration as the one to keep; gives metrics."""
        return self._selection.consider(iteration) if self._selection is not None else {}

    def _iterate(self, iteration: int, checkpoints: Checkpoints) -> dict[str, float]:
        """One batch of episodes; nothing of it is left in memory when the next one is drawn."""
        started = time.perf_counter()
        # 1. prompts, completions, reference log-probabilities, rewards: a run stopped after them
        # has them in its checkpoint
        rollout, self._pending_rollout = self._pending_rollout, None
        if rollout is None:
            rollout = self.collect(self._prompts.draw())
        self.finite.require("policy", "log-probability", rollout.logprobs)
        self.finite.require("reference", "log-probability", rollout.ref_logprobs)
        collected = time.perf_counter()
        save = partial(save_loop, self, iteration - 1, rollout)
        checkpoints.save_mid_iteration(iteration - 1, save)
        # 2. advantages and updates
        metrics = rollout_metrics(rollout, self.kl.coef, self.kl_penalty) | self.step(rollout)
        metrics |= self.drift.metrics()
        metrics["time/rollout"] = collected - started
        metrics["time/update"] = time.perf_counter() - collected
        # 3. the KL controller
        self.kl.update(float(rollout.kl.sum(1).mean()), len(rollout))
        return metrics

    def collect(self, prompts: list[Messages], generator: torch.Generator | None = None) -> Rollout:
        """Answer prompts with the policy and score the answers; every process gets them all.

        generator: in place of the one that training draws from.
        """
        self.drift = SamplingDrift()
        # 1. prompts as token ids
        prompt_ids = [self.text.prompt_ids(prompt) for prompt in prompts]
        policy, reward, ends = self.roles.policy, self.roles.reward, self.text.ends
        generator = generator or self.generator
        # 2. completions, with their log-probabilities
        with unsharded(policy.module):
            responses = processes.map_sharded(
                lambda rows: self.sampler.sample(policy, rows, ends, generator), prompt_ids
            )
        # 3. the same tokens under the reference
        ids = [response.ids for response in responses]
        completions = [self.text.decode(row) for row in ids]
        lower = self.lower_rows(prompt_ids, ids)
        temperature, size = self.sampler.temperature, self._reference_size
        reference = teacher_forced_logprobs(
            self.roles.reference, prompt_ids, ids, temperature, size, lower
        )
        # 4. rewards, weighted and summed
        with unsharded(reward.language_model.module) if reward else nullcontext():
            scores, raw = self.score(prompts, completions, prompt_ids, responses, lower)
        # 5. one batch, padded on the right
        device = policy.device
        mask = make_batch(prompt_ids, ids).response_mask.to(device)
        sampled = [torch.tensor(response.logprobs, device=device) for response in responses]
        return Rollout(
            prompts=prompts,
            prompt_ids=prompt_ids,
            completions=completions,
            responses=responses,
            response_mask=mask,
            logprobs=pad_rows(sampled, mask.shape[1]),
            ref_logprobs=pad_rows(reference, mask.shape[1]),
            scores=scores.to(device),
            raw_scores=raw,
            lower=lower,
        )

    def lower_rows(self, prompt_ids: list[list[int]], ids: list[list[int]]) -> LowerRows | None:
        """What the shared lower layers make of the episodes; None without such layers."""
        return lower_rows(
            self.roles.reference, prompt_ids, ids, self.roles.shared_depth, self._lower_size
        )

    def mini_batches(self, rollout: Rollout) -> Iterator[list[int]]:
        """Indices of episodes, one list per optimizer step, in a fresh order every epoch."""
        size = -(-len(rollout) // self.config.num_mini_batches)
        for _ in range(self.config.num_ppo_epochs):
            order = self._random.sample(range(len(rollout)), len(rollout))
            for start in range(0, len(order), size):
                yield order[start : start + size]

    def gradients(self, rows: int, backward: Callable[[int], T]) -> T:
        """All backward passes of a mini-batch of that many rows: `backward(size)` with the size of
        micro-batches, and the sum of all processes' gradients.

        When memory runs out, all of them are done again in smaller micro-batches, from no gradients
        on; so `backward` must do the same each time and draw nothing at random.
        """
        if wants_sharding():  # these passes are made, and their gradients summed, by all together
            result = backward(self.update_size.of(rows))
            self._require_finite_losses()
            return result
        with self.roles.policy.kept_casts():
            result = self.update_size.run(rows, backward, undo=self._forget_gradients)
        self._require_finite_losses()
        for group in self.optimizer.param_groups:
            processes.sum_gradients(group["params"])
        return result

    def draw_pretraining(self, episodes: int) -> list[list[int]]:
        """Pretraining texts for one optimizer step of PPO-ptx, of a mini-batch of episodes."""
        if self.config.ptx_coef == 0:
            return []
        each = self.config.ptx_per_episode
        count = self.config.ptx_batch_size if each is None else each * episodes
        return self._random.choices(self.pretraining, k=count)

    def ptx_backward(
        self, texts: Sequence[list[int]], size: int, coef: float | None = None
    ) -> float:
        """Add the pretraining gradients to the policy's (InstructGPT, equation 2, second term); the
        mean over processes of the number returned is the loss.

        coef: the weight of the mean over tokens, by default `ptx_coef`.

        They come from a backward pass of their own right after PPO's and accumulate (C.4).
        """
        losses = []
        count = sum(len(row) - 1 for row in texts)
        policy = self.roles.policy
        texts = processes.local_shard(texts)
        rows = rows_of(size, max(map(len, texts), default=1))
        for start in range(0, len(texts), rows):
            part = texts[start : start + rows]
            batch = make_batch([row[:1] for row in part], [row[1:] for row in part], policy.device)
            logprobs, _ = policy.response_logprobs(batch)
            loss = pretraining_loss(logprobs, batch.response_mask, count)
            self.backward((self.config.ptx_coef if coef is None else coef) * loss)
            losses.append(loss.detach())
        return sum(torch.stack(losses).tolist()) * processes.world_size() if losses else 0.0

    def backward(self, loss: Tensor, model: str = "policy") -> None:
        """Accumulate gradients. model: whose loss it is, for messages."""
        self._losses.setdefault(model, []).append(loss.detach())
        self.accelerator.backward(loss)

    def _require_finite_losses(self) -> None:
        """Check the losses of a mini-batch together: each look waits for the device."""
        losses = {model: torch.stack(values) for model, values in self._losses.items()}
        self.finite.require_all("loss", losses)
        self._losses.clear()

    def _forget_gradients(self) -> None:
        self._losses.clear()
        self.optimizer.zero_grad()

    def optimizer_step(self) -> dict[str, float]:
        """Clip each model's gradients by their own norm and step; returns the norms by group.

        In float16 a step whose scaled gradients are not finite is left out, and so are its norms.
        """
        groups, limit = self.optimizer.param_groups, self.config.max_grad_norm or math.inf
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        found = [nn.utils.clip_grad_norm_(group["params"], limit) for group in groups]
        names = [f"{group['name']}/grad_norm" for group in groups]
        norms = dict(zip(names, to_floats(found), strict=True))
        if scaler is None:
            self.finite.require_norms(norms)
            self.optimizer.step()
        else:
            self.finite.require_scale("policy", scaler)
            scaler.step(self.optimizer)
            scaler.update()
        self.optimizer.zero_grad()
        self.drift.on_policy = False
        self.average.update()
        return {name: norm for name, norm in norms.items() if math.isfinite(norm)}

    def prepare(self, context: Context, roles: RoleModels) -> None:
        """Everything that `collect` and `step` need of these models, apart from data."""
        self.roles = roles
        if self.rl.gradient_checkpointing:
            offload = self.rl.activation_offloading and context.device_kind != "cpu"
            roles.policy.checkpoint_activations(offload=offload)
            roles.value.language_model.checkpoint_activations(offload=offload)
        context = replace(context, roles=roles)
        weights = {name: entry.weight for name, entry in context.config.reward.items()}
        self.score = Scorer(context.build_all("reward"), weights, self.rl)
        self.sampler = sampler_for(context, roles.policy)
        self.kl = context.build("kl")
        self.accelerator = context.accelerator
        self.optimizer = build_optimizer(
            self._optim,
            self.parameter_groups(),
            betas=(self.config.adam_beta1, self.config.adam_beta2),
            eps=self.config.adam_epsilon,
            weight_decay=self.config.weight_decay,
        )
        policy = self.optimizer.param_groups[0]["params"]
        self.average = WeightAverage(policy, self.config.ema_decay)
        self._random = random.Random(self.seed)
        self.generator = processes.generator(self.seed, self.roles.policy.device)

    def state_dict(self) -> State:
        """Everything that the loop goes on from; a subclass adds what it counts itself."""
        return {
            "parameters": self._parameters(),
            "optimizer": self.optimizer.state_dict(),
            "random": self._random.getstate(),
            "generators": processes.gather([self.generator.get_state()]),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a state."""
        with torch.no_grad():
            for parameter, saved in zip(self._parameters(), state["parameters"], strict=True):
                parameter.copy_(shard_like(parameter, saved))
        load_optimizer(self.optimizer, state["optimizer"])
        self._random.setstate(state["random"])
        self.generator.set_state(state["generators"][processes.rank()])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parameters(self) -> list[Tensor]:
        return [tensor for group in self.optimizer.param_groups for tensor in group["params"]]

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own."""
        parts = {
            "average": self.average,
            "kl": self.kl,
            "score": self.score,
            "prompts": self._prompts,
        }
        if self.accelerator.scaler is not None:
            parts["loss_scale"] = self.accelerator.scaler
        return parts if self._selection is None else parts | {"selection": self._selection}

    def _set_up(self, context: Context) -> None:
        check_loop(context.config, self.completions_per_prompt)
        self.text = load_text_format(context)
        reward_model = context.model_of("reward_model")
        with advise_when_full("loading the models of stage rl"):
            roles = context.build("loader").roles(context.rl_start, reward_model)
            self.prepare(context, roles)
        prompts, apart = sources.prompts_of_rl_and_selection(context, self.text)
        self._prompts = PromptBatches(
            prompts, self.rl.batch_size, self.completions_per_prompt, self._random
        )
        if self.rl.select_by != LAST:
            self._selection = PolicySelection(self, context, apart)
        self.pretraining = self._load_pretraining(context)

    def _load_pretraining(self, context: Context) -> list[list[int]]:
        if self.config.ptx_coef == 0:
            return []
        rows = [self.text.text_ids(item) for item in sources.pretraining_texts(context)]
        rows = [row[: self.config.ptx_length] for row in rows if len(row) > 1]
        if not rows:
            raise UserError("data.<source>.pretraining: no text is longer than a token")
        return rows
