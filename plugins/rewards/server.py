"""reward=server: scores from a server of your own, over HTTP.

Asked: POST {"prompts": [[{"role": ..., "content": ...}, ...], ...], "completions": ["...", ...]}.
Answered: {"scores": [0.5, ...]}, one number per completion in the same order.
"""

import json

from rlhfkit.console import count_of
from rlhfkit.context import Context
from rlhfkit.types import Messages
from rlhfkit_plugins.json_server import JsonServer
from rlhfkit_plugins.rewards import ServerRewardConfig


class ServerReward:
    """Asks for the scores of `batch_size` completions at a time."""

    def __init__(self, config: ServerRewardConfig, context: Context | None = None) -> None:
        self._batch_size = config.batch_size
        self._server = JsonServer("reward.server", config, "is the reward server running there?")

    def __call__(
        self, prompts: list[Messages], completions: list[str], **columns: object
    ) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(completions), self._batch_size):
            part = slice(start, start + self._batch_size)
            scores += self._ask(prompts[part], completions[part])
        return scores

    def _ask(self, prompts: list[Messages], completions: list[str]) -> list[float]:
        text = self._server.post("", {"prompts": prompts, "completions": completions})
        try:
            scores = [float(score) for score in json.loads(text)["scores"]]
        except (ValueError, KeyError, TypeError) as error:
            raise self._server.error(
                f'the answer is not {{"scores": [...]}} with numbers, but {text!r:.80}'
            ) from error
        if len(scores) != len(completions):
            completed = count_of(len(completions), "completion")
            raise self._server.error(f"{count_of(len(scores), 'score')} for {completed}")
        return scores
