"""Plans of deep models from shallow ones.

Layers are alike, so bytes and seconds grow evenly with their number: two shallow models tell what a
deep one takes, in a fraction of the time. Where only the upper layers have adapters, the two kinds
of layers are counted apart.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlhfkit.planning.meter import Reading


@dataclass(frozen=True)
class Depth:
    """A model of fewer layers, and the weight of its readings in the deep model's."""

    layers: int
    last_layers: int | None
    weight: float


def depths(config: Any, last_layers: int | None) -> list[Depth]:
    """Shallow versions whose weighted readings add up to those of the model.

    config: of the text model. last_layers: how many upper layers have adapters; None for all.
    """
    layers, period = config.num_hidden_layers, _period(config)
    few = 2 * period  # with a single layer the peak may lie elsewhere
    if layers <= 2 * few:
        return [Depth(layers, last_layers, 1.0)]
    if last_layers is None or last_layers >= layers:
        share = (layers - few) / period
        return [Depth(few, None, 1 - share), Depth(few + period, None, share)]
    upper, lower = (last_layers - few) / period, (layers - last_layers - few) / period
    return [
        Depth(2 * few, few, 1 - upper - lower),
        Depth(2 * few + period, few + period, upper),
        Depth(2 * few + period, few, lower),
    ]


def shallow(config: Any, depth: Depth) -> Any:
    """A copy of a model's configuration with fewer layers."""
    made = copy.deepcopy(config)
    text = made.get_text_config()
    text.num_hidden_layers = depth.layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[: depth.layers]
    return made


def weighted_sum(readings: Iterable[tuple[float, Mapping[str, Reading]]]) -> dict[str, Reading]:
    """Readings of the deep model, phase by phase."""
    total: dict[str, Reading] = {}
    for weight, phases in readings:
        for name, reading in phases.items():
            add(total.setdefault(name, Reading()), reading, weight)
    return total


def add(total: Reading, reading: Reading, weight: float) -> None:
    """total += weight * reading."""
    total.seconds += weight * reading.seconds
    for logits, parts in reading.peaks.items():
        peak = total.peaks.setdefault(logits, Counter())
        for part, size in parts.items():
            peak[part] += weight * size  # type: ignore[assignment]


def _period(config: Any) -> int:
    """After how many layers their kinds repeat, as sliding and full attention in Gemma."""
    kinds = getattr(config, "layer_types", None) or [None]
    return next(
        period
        for period in range(1, len(kinds) + 1)
        if all(kind == kinds[index % period] for index, kind in enumerate(kinds))
    )
