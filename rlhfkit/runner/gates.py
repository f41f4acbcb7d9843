"""Limits of `gate.<metric>`, held against what the stage evaluate found, once all stages ran."""

from collections.abc import Iterator, Mapping

from rlhfkit.config.gate import GateConfig
from rlhfkit.errors import GateFailed, nearest
from rlhfkit.reporting import Metrics, Tax, read_metrics, read_tax, shown
from rlhfkit.runner.planned import Planned
from rlhfkit.storage.run_dir import RunDir


def check_gates(gates: Mapping[str, GateConfig], run: RunDir) -> None:
    """Raise `GateFailed`, with a reason for every limit that is exceeded or cannot be told."""
    if not gates:
        return
    metrics, tax = read_metrics(run), read_tax(run)
    failed = [
        reason for name, gate in gates.items() for reason in _reasons(name, gate, metrics, tax)
    ]
    if failed:
        raise GateFailed("; ".join(failed))


def gates_need_evaluation(planned: Planned) -> Iterator[str]:
    """A line where no stage will have measured what the gates bound."""
    evaluated = "evaluate" in (*planned.names, *planned.complete)
    if planned.context.config.gate and not evaluated:
        yield "gate needs the result of stage evaluate: add it, as in stages=[...,evaluate]"


def _reasons(name: str, gate: GateConfig, metrics: Metrics, tax: Tax) -> Iterator[str]:
    policy = "rl" if "rl" in metrics else "sft"
    found = metrics.get(policy, {}).get(name)
    if found is None:
        known = metrics.get(policy, {})
        yield f"gate.{name}: {policy} has no such metric; {nearest(name, known)}"
        return
    said = f"of {policy} is {shown(found)}"
    if gate.min is not None and found.low < gate.min:
        yield f"gate.{name}.min={gate.min:g}: the {name} {said}"
    if gate.max is not None and found.high > gate.max:
        yield f"gate.{name}.max={gate.max:g}: the {name} {said}"
    if gate.max_loss is not None:
        yield from _loss(name, gate, gate.max_loss, policy, tax)


def _loss(name: str, gate: GateConfig, limit: float, policy: str, tax: Tax) -> Iterator[str]:
    option = f"gate.{name}.max_loss={limit:g}"
    entry = tax.get(name)
    delta = entry.deltas.get(gate.against, {}).get(policy) if entry else None
    if entry is None or delta is None:
        yield f"{option}: there is no paired difference of {policy} and {gate.against}"
        return
    loss = -delta.low if entry.better == "higher" else delta.high
    if loss > limit:
        yield f"{option}: {policy} - {gate.against} is {shown(delta)}, {entry.better} is better"
