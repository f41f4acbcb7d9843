"""The scores of a batch of responses: weighted, scaled, clipped, less the missing-EOS penalty."""

from collections.abc import Mapping, Sequence, Set
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from rlhfkit.config.stages import RlConfig
from rlhfkit.console import count_of
from rlhfkit.distributed import processes
from rlhfkit.errors import Stopped, UserError
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.protocols import RewardFunction
from rlhfkit.rl.whitening import RunningMoments
from rlhfkit.types import Messages, Response


class Scorer:
    """One for a run: it knows the scores of earlier batches."""

    def __init__(
        self, rewards: Mapping[str, Any], weights: Mapping[str, float], config: RlConfig
    ) -> None:
        self._rewards, self._weights, self._config = rewards, weights, config
        self._moments = RunningMoments()

    def __call__(
        self,
        prompts: list[Messages],
        completions: list[str],
        prompt_ids: list[list[int]],
        responses: list[Response],
        lower: LowerRows | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """[B] scores as PPO uses them, and each reward function's own numbers.

        Raises `UserError` for a reward function that does not return one finite number each.
        """
        columns = {
            "prompt_ids": prompt_ids,
            "completion_ids": [response.ids for response in responses],
            "finished": [response.ended for response in responses],
            **({"lower": lower} if lower else {}),
        }
        raw = {
            name: torch.tensor(ask(name, function, prompts, completions, columns))
            for name, function in self._rewards.items()
        }
        total = torch.stack([self._weights[name] * values for name, values in raw.items()]).sum(0)
        cut = torch.tensor([not response.ended for response in responses])
        return self._scaled(total) - self._config.missing_eos_penalty * cut, raw

    def state_dict(self) -> dict[str, float]:
        """What it knows of earlier scores."""
        return self._moments.state_dict()

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a state."""
        self._moments.load_state_dict(state)

    def _scaled(self, scores: Tensor) -> Tensor:
        """By the moments of all scores up to these, as TRL's first PPO did, and clipped."""
        if self._config.use_score_scaling:
            self._moments.update(scores)
            shift = self._moments.mean if self._config.use_score_norm else 0.0
            scores = (scores - shift) / self._moments.std
        if self._config.reward_clip is not None:
            scores = scores.clamp(-self._config.reward_clip, self._config.reward_clip)
        return scores


def ask(
    name: str,
    function: RewardFunction,
    prompts: list[Messages],
    completions: list[str],
    columns: Mapping[str, Any],
    kind: str = "reward",
) -> list[float]:
    """A reward function's numbers, or those of another function of its signature; of several
    processes each asks for its share of the rows.

    An error of its own keeps its traceback, and the reward's name is added to it. Raises `Stopped`
    for one that does not return one finite number each.
    """

    def some(rows: Sequence[int]) -> list[float]:
        own = {name: _select(column, rows) for name, column in columns.items()}
        try:
            values = function(_select(prompts, rows), _select(completions, rows), **own)
        except UserError:
            raise
        except Exception as error:
            error.add_note(f"(raised by {kind}={name})")
            raise
        return finite_numbers(name, values, len(rows), kind)

    return processes.map_sharded(some, range(len(completions)))


def _select(column: Any, rows: Sequence[int]) -> Any:
    if isinstance(column, LowerRows):
        return column.select(rows)
    return [column[row] for row in rows]


def finite_numbers(name: str, values: Any, count: int, kind: str = "reward") -> list[float]:
    """What a reward function returned, as numbers; raises `Stopped` unless there are so many."""
    try:
        if isinstance(values, str | bytes | Mapping | Set):  # of texts, keys or no order
            raise TypeError
        # of one without length, which may never end, as many as are wanted and one more
        listed = list(values) if hasattr(values, "__len__") else list(islice(values, count + 1))
    except TypeError:
        raise Stopped(f"{kind} {name}: returned {_short(values)} and no list of numbers") from None
    if len(listed) != count:
        said = f"{count_of(len(listed), 'number')} for {count_of(count, 'completion')}"
        raise Stopped(f"{kind} {name}: returned {said}")
    for index, value in enumerate(listed):
        if not _is_finite(value):
            raise Stopped(
                f"{kind} {name}: returned {_short(value)} for completion {index + 1} of {count}, "
                f"which is not finite"
            )
    return [float(value) for value in listed]


def _is_finite(value: Any) -> bool:
    """In float32, which scores are kept in."""
    try:
        return (
            not isinstance(value, str | bytes)
            and abs(float(value)) <= torch.finfo(torch.float32).max
        )
    except (TypeError, ValueError, OverflowError):
        return False


def _short(value: Any) -> str:
    return f"{' '.join(repr(value).split()):.80}"
