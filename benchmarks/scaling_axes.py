"""What the scaling benchmark varies, and how costs must grow with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memory_setup import configured
from plan_check import SMALL

Overrides = list[str]


@dataclass(frozen=True)
class Theory:
    """How a cost grows: as the size to the power of at most `most`."""

    most: float
    text: str
    why: str


@dataclass(frozen=True)
class Point:
    """One configuration of an axis."""

    size: float
    overrides: Overrides
    shape: dict[str, Any]
    stage: str
    phase: str


@dataclass(frozen=True)
class Axis:
    """A size, what depends on it and how."""

    what: str
    points: list[Point]
    counts: Callable[[str], bool]
    """Whether a part of the plan is looked at."""

    memory: Theory
    time: Theory | None
    """None where only memory is looked at."""


def _update(size: float, *overrides: str, shape: dict[str, Any] = SMALL) -> Point:
    return Point(size, list(overrides), shape, "rl", "update")


def _lora(prompt: int, response: int, batch: int) -> Overrides:
    return ["loader=lora", *configured(prompt, response, batch)]


def _of_width(hidden: int) -> Point:
    """Layers and vocabulary stay, so weights grow as the square but for the embeddings."""
    heads = hidden // 64
    shape = SMALL | {
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "vocab_size": 4096,
    }
    attention, mlp = 3 * hidden**2, 3 * hidden * 3 * hidden
    size = shape["num_hidden_layers"] * (attention + mlp) + 4096 * hidden
    return _update(size / 1e6, *_lora(64, 64, 4), shape=shape)


def _ranking(completions: int) -> Point:
    overrides = [
        *_lora(64, 64, 4),
        "stage.reward_model.per_device_train_batch_size=1",
        f"stage.sample.num_completions={completions}",
    ]
    return Point(completions, overrides, SMALL, "reward_model", "reward_model")


def _roles(loader: str) -> list[Point]:
    """The policy alone; with reference and value model; with the reward model too."""
    common = [f"loader={loader}", *configured(64, 64, 4)]
    ppo, rloo = [*common, "optimizer=ppo"], [*common[:-1], "optimizer=rloo", "reward=[length]"]
    return [Point(1, common, SMALL, "sft", "sft"), _update(3, *rloo), _update(4, *ppo)]


def _is_weights(part: str) -> bool:
    return part in ("base", "adapters")


def _is_not_weights(part: str) -> bool:
    return not _is_weights(part)


def _is_activation(part: str) -> bool:
    return part == "activations"


AXES = {
    "batch": Axis(
        "sequences at once",
        [_update(batch, *_lora(64, 64, batch)) for batch in (2, 4, 8)],
        _is_activation,
        Theory(1, "1", "activations of every sequence"),
        Theory(1, "1", "every sequence costs the same"),
    ),
    "micro-batches": Axis(
        "sequences, 2 at once",
        [
            _update(batch, *_lora(64, 64, batch), "stage.rl.micro_batch_size=2")
            for batch in (2, 4, 8)
        ],
        _is_activation,
        Theory(0, "0", "gradients accumulate"),
        Theory(1, "1", "every sequence costs the same"),
    ),
    "length": Axis(
        "tokens of a sequence",
        [_update(length, *_lora(16, length - 16, 2)) for length in (64, 128, 256, 512)],
        _is_activation,
        Theory(1, "1", "no attention scores are kept"),
        Theory(2, "1 to 2", "weights cost 1, attention 2"),
    ),
    "completions": Axis(
        "completions of a prompt",
        [_ranking(completions) for completions in (2, 4, 8)],
        _is_activation,
        Theory(1, "1", "K sequences, not K (K - 1) / 2 pairs"),
        Theory(1, "1", "each completion is read once"),
    ),
    "model": Axis(
        "million parameters",
        [_of_width(hidden) for hidden in (256, 512, 1024)],
        lambda part: True,
        Theory(1, "1/2 to 1", "weights 1, activations 1/2 in a wider model"),
        Theory(1, "1", "every weight is used once a token"),
    ),
    "roles-lora": Axis(
        "roles, loader=lora",
        _roles("lora"),
        _is_weights,
        Theory(0.2, "about 0", "one base, an adapter each"),
        None,
    ),
    "roles-full": Axis(
        "roles, loader=full",
        _roles("full"),
        _is_weights,
        Theory(1, "1", "a model each"),
        None,
    ),
}
