"""The plan of a run: peak memory and time of every phase, from the model's configuration alone."""

import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from rlhfkit.component import GROUPS
from rlhfkit.config.run import RunConfig
from rlhfkit.config.trainer import TrainingConfig
from rlhfkit.context import Context
from rlhfkit.models.batch_size import micro_batch, rows_of
from rlhfkit.models.loading import load_config
from rlhfkit.models.sampling import STAGES
from rlhfkit.planning.card import WORKSPACES, card_of
from rlhfkit.planning.depth import Depth, add, depths, shallow, weighted_sum
from rlhfkit.planning.meter import MemoryMeter, Rates, Reading
from rlhfkit.planning.phases import SHORT, Lengths, Rehearsal
from rlhfkit.planning.worst_case import fake_tensors
from rlhfkit.stage import Stage
from rlhfkit.stages.registry import find_stage, stages_of
from rlhfkit.trainers.optim import UNPAGED

_SAMPLERS = next(group for group in GROUPS if group.name == "sampler")

SERVER = "server"
"""The part of a phase's peak that no tensor here takes: a sampler's options may say, as
`card_share`, how much of the card a process of its own has while a stage that samples runs."""

STAGE_PHASES = {
    "sft": ("sft",),
    "rl_sft": ("rl_sft",),
    "sample": ("sample",),
    "reward_model": ("reward_model",),
    "rl": ("rollout", "score", "update"),
    "evaluate": ("evaluate",),
}
"""What each stage with a model on the device consists of."""


@dataclass(frozen=True)
class PhasePlan:
    """One phase at its largest."""

    stage: str
    parts: Mapping[str, float]
    """Bytes by part at the peak."""

    seconds: float
    """Time of all its batches, or of 1,000 sequences where the options do not tell their number."""

    whole: bool
    """Whether `seconds` is of all."""

    @property
    def peak(self) -> float:
        """Bytes."""
        return sum(self.parts.values())


def plan_run(context: Context, rates: Rates, stages: Iterable[str]) -> dict[str, PhasePlan]:
    """Every phase of the chosen stages. context: one with `dry_run`."""
    found: dict[str, PhasePlan] = {}
    known = stages_of(context.plugins)
    for name in stages:
        stage = find_stage(name, known)
        if stage.name == "evaluate" and "sample" in found:
            found[stage.name] = _as_evaluate(context.config, found["sample"])
        elif stage.planned_as is not None:
            phases = _plan_stage(context, rates, stage.planned_as)
            found |= _named_by(stage, phases)
    return found


def _named_by(stage: Stage, phases: dict[str, PhasePlan]) -> dict[str, PhasePlan]:
    """The phases of a stage that is planned as another one bear its own name before theirs."""
    if stage.name == stage.planned_as:
        return phases
    return {
        stage.name if len(phases) == 1 else f"{stage.name} {phase}": replace(plan, stage=stage.name)
        for phase, plan in phases.items()
    }


def _as_evaluate(config: RunConfig, sample: PhasePlan) -> PhasePlan:
    """The evaluation draws as the sample stage does, one policy in memory at a time."""
    total = _sequences(config, "evaluate")[1] or 0
    of = _sequences(config, "sample")[1] or 1000
    return replace(sample, stage="evaluate", seconds=sample.seconds / of * total, whole=True)


def _plan_stage(context: Context, rates: Rates, stage: str) -> dict[str, PhasePlan]:
    config = load_config(context)
    last_layers = getattr(context.config.loader, "lora_last_layers", None)
    readings = weighted_sum(
        (depth.weight, _rehearse(context, rates, stage, config, depth))
        for depth in depths(config.get_text_config(), last_layers)
    )
    response = Lengths.of(context.config).response
    phases = {
        phase: _phase_plan(context, stage, phase, reading)
        for phase in STAGE_PHASES[stage]
        for reading in [_whole(context, readings, phase, response)]
        if reading is not None
    }
    if stage == "rl" and phases:
        kept = _kept_in_rl(context, phases["rollout"], _drawn(readings, "rollout", response))
        phases |= {name: _with_cache(phases[name], kept) for name in ("score", "update")}
    return phases


def _kept_in_rl(context: Context, rollout: PhasePlan, drawn: Mapping[str, Reading]) -> float:
    """Bytes that the sampler keeps while others compute: what it was seen to keep, or, where it is
    planned as another one, that one's cache if its options say so by `keeps_cache`."""
    if getattr(context.config.sampler, "keeps_cache", False):
        return rollout.parts.get("KV cache", 0.0)
    return _kept(drawn) + _graphs(context, drawn)


def _with_cache(phase: PhasePlan, kept: float) -> PhasePlan:
    """A phase while a sampler keeps that much."""
    return replace(phase, parts=defaultdict(float, {**phase.parts, "KV cache": kept}))


def _rehearse(
    context: Context, rates: Rates, stage: str, config: Any, depth: Depth
) -> dict[str, Reading]:
    """The readings of one stage on a shallow model."""
    episodes = context.config.stage.rl.batch_size
    settings = _single_batches(context.config)
    settings.sampler = rehearsed_sampler(context)
    if depth.last_layers is not None:
        settings.loader.lora_last_layers = depth.last_layers
    assert context.dry_run is not None
    planned = replace(context.dry_run, model_config=shallow(config, depth))
    context = replace(context, config=settings, dry_run=planned)
    meter = MemoryMeter(config.get_text_config().vocab_size, rates)
    with fake_tensors(), meter:
        getattr(Rehearsal(context, Lengths.of(context.config), meter, episodes), stage)()
    return meter.readings


def _single_batches(config: RunConfig) -> RunConfig:
    """The same run with as few micro-batches as show the peak: more of them repeat it."""
    settings = copy.deepcopy(config)
    rl, optimizer = settings.stage.rl, settings.optimizer
    if hasattr(optimizer, "num_ppo_epochs"):
        minibatch = -(-rl.batch_size // optimizer.num_mini_batches)
        size = micro_batch(rl)
        rl.micro_batch_size = min(rows_of(size, Lengths.of(config).episode), minibatch)
        group = getattr(optimizer, "num_generations", 1)
        rl.batch_size = -(-min(minibatch, 2 * rl.micro_batch_size) // group) * group
        optimizer.num_ppo_epochs = optimizer.num_mini_batches = 1
        texts = minibatch * (optimizer.ptx_per_episode or 0) or optimizer.ptx_batch_size
        optimizer.ptx_batch_size = min(texts, rows_of(size, optimizer.ptx_length))
        optimizer.ptx_per_episode = None
    stages = settings.stage
    for options in (optimizer, stages.sft, stages.rl_sft, stages.reward_model):
        if hasattr(options, "optim"):  # pages are counted as if they stayed on the card
            options.optim = UNPAGED.get(options.optim, options.optim)
    if hasattr(optimizer, "critic_warmup"):
        optimizer.critic_warmup = 0
    settings.reward = {
        name: entry
        for name, entry in settings.reward.items()
        if entry.name == "reward_model" and entry.path is None
    }
    return settings


def rehearsed_sampler(context: Context) -> Any:
    """The options of the sampler to rehearse: a sampler whose loop looks at values, which fake
    tensors do not have, declares another one of about its memory in `planned_as`."""
    options = context.config.sampler
    name = getattr(options, "planned_as", None)
    if name is None:
        return options
    schema = _SAMPLERS.schema(context.plugins.find(_SAMPLERS, name).component)
    taken = {item.name for item in fields(schema)} - {"name"}
    return schema(**{key: value for key, value in vars(options).items() if key in taken})


def _whole(
    context: Context, readings: Mapping[str, Reading], phase: str, response: int
) -> Reading | None:
    """A phase's reading; for sampling that of reading prompts and decoding to the full length."""
    if phase in readings:
        return readings[phase]
    if f"{phase}/prompts/{SHORT[0]}" not in readings:
        return None
    drawn = _drawn(readings, phase, response)
    prompts, tokens = _highest(drawn["prompts"]), _highest(drawn["tokens"])
    prompts["activations"] += _graphs(context, drawn)  # type: ignore[assignment]
    highest = max(prompts, tokens, key=Counter.total)
    seconds = drawn["prompts"].seconds + drawn["tokens"].seconds
    return Reading(seconds, {highest["logits"] > 0: highest})


def _drawn(readings: Mapping[str, Reading], phase: str, response: int) -> dict[str, Reading]:
    """What sampling takes at the full length: to read prompts, to decode, and afterwards, with the
    sampler and without it."""
    few, more = (f"{phase}/{{}}/{length}" for length in SHORT)
    share = (
        (response - SHORT[0]) / (SHORT[1] - SHORT[0]) if more.format("prompts") in readings else 0.0
    )
    found = {}
    for part in ("prompts", "tokens", "kept", "without"):
        whole = found[part] = Reading()
        add(whole, readings.get(few.format(part), Reading()), 1 - share)
        add(whole, readings.get(more.format(part), Reading()), share)
    return found


def _kept(drawn: Mapping[str, Reading]) -> float:
    """Bytes that stay with the sampler."""
    return _highest(drawn["kept"]).total() - _highest(drawn["without"]).total()


def _graphs(context: Context, drawn: Mapping[str, Reading]) -> float:
    """Bytes that recorded steps hold: what a step makes stays with its graph on a card."""
    if context.device_kind != "cuda" or _kept(drawn) == 0:
        return 0.0
    return _highest(drawn["tokens"]).total() - _highest(drawn["kept"]).total()


def _highest(reading: Reading) -> Counter[str]:
    return max(reading.peaks.values(), key=Counter.total, default=Counter())


def _phase_plan(context: Context, stage: str, phase: str, reading: Reading) -> PhasePlan:
    sequences, total = _sequences(context.config, phase)
    seconds = reading.seconds / sequences * (total or 1000)
    parts: defaultdict[str, float] = defaultdict(float)
    parts.update(_highest(reading))
    if context.device_kind == "cuda":
        parts["activations"] += WORKSPACES
        if taken := _served(context.config, stage):
            parts[SERVER] = taken
    return PhasePlan(stage, parts, seconds, total is not None)


def _served(config: RunConfig, stage: str) -> float:
    """Bytes of the card that the sampler's own process has while a stage samples."""
    share, card = getattr(config.sampler, "card_share", 0.0), card_of(config)
    chosen_by = getattr(getattr(config.stage, stage), "select_by", None)
    samples = stage in STAGES or chosen_by == "reward"
    return share * card.size if card is not None and samples else 0.0


def _batch(config: TrainingConfig) -> int:
    """Texts that a rehearsal trains on."""
    return config.per_device_train_batch_size * min(config.gradient_accumulation_steps, 2)


def _sequences(config: RunConfig, phase: str) -> tuple[float, float | None]:
    """How many sequences a rehearsal of the phase takes, and the run; None where only the data
    knows."""
    stage, sampler = config.stage, getattr(config.sampler, "batch_size", 1)
    sampled = stage.sample.num_prompts
    answers = sampled * stage.sample.num_completions if sampled else None
    rl = _single_batches(config).stage.rl
    epochs = getattr(config.optimizer, "num_ppo_epochs", 1)
    table: dict[str, tuple[float, float | None]] = {
        "sft": (_batch(stage.sft), None),
        "rl_sft": (_batch(stage.rl_sft), None),
        "sample": (sampler, answers),
        "reward_model": (
            _batch(stage.reward_model) * stage.sample.num_completions,
            answers * stage.reward_model.num_train_epochs if answers else None,
        ),
        "rollout": (sampler, stage.rl.total_episodes),
        "score": (rl.micro_batch_size, stage.rl.total_episodes),
        "update": (rl.batch_size, stage.rl.total_episodes * epochs),
        "evaluate": (sampler, 3 * stage.evaluate.num_prompts * stage.evaluate.num_completions),
    }
    return table[phase]
