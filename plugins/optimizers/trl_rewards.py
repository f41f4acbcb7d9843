"""This run's rewards for TRL's trainers."""

from typing import Any

from datasets import Dataset

from rlhfkit.context import Context
from rlhfkit.data.text_format import TextFormat
from rlhfkit.distributed import processes
from rlhfkit.online.metrics import distinct_share, reward_metrics
from rlhfkit.online.scoring import Scorer
from rlhfkit.storage.state_file import State
from rlhfkit.types import Messages, Response


class Rewards:
    """The weighted sum of the run's rewards, as the shared loop takes it, in TRL's signature."""

    def __init__(self, context: Context, text: TextFormat, prompts: list[Messages]) -> None:
        weights = {name: entry.weight for name, entry in context.config.reward.items()}
        self._score = Scorer(context.build_all("reward"), weights, context.config.stage.rl)
        self._text, self._prompts = text, prompts
        self.batch_size = context.config.stage.rl.batch_size
        self._episodes = 0
        self.metrics: dict[str, float] = {}
        """Numbers of the last batch, under the names of the online optimizers."""

    def dataset(self) -> Dataset:
        """What TRL trains on: token ids, and the places of prompts, by which it asks for scores."""
        ids = [self._text.prompt_ids(prompt) for prompt in self._prompts]
        return Dataset.from_dict({"prompt": ids, "place": range(len(ids))})

    def scores(
        self, prompts: list[list[int]], completion_ids: list[list[int]], place: list[int], **_: Any
    ) -> list[float]:
        """A score per completion, from its tokens up to its end. TRL gives every process as many of
        the batch; they score it together, as `rlhfkit.online.loop` does."""
        first = processes.rank() * len(place)
        own = slice(first, first + len(place))
        prompts, places = processes.gather(prompts), processes.gather(place)
        completion_ids = processes.gather(completion_ids)
        responses = [Response.from_ids(ids, [], self._text.ends) for ids in completion_ids]
        completions = [self._text.decode(ids) for ids in completion_ids]
        scores, raw = self._score(
            [self._prompts[item] for item in places],
            completions,
            prompts,
            responses,
        )
        self._episodes += len(responses)
        self.metrics = {
            "objective/scores": float(scores.mean()),
            "response/length": sum(map(len, completion_ids)) / len(responses),
            "response/eos_share": sum(item.ended for item in responses) / len(responses),
            "response/distinct_share": distinct_share(completions),
            **reward_metrics(raw),
            "episode": self._episodes,
        }
        return [float(score) for score in scores[own]]

    def state_dict(self) -> State:
        """What it knows of earlier batches."""
        return {"score": self._score.state_dict(), "episodes": self._episodes}

    def load_state_dict(self, state: State) -> None:
        """Go on from a state."""
        self._score.load_state_dict(state["score"])
        self._episodes = state["episodes"]
