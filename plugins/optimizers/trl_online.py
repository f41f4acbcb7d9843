"""optimizer=trl_grpo and optimizer=trl_rloo: TRL's GRPOTrainer and RLOOTrainer with this run's
rewards, and this run's KL controller in the place of TRL's constant `beta`.

TRL samples, measures the KL and updates. The reference is the SFT model: TRL loads the policy's
directory a second time, or keeps a copy of the SFT adapter beside the one that it trains.
"""

import random
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from rlhfkit.config.stages import RlConfig
from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.distributed import processes
from rlhfkit.errors import UserError
from rlhfkit.models.autocast_forward import autocast_forward
from rlhfkit.online.checks import check_loop
from rlhfkit.protocols import KLController
from rlhfkit.storage.state_file import load_state, save_state
from rlhfkit.trainers.resumable import Resumable
from rlhfkit.trainers.trainer import train, trainer_arguments
from rlhfkit.types import Ends, Messages
from rlhfkit_plugins.optimizers import TrlGrpoConfig, TrlOnlineConfig, TrlRlooConfig
from rlhfkit_plugins.optimizers.dpo import unrounded
from rlhfkit_plugins.optimizers.trl_rewards import Rewards

_NEXT_TO_NOTHING = 1e-30
"""In place of a beta of 0, at which TRL would not measure the KL."""

_STATE_FILE = "batches.safetensors"


class TrlOnline:
    """What the two have in common."""

    needs = ("sft",)
    trainer: type["_TokensIn"]
    arguments: type
    options: type

    def __init__(self, config: TrlOnlineConfig, context: Context) -> None:
        self.config = config
        _check(config, context)

    def train(self, context: Context) -> None:
        """Train on the prompts and save the policy."""
        text = load_text_format(context)
        sft = context.rl_start
        policy = context.build("loader").language_model(sft, trainable=True)
        policy.model.generation_config.eos_token_id = [*text.ends.ids]
        prompts = _prompts(context, text, self.config.num_generations)
        rewards = Rewards(context, text, prompts)
        driver = BetaDriver(context.build("kl"), rewards, self.config.num_iterations)
        with unrounded(policy):
            trainer = self.trainer(
                model=policy.model,
                reward_funcs=rewards.scores,
                args=self._arguments(context, sft),
                train_dataset=rewards.dataset(),
                processing_class=text.tokenizer,
                callbacks=[driver],
            )
        driver.trainer = trainer
        trainer.ends = text.ends
        trainer.steps_per_batch = self.config.num_iterations
        with autocast_forward(policy):  # TRL generates without it
            train(context, trainer, driver)
        policy.save(context.stage_dir / "model")

    def _arguments(self, context: Context, sft: str | None) -> Any:
        rl, model = context.config.stage.rl, context.config.model
        rows = _rows(rl)
        own_revision = {"revision": model.revision} if sft is None and model.revision else None
        return trainer_arguments(
            context,
            self.arguments,
            beta=1.0,  # of any value but 0, so that there is a reference
            num_train_epochs=1,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=rl.batch_size // (rows * processes.world_size()),
            gradient_checkpointing=rl.gradient_checkpointing,
            temperature=context.config.sampler.temperature,
            max_completion_length=context.config.sampler.response_length,
            shuffle_dataset=False,
            disable_dropout=True,
            logging_steps=1,
            trust_remote_code=model.trust_remote_code,
            model_init_kwargs=own_revision,
            **{item.name: getattr(self.config, item.name) for item in fields(self.options)},
        )


class _TokensIn(Resumable):
    """Its prompts are token ids, its responses end where this run's do; the rest is TRL's."""

    ends: Ends

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, Any]:
        return prompts, None, {}


class _GRPOTrainer(_TokensIn, GRPOTrainer):  # type: ignore[misc]
    def _generate_single_turn(self, *inputs: Any, **options: Any) -> tuple[list[list[int]], Any]:
        drawn, logprobs = super()._generate_single_turn(*inputs, **options)
        return [self.ends.cut(ids) for ids in drawn], logprobs


class _RLOOTrainer(_TokensIn, RLOOTrainer):  # type: ignore[misc]
    def _generate_single_turn(self, *inputs: Any, **options: Any) -> list[list[int]]:
        drawn = super()._generate_single_turn(*inputs, **options)
        return [self.ends.cut(ids) for ids in drawn]


class TrlGRPO(TrlOnline):
    """The KL is a term of the loss."""

    trainer, arguments, options = _GRPOTrainer, GRPOConfig, TrlGrpoConfig


class TrlRLOO(TrlOnline):
    """The KL is taken off the reward."""

    trainer, arguments, options = _RLOOTrainer, RLOOConfig, TrlRlooConfig


class BetaDriver(TrainerCallback):  # type: ignore[misc]
    """Lets a KL controller set the trainer's beta, which stays through the updates of a batch."""

    trainer: Any

    def __init__(self, kl: KLController, rewards: Rewards, steps_per_batch: int) -> None:
        """steps_per_batch: optimizer steps on each batch of completions."""
        self._kl, self._rewards, self._steps = kl, rewards, steps_per_batch

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self._steps == 0:
            self._coef = self._kl.coef
            self.trainer.beta = self._coef or _NEXT_TO_NOTHING

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """TRL's `kl` is a mean over tokens; times their mean number it is one over completions."""
        if "loss" in logs:
            logs["objective/kl_coef"] = self._coef
        if "completions/mean_length" not in logs:  # nothing was sampled in this step
            return
        kl = logs["kl"] * logs["completions/mean_length"]
        logs |= self._rewards.metrics
        logs |= {
            "objective/kl": kl,
            "objective/non_score_reward": -self._coef * kl,
            "objective/rlhf_reward": logs["objective/scores"] - self._coef * kl,
        }
        self._kl.update(kl, self._rewards.batch_size)

    def save(self, folder: Path) -> None:
        """Write into a checkpoint what the controller and the rewards know of earlier batches."""
        state = {"kl": self._kl.state_dict(), "rewards": self._rewards.state_dict()}
        save_state(folder / _STATE_FILE, state)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        state = load_state(folder / _STATE_FILE)
        self._kl.load_state_dict(state["kl"])
        self._rewards.load_state_dict(state["rewards"])


def _prompts(context: Context, text: TextFormat, num_generations: int) -> list[Messages]:
    """The prompts of all batches in their order, reshuffled every pass; TRL repeats each for its
    completions."""
    rl = context.config.stage.rl
    batches = -(-rl.total_episodes // rl.batch_size)
    wanted = batches * rl.batch_size // num_generations
    prompts = sources.prompts_of_rl(context, text)
    generator, rows = random.Random(context.config.seed), list[Messages]()
    while len(rows) < wanted:
        rows += generator.sample(prompts, len(prompts))
    return rows[:wanted]


def _check(config: TrlOnlineConfig, context: Context) -> None:
    check_loop(context.config, config.num_generations)
    rl = context.config.stage.rl
    if rl.micro_batch_tokens is not None:
        raise UserError(
            "stage.rl.micro_batch_tokens: trainers of TRL's count rows; choose micro_batch_size"
        )
    count = processes.world_size()
    if rl.batch_size % (_rows(rl) * count):
        shared = f" times {count} processes" if count > 1 else ""
        raise UserError(
            f"stage.rl.batch_size={rl.batch_size}: must be a multiple of "
            f"stage.rl.micro_batch_size={rl.micro_batch_size}{shared} with a trainer of TRL's"
        )


def _rows(rl: RlConfig) -> int:
    """How many rows each process takes at once."""
    return max(1, min(rl.micro_batch_size, rl.batch_size // processes.world_size()))
