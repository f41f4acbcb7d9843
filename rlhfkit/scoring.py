"""The scores of a batch of responses: weighted, scaled, clipped, less the missing-EOS penalty."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhfkit import processes
from rlhfkit.errors import UserError
from rlhfkit.models.lower_layers import LowerRows
from rlhfkit.protocols import RewardFunction
from rlhfkit.rl.whitening import RunningMoments
from rlhfkit.stage_configs import RlConfig
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
            "finished": [response.finished for response in responses],
            **({"lower": lower} if lower else {}),
        }
        raw = {
            name: torch.tensor(ask(name, function, prompts, completions, columns))
            for name, function in self._rewards.items()
        }
        total = torch.stack([self._weights[name] * values for name, values in raw.items()]).sum(0)
        cut = torch.tensor([not response.finished for response in responses])
        return self._scaled(total) - self._config.missing_eos_penalty * cut, raw

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
) -> list[float]:
    """A reward function's numbers; of several processes each asks for its share of the rows.

    Raises `UserError` for one that does not return one finite number each.
    """

    def some(rows: Sequence[int]) -> list[float]:
        own = {name: _select(column, rows) for name, column in columns.items()}
        values = function(_select(prompts, rows), _select(completions, rows), **own)
        return _checked(name, values, len(rows))

    return processes.shared(some, range(len(completions)))


def _select(column: Any, rows: Sequence[int]) -> Any:
    if isinstance(column, LowerRows):
        return column.select(rows)
    return [column[row] for row in rows]


def _checked(name: str, values: Sequence[float], count: int) -> list[float]:
    if len(values) != count:
        raise UserError(f"reward {name}: returned {len(values)} numbers for {count} completions")
    tensor = torch.tensor([float(value) for value in values])
    if not tensor.isfinite().all():
        raise UserError(f"reward {name}: returned a number that is not finite")
    return tensor.tolist()
