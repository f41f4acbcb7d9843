"""What both sides of the PPO benchmark are given: models, prompts, settings.

Both scripts, `rlhfkit_ppo.py` and `trl_ppo.py`, read a JSON file with the keys of `Settings` and
write one with the keys of `Result`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from memory_setup import composed
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from rlhfkit.context import Context
from rlhfkit.data import sources
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.models.loading import load_causal_lm, locate
from rlhfkit.models.scalar_model import fresh_head
from rlhfkit.types import Messages
from rlhfkit_plugins.loaders.targets import target_modules

FIXED_PROMPT = 64
"""Tokens of each prompt of the load `fixed`."""

LOADS = ("mixed", "fixed")
"""mixed: the quickstart's prompts, answers end by themselves. fixed: texts cut to one length, every
answer goes on to the limit."""


@dataclass(frozen=True)
class Choice:
    """What is the same for all runs."""

    model: str
    """A directory or hub name."""

    batch_size: int
    micro_batch_size: int
    num_ppo_epochs: int
    response_length: int
    iterations: int
    """The first ones, which are not counted, included."""

    upper_layers: int
    """How many layers have adapters where not all have."""

    lora_r: int = 16
    lora_alpha: int = 32
    learning_rate: float = 3e-4
    kl_coef: float = 0.02


class Settings(TypedDict):
    """Of one run; beside these keys, the fields of `Choice`."""

    model_folder: str
    """Where the model is, or its hub name."""

    classifier: str
    """Folder of the reward model as transformers writes it."""

    reward_model: str
    """Folder of the same one as rlhfkit writes it."""

    target_modules: list[str]
    lora_last_layers: int | None
    """None: adapters in all layers."""

    layers: list[int] | None
    """The same as a list."""

    natural_ends: bool
    prompts: list[Messages]
    prompt_ids: list[list[int]]
    """The same as tokens, template included."""

    pad_token_id: int
    """One that no prompt has."""

    seed: int


class Result(TypedDict):
    """Of one run; lists with a number per iteration."""

    ended_at: list[float]
    """Seconds, by a clock of the run's own."""

    scores: list[float]
    """Means of the reward model's."""

    tokens: list[int]
    """Of the answers, without padding."""

    peak_bytes: int
    """Highest allocated on the GPU; without one, highest resident memory of the process."""

    before_bytes: int
    """The same before any model was loaded."""

    threads: int
    versions: dict[str, str]


def write_models(choice: Choice, folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    """Write the reward model in all forms; by name of the adapters' layers, what is set for them.

    It is the model itself under a head drawn at random, with adapters that have no effect yet: what
    a reward costs does not depend on what it prefers.
    """
    context = quickstart(choice, folder)
    body = load_causal_lm(context)
    torch.manual_seed(seed)
    head = fresh_head(body.config.get_text_config().hidden_size).weight.detach()
    shared = asdict(choice) | {
        "model_folder": locate(context, choice.model),
        "classifier": str(folder / "classifier"),
        "target_modules": target_modules(body, None),
    }
    _write_classifier(shared["model_folder"], head, folder / "classifier")
    layers = body.config.get_text_config().num_hidden_layers
    upper = min(choice.upper_layers, layers)
    return {
        name: shared
        | {
            "reward_model": _write_reward_model(choice, last, head, folder / f"last-{last}"),
            "lora_last_layers": last,
            "layers": list(range(layers - last, layers)) if last else None,
        }
        for name, last in {"all": None, f"upper {upper}": upper}.items()
    }


def prompts_of(load: str, choice: Choice, folder: Path) -> dict[str, Any]:
    """All prompts of a load, as messages and as tokens, and what else depends on it."""
    context = quickstart(choice, folder)
    text = load_text_format(context)
    make = _mixed if load == "mixed" else _fixed
    prompts, ids = zip(*make(context, text), strict=True)
    used = {*text.ends.ids}.union(*ids)
    return {
        "prompts": prompts,
        "prompt_ids": ids,
        "natural_ends": load == "mixed",
        "pad_token_id": next(token for token in range(len(text.tokenizer)) if token not in used),
    }


def quickstart(choice: Choice, folder: Path, options: tuple[str, ...] = ()) -> Context:
    """A context with the quickstart's data and template; folder: of its run."""
    lora = (
        "loader=lora",
        f"loader.lora_r={choice.lora_r}",
        f"loader.lora_alpha={choice.lora_alpha}",
    )
    return composed(
        ["recipe=quickstart", f"model.path={choice.model}", "optimizer=ppo", *lora, *options],
        folder,
    )


def _mixed(context: Context, text: TextFormat) -> Iterator[tuple[Messages, list[int]]]:
    for prompt in sources.training_prompts(context, text):
        yield prompt, text.prompt_ids(prompt)


def _fixed(context: Context, text: TextFormat) -> Iterator[tuple[Messages, list[int]]]:
    """The quickstart's texts, one after the other, in pieces whose text has the same tokens."""
    ids = text.text_ids(" ".join(sources.pretraining_texts(context)))
    plain = replace(text, chat=False)
    for start in range(0, len(ids) - FIXED_PROMPT, FIXED_PROMPT):
        piece = ids[start : start + FIXED_PROMPT]
        prompt = [{"role": "user", "content": text.tokenizer.decode(piece)}]
        if plain.prompt_ids(prompt) == piece:
            yield prompt, piece


def _write_classifier(model: str, head: Tensor, folder: Path) -> None:
    classifier = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
    with torch.no_grad():
        classifier.score.weight.copy_(head)
    classifier.save_pretrained(folder)


def _write_reward_model(choice: Choice, last: int | None, head: Tensor, folder: Path) -> str:
    option = f"loader.lora_last_layers={'null' if last is None else last}"
    context = quickstart(choice, folder, (option,))
    made = context.build("loader").scalar_model(choice.model, trainable=True)
    with torch.no_grad():
        made.head.weight.copy_(head)
    made.save(folder)
    return str(folder)
