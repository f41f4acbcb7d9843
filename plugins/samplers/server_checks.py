"""What a vLLM server cannot do for a run, told before anything is trained."""

import re
import shutil
from collections.abc import Iterator
from itertools import chain
from typing import Any

from rlhfkit.config.online import OnlineConfig
from rlhfkit.context import Context
from rlhfkit.data.text_format import load_text_format
from rlhfkit.distributed import processes
from rlhfkit.errors import Mistakes
from rlhfkit.models.loading import is_adapter, load_config
from rlhfkit_plugins.samplers import LOWEST_SERVED_TEMPERATURE, ServerConfig

_LENGTH = "--max-model-len"

_OF_A_RUN = re.compile("base|best|sft|rl_sft|rl|round[0-9]+")

_STRETCHED = ("linear", "dynamic", "yarn")
"""Kinds of RoPE whose factor vLLM multiplies a model's longest text by."""


def check_served(config: ServerConfig, context: Context) -> None:
    """Raise `UserError` with a line for each."""
    found = chain(_temperature(context), _whole_models(context), _other_models(context))
    lines = [*found, *(launched(config, context) if config.launch else ())]
    if lines:
        raise Mistakes(lines)


def launched(config: ServerConfig, context: Context) -> Iterator[str]:
    """What a server that is started here could not serve."""
    if (count := processes.world_size()) > 1:
        yield (
            f"sampler.launch=true: each of {count} processes would start a server; start one "
            f"yourself, and give sampler.url, sampler.model and sampler.adapter_dir"
        )
    if shutil.which(config.command[0]) is None:
        yield (
            f"sampler.command={config.command[0]}: no such command; install vLLM in an environment "
            f"of its own and give its path, as in sampler.command=[/opt/vllm/bin/vllm]"
        )
    wanted, parts = longest(config, context)
    told = f"the longest prompt and answer take {wanted} tokens ({parts})"
    given = _given_length(config.arguments)
    limit = _made_for(load_config(context).get_text_config())
    if given is not None and given < wanted:
        yield f"sampler.arguments: {_LENGTH} {given} is too short: {told}"
    elif given is None and limit is not None and limit < wanted:
        yield (
            f"sampler.launch=true: {told}, and vLLM serves no more than the {limit} that "
            f"{context.config.model.path} was made for; lower model.max_prompt_length"
        )


def longest(config: ServerConfig, context: Context) -> tuple[int, str]:
    """Tokens that the server must have room for, and what they are."""
    prompt, answer = context.config.model.max_prompt_length, config.response_length
    parts = f"model.max_prompt_length={prompt}, sampler.response_length={answer}"
    before = _few_shot(context)
    if before:
        parts += f", stage.evaluate.few_shot {before}"
    return prompt + answer + before, parts


def _few_shot(context: Context) -> int:
    """Tokens before every prompt of the policy `prompted`."""
    turns = context.config.stage.evaluate.few_shot
    if not turns or "evaluate" not in context.config.stages:
        return 0
    text = load_text_format(context)
    prompt = {"role": "user", "content": "a"}
    return len(text.prompt_ids([*turns, prompt])) - len(text.prompt_ids([prompt]))


def _given_length(arguments: list[str]) -> int | None:
    """What the user's own arguments say, where it is a plain number."""
    words = " ".join(arguments)
    found = re.findall(rf"{_LENGTH}[= ](\d+)(?:\s|$)", words)
    return int(found[-1]) if found else None


def _made_for(config: Any) -> int | None:
    """The longest text that vLLM lets a model have; None where its configuration does not say."""
    limit = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if not isinstance(limit, int):
        return None
    stretched = rope.get("rope_type") in _STRETCHED
    return int(limit * (rope.get("factor") or 1.0)) if stretched else limit


def _temperature(context: Context) -> Iterator[str]:
    config = context.config
    temperature = config.stage.evaluate.temperature
    if "evaluate" not in config.stages or temperature is None:
        return
    if temperature < LOWEST_SERVED_TEMPERATURE:
        yield (
            f"stage.evaluate.temperature={temperature:g}: vLLM samples at "
            f"{LOWEST_SERVED_TEMPERATURE:g} and above; stage.evaluate.temperature=0.01 is nearly "
            f"greedy"
        )


def _whole_models(context: Context) -> Iterator[str]:
    """Models that are trained whole, of which the server has none."""
    config = context.config
    if hasattr(config.loader, "lora_r"):
        return
    asking = [name for name, asks in _asking(context).items() if asks and name in config.stages]
    if asking:
        yield (
            f"sampler=server has the base and adapters on it, and loader={config.loader.name} "
            f"trains other models, from which {_stages(asking)} would sample; take loader=lora, "
            f"or sampler=cached"
        )


def _asking(context: Context) -> dict[str, bool]:
    """By stage, whether it samples from a model that the run has trained."""
    config = context.config
    stage = config.stage
    answering = {
        name: name in config.stages or context.model_of(name) is not None for name in ("sft", "rl")
    }
    return {
        "sft": stage.sft.select_by == "reward",
        "rl_sft": stage.rl_sft.select_by == "reward",
        "sample": any(name != "base" for name in stage.sample.models_of(config.round)),
        "rl": isinstance(config.optimizer, OnlineConfig),
        "evaluate": any(answering.values()),
    }


def _stages(names: list[str]) -> str:
    several = f"stages {', '.join(names[:-1])} and {names[-1]}"
    return several if len(names) > 1 else f"stage {names[0]}"


def _other_models(context: Context) -> Iterator[str]:
    """Models by path that are no adapters on the base."""
    config = context.config
    named: list[tuple[str, str | None]] = []
    if "sample" in config.stages:
        option = "stage.sample.models" if config.round == 1 else "stage.sample.round_models"
        named += [(option, name) for name in config.stage.sample.models_of(config.round)]
    if "evaluate" in config.stages:
        opponents = config.stage.evaluate.opponents
        named += [(f"stage.evaluate.opponents.{name}", path) for name, path in opponents.items()]
    for option, name in named:
        known = name is None or _OF_A_RUN.fullmatch(name) or name == config.model.path
        if not known and not is_adapter(name):
            yield (
                f"{option}={name}: no adapter on {config.model.path}, and sampler=server has that "
                f"and its adapters only; take sampler=cached"
            )
