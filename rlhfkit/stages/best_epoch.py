"""Which epoch's SFT model is kept (InstructGPT, C.1: that whose answers to validation prompts the
reward model scores highest; the validation loss rises after the first epoch)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rlhfkit.config.stages import RlConfig, SftConfig
from rlhfkit.context import Context
from rlhfkit.data.text_format import TextFormat
from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import unsharded
from rlhfkit.errors import UserError
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.sampling import release, sampler_for
from rlhfkit.online.scoring import Scorer
from rlhfkit.storage.catalogue import EPOCHS_FILE
from rlhfkit.storage.run_dir import write_json
from rlhfkit.types import Messages


class BestEpoch(TrainerCallback):  # type: ignore[misc]
    """Saves the model after each epoch that is better than all before it."""

    def __init__(
        self, context: Context, model: LanguageModel, score: Callable[[dict[str, float]], float]
    ) -> None:
        """score: higher is better; given the metrics of the evaluation that just ended."""
        self._folder, self._model, self._score = context.stage_dir, model, score
        self._epochs: list[dict[str, float]] = []

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any
    ) -> None:
        """The trainer evaluates at the end of each epoch."""
        score = self._score(metrics)
        if all(score > earlier["score"] for earlier in self._epochs):
            self._model.save(self._folder / "model")
        self._epochs.append({"epoch": state.epoch, "score": score})
        write_json(self._folder / EPOCHS_FILE, self._epochs)

    def save(self, folder: Path) -> None:
        """Write into a checkpoint the epochs so far and the model of the best."""
        write_json(folder / EPOCHS_FILE, self._epochs)
        if self._epochs:
            shutil.copytree(self._folder / "model", folder / "model")

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint, whatever of the model was written since."""
        self._epochs = json.loads((folder / EPOCHS_FILE).read_text(encoding="utf-8"))
        processes.on_main_process(self._restore_model, folder)

    def _restore_model(self, folder: Path) -> None:
        shutil.rmtree(self._folder / "model", ignore_errors=True)
        if self._epochs:
            shutil.copytree(folder / "model", self._folder / "model")


def best_epoch(
    context: Context,
    config: SftConfig,
    text: TextFormat,
    model: LanguageModel,
    prompts: list[Messages],
) -> BestEpoch | None:
    """What keeps the best epoch's model; None where the last one's is kept.

    prompts: of the validation rows. Raises `UserError` where there are none to choose by.
    """
    option = f"stage.{context.stage}.select_by={config.select_by}"
    if config.select_by == "last":
        return None
    if not prompts:
        raise UserError(
            f"{option}: no validation rows; raise stage.{context.stage}.validation_fraction"
        )
    if config.select_by == "loss":
        return BestEpoch(context, model, lambda metrics: -metrics["eval_loss"])
    score = ValidationScore(context, text, model, prompts)
    return BestEpoch(context, model, lambda metrics: score())


class ValidationScore:
    """Mean weighted score of the run's reward functions for a model's answers to prompts."""

    def __init__(
        self, context: Context, text: TextFormat, model: LanguageModel, prompts: list[Messages]
    ) -> None:
        self._text, self._model, self._prompts = text, model, prompts
        self._seed = context.config.seed
        rewards = context.build_all("reward")
        if not rewards:
            raise UserError(f"stage.{context.stage}.select_by=reward: reward=[] has none to ask")
        weights = {name: entry.weight for name, entry in context.config.reward.items()}
        self._score = Scorer(rewards, weights, RlConfig(missing_eos_penalty=0.0))
        self._sampler = sampler_for(context, model)

    def __call__(self) -> float:
        """Draws from the run's seed, so that all epochs have the same luck."""
        self._model.model.eval()
        generator = processes.generator(self._seed, self._model.device)
        prompt_ids = [self._text.prompt_ids(prompt) for prompt in self._prompts]
        with unsharded(self._model.model):
            drawn = processes.map_sharded(
                lambda rows: self._sampler.sample(self._model, rows, self._text.ends, generator),
                prompt_ids,
            )
        release(self._sampler)
        scores, _ = self._score(
            self._prompts,
            [self._text.decode(response.ids) for response in drawn],
            prompt_ids,
            drawn,
        )
        return float(scores.mean())
