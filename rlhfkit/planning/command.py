"""`rlhfkit plan`: the table, and whether the run fits; and the same check before a run."""

import math
from dataclasses import replace

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.box import SIMPLE
from rich.table import Column, Table

from rlhfkit.config.memory_size import GIB
from rlhfkit.config.run import RunConfig
from rlhfkit.console import console
from rlhfkit.context import Context, DryRun
from rlhfkit.errors import UserError
from rlhfkit.models.attention import planned_attention
from rlhfkit.planning.budget import Plan, nearest_fit
from rlhfkit.planning.card import Card, card_of
from rlhfkit.planning.meter import PARTS, Rates
from rlhfkit.planning.plan import SERVER, plan_run, rehearsed_sampler
from rlhfkit.planning.rates import ASSUMED, measured_rates


def show_plan(context: Context) -> None:
    """Print peak memory and time by phase, and whether it fits or what would."""
    config, here = context.config, torch.cuda.is_available()
    context = _planned(context)
    assert context.dry_run is not None
    assumed = context.dry_run.device_kind == "cuda" and not here
    rates = ASSUMED if assumed else measured_rates(torch.device(context.dry_run.device_kind))
    with console.status("planning"):
        plan = plan_run(context, rates, config.stages)
    if not plan:
        raise UserError(f"stages={config.stages}: none of them has a model on the device")
    console.print(_table(config, plan))
    console.print(_about_time(rates, assumed), soft_wrap=True)
    if "update" not in plan and "rl" in config.stages:
        console.print(f"optimizer={config.optimizer.name}: a trainer of TRL's, not planned")
    if config.stage.reward_model.start is not None:
        console.print("stage.reward_model.start: counted as if of the policy's size")
    if (sampler := rehearsed_sampler(context)) is not config.sampler:
        name = config.sampler.name
        console.print(f"sampler={name}: counted as if sampler={sampler.name}", markup=False)
    if (attention := config.model.attn_implementation) != planned_attention(context):
        line = f"model.attn_implementation={attention}: counted as if it were sdpa"
        console.print(line, markup=False)
    card = card_of(config)
    if card is not None:
        console.print(_verdict(context, plan, card, rates), markup=False, soft_wrap=True)


def refuse_misfit(context: Context, card: Card, stages: list[str]) -> None:
    """Raise `UserError` when a phase of these stages will not fit the card."""
    planned = _planned(context)
    with console.status("checking that the run fits the card"):
        plan = plan_run(planned, ASSUMED, stages)
    if any(phase.peak > card.usable for phase in plan.values()):
        raise UserError(_verdict(planned, plan, card, ASSUMED))


def _planned(context: Context) -> Context:
    on_gpu = context.config.gpu is not None or torch.cuda.is_available()
    return replace(context, dry_run=DryRun("cuda" if on_gpu else "cpu"))


def _table(config: RunConfig, plan: Plan) -> Table:
    parts = dict(zip(PARTS, _SHORT, strict=True))
    if any(SERVER in phase.parts for phase in plan.values()):
        del parts["KV cache"]  # which is the server's
        parts[SERVER] = SERVER
    shown = (*parts.values(), "peak", "time")
    table = Table(
        Column("phase", overflow="fold"),
        *(Column(name, justify="right", no_wrap=True) for name in shown),
        title=f"{config.model.path}, loader={config.loader.name}: GB (2^30 bytes) at each phase's "
        "peak, longest texts",
        title_justify="left",
        box=SIMPLE,
        padding=0,
    )
    highest = max(phase.peak for phase in plan.values())
    for name, phase in plan.items():
        style = "bold" if phase.peak == highest else ""
        sizes = [_size(phase.parts[part]) for part in parts]
        table.add_row(
            name, *sizes, _size(phase.peak), _time(phase.seconds, phase.whole), style=style
        )
    return table


_SHORT = ("base", "adapt.", "grad.", "optim.", "activ.", "KV", "logits")
"""`PARTS`, for narrow terminals."""


def _size(size: float) -> str:
    """GB in at most six letters, so that nine columns of numbers fit 80."""
    return f"{size / GIB:.2f}" if size < 999.995 * GIB else f"{size / GIB:.0f}"


def _time(seconds: float, whole: bool) -> str:
    """In nine letters at most, a thousand hours apart."""
    hours = seconds / 3600
    if seconds < 600:
        shown = f"{seconds:.0f} s"
    elif seconds < 6000:
        shown = f"{seconds / 60:.0f} min"
    else:
        shown = f"{hours:.1f} h" if hours < 100 else f"{hours:.0f} h"
    return shown if whole else f"{shown}/1k"


def _about_time(rates: Rates, assumed: bool) -> str:
    source = "assumed of a card that is not here" if assumed else "measured here"
    return (
        f"time (1k: of a thousand texts): every operation at {rates.flops / 1e12:.3g} TFLOP/s or "
        f"{rates.bytes / 1e9:.3g} GB/s, {source}; real runs take longer"
    )


def _verdict(context: Context, plan: Plan, card: Card, rates: Rates) -> str:
    """One line: fits, or the phase that does not and the nearest settings that do."""
    phase = max(plan, key=lambda name: plan[name].peak)
    peak, limit = plan[phase].peak / GIB, card.usable
    room = f"of the {limit / GIB:.1f} GB that {card} leaves to tensors"
    if plan[phase].peak <= limit:
        return f"fits: {phase} peaks at {peak:.1f} GB {room}"
    found = nearest_fit(
        plan,
        limit,
        _configure,
        lambda config, stage: plan_run(replace(context, config=config), rates, [stage]),
    )
    nearest = "nothing but a smaller model or shorter texts would"
    if found:
        nearest = f"it would with {' '.join(found)}"
    elif (share := _server_share(plan, card)) > 0:
        nearest = f"it would with {share:.2f} of the card for sampler={context.config.sampler.name}"
    taken = plan[phase].parts.get(SERVER, 0.0) / GIB
    for_server = f" ({taken:.1f} GB of them the sampler's server)" if taken else ""
    return f"does not fit: {phase} needs {peak:.1f} GB{for_server} {room}; {nearest}"


def _server_share(plan: Plan, card: Card) -> float:
    """The largest share of the card that leaves every phase enough, in hundredths."""
    left = [
        card.usable - phase.peak + phase.parts.get(SERVER, 0.0)
        for phase in plan.values()
        if phase.peak > card.usable or SERVER in phase.parts
    ]
    served = any(SERVER in phase.parts for phase in plan.values())
    return math.floor(100 * min(left) / card.size) / 100 if served else 0.0


def _configure(overrides: list[str]) -> RunConfig:
    """The run of the command line with more overrides."""
    typed = list(HydraConfig.get().overrides.task)
    config = OmegaConf.to_object(compose("config", [*typed, *overrides]))
    assert isinstance(config, RunConfig)
    return config
