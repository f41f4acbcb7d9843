"""The values that travel between stages and components.

Shape letters: B sequences, T response tokens, L tokens of prompt and response, K completions.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Message = dict[str, Any]
"""`{"role": "user" | "assistant" | "system" | "tool", "content": text}`, and whatever else a chat
template reads of it: `tool_calls`, `name`, `reasoning_content`. The first message of a prompt also
holds what the template reads beside messages: `tools`, `chat_template_kwargs`."""

Messages = list[Message]
"""A conversation whose last message the model answers."""

Split = Literal["demonstrations", "prompts", "eval_prompts", "pretraining", "rankings"]
"""What a data source can be asked for."""

SPLITS: tuple[Split, ...] = (
    "demonstrations",
    "prompts",
    "eval_prompts",
    "pretraining",
    "rankings",
)


@dataclass(frozen=True)
class Demonstration:
    """What a labeler wrote as the answer to a prompt."""

    prompt: Messages
    completion: str

    answer: Message | None = None
    """The whole message where it is more than its text: `tool_calls`, `reasoning_content`."""


@dataclass(frozen=True)
class Completions:
    """K completions of one prompt, not yet ranked."""

    prompt: Messages

    completions: list[str]
    """K texts."""

    finished: list[bool]
    """K flags: whether the model ended by itself or was cut at the length limit."""

    sources: list[str]
    """K names of the models that wrote them."""


@dataclass(frozen=True)
class Judgement:
    """One labeler's ranking of one prompt's completions."""

    ranks: list[int]
    """K ranks, 1 is best; equal ranks are ties. Example: [2, 1, 2] prefers the second."""

    labeler: str
    """Who ranked; simulated labelers say so in their name."""


@dataclass(frozen=True)
class Ranking:
    """A ranked prompt, ready for reward-model training."""

    prompt: Messages
    completions: list[str]
    ranks: list[int]
    finished: list[bool]
    labeler: str = ""


@dataclass(frozen=True)
class Ends:
    """What ends a response: the one rule of data, samplers, scoring and exports.

    Example: Ends((2, 4)).find([7, 4, 4]) is 2, Ends((2, 4)).find([7, 8]) is None.
    """

    ids: tuple[int, ...]
    """The tokens that end a response. The first is taught: it stands after every completion of the
    training data that ended by itself."""

    strings: tuple[str, ...] = ()
    """Texts that end it as well, with the token that completes them."""

    decode: Callable[[Sequence[int]], str] = str
    """The text of token ids, special ones included; only asked where there are strings."""

    @property
    def taught(self) -> int:
        """The token that stands after completions in training data."""
        return self.ids[0]

    def find(self, ids: Sequence[int], start: int = 0) -> int | None:
        """The length of a response that was drawn as these ids, its end included; None for one that
        goes on. start: how many of the ids are known to hold no end."""
        found = [place + 1 for place in range(start, len(ids)) if ids[place] in self.ids][:1]
        if self._has_string(ids):

            def has_string(length: int) -> bool:
                return self._has_string(ids[:length])

            found.append(bisect_left(range(len(ids) + 1), True, lo=start, key=has_string))
        return min(found, default=None)

    def cut(self, ids: list[int]) -> list[int]:
        """The ids up to the first end and with it; all of them where there is none."""
        return ids[: self.find(ids)]

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether ids that were cut end by themselves."""
        return self.find(ids, len(ids) - 1) is not None

    def _has_string(self, ids: Sequence[int]) -> bool:
        if not self.strings:
            return False
        text = self.decode(ids)
        return any(string in text for string in self.strings)


@dataclass(frozen=True)
class Response:
    """One sampled completion as tokens."""

    ids: list[int]
    """Token ids, the end included when the model produced it; at least one."""

    logprobs: list[float]
    """Natural log-probability of each id under the sampling distribution (temperature included)."""

    ended: bool
    """Whether it ended by itself; else it was cut at the length limit."""

    @classmethod
    def from_ids(cls, ids: list[int], logprobs: list[float], ends: Ends) -> "Response":
        """A response that was drawn as these ids, up to its end."""
        return cls(ids, logprobs, ended=ends.ended(ids))


@dataclass(frozen=True)
class PolicySamples:
    """One policy's completions of the evaluation prompts."""

    policy: str
    """`base`, `sft`, `rl`, `prompted` or an opponent's name."""

    prompts: list[Messages]
    completions: list[str]
    responses: list[Response]

    prompt_ids: list[list[int]]
    """The rendered prompts as the policy read them."""

    reference_kl: list[float] | None
    """Sum over tokens of log pi - log pi_sft per completion, in nats; None for a policy that read
    other tokens."""


@dataclass(frozen=True)
class Metric:
    """A number with its interval."""

    value: float
    low: float
    high: float
    count: int
    """How many independent items (prompts) it is taken over."""

    level: float = 0.95
    """Confidence level of the interval."""


@dataclass(frozen=True)
class TaxEntry:
    """What policies gain or lose in one metric."""

    better: Literal["higher", "lower"]

    deltas: Mapping[str, Mapping[str, Metric]]
    """By reference (`base`, `sft`) and policy, the mean difference over items that both answered:
    TaxEntry("higher", {"base": {"rl": Metric(-0.02, -0.05, 0.01, 100)}})."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator found.

    Example: Evaluation({"rl": {"win_rate": Metric(0.5, 0.4, 0.6, 80)}}, [{"policy": "rl", "prompt":
    [...], "win_rate": 1.0}, ...]).
    """

    metrics: Mapping[str, Mapping[str, Metric]]
    """By policy and name."""

    rows: Sequence[Mapping[str, Any]] = ()
    """What the metrics are taken over, an item a row, of values that JSON knows; stored as
    `evaluate/rows/<evaluator>.jsonl`."""

    better: Mapping[str, Literal["higher", "lower"]] = field(default_factory=dict)
    """The metrics that measure what a model can do or how safe it is, and which way is better. What
    RL loses in them is the alignment tax; it is told with an interval where a row has `policy`,
    `item` (equal for the same question to two policies) and a number under the metric's name."""

    notes: Sequence[str] = ()
    """Sentences on what could not be measured, or only with fewer items than were asked for."""
