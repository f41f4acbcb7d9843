"""The policies as models that are asked again: one of them in memory at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rlhfkit.config.stages import PROMPTED
from rlhfkit.context import Context
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.distributed import processes
from rlhfkit.models.batch_size import AdaptiveBatchSize, micro_batch
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.models.sampling import sampler_for
from rlhfkit.stages.evaluate import own_format
from rlhfkit.stages.sample import load_policy
from rlhfkit.types import Messages, PolicySamples

DECODING = ("greedy", "sampled")
"""How every answer is drawn: at a temperature of almost 0, and at the run's."""

_GREEDY = 1e-6
"""What logits are divided by, so that the largest is drawn: samplers take no 0."""


@dataclass(frozen=True)
class Policy:
    """One model and how it reads texts."""

    name: str
    model: LanguageModel
    text: TextFormat
    context: Context

    def plain_pair(self, text: str, more: str) -> tuple[list[int], list[int]]:
        """A text outside any template and what follows it, tokenised together; behind the
        beginning-of-sequence token where there is one, and where nothing else would be, EOS."""
        tokenizer = self.text.tokenizer
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        before = [*start, *self.text.text_ids(text)] or [tokenizer.eos_token_id]
        whole = [*(start if text else before), *self.text.text_ids(text + more)]
        return whole[: len(before)], whole[len(before) :]

    def logprobs(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """The summed log-probability of what follows each plain text, in nats."""
        ids = [self.plain_pair(*pair) for pair in pairs]
        rows = teacher_forced_logprobs(
            self.model, [one for one, _ in ids], [two for _, two in ids], 1.0, self._size
        )
        return [float(row.sum()) for row in rows]

    def answers(self, prompts: Sequence[Messages], decoding: str) -> list[str]:
        """An answer to each prompt, as the policy reads prompts, from the run's seed."""
        context = decoding_context(self.context, decoding)
        sampler = sampler_for(context, self.model)
        generator = processes.generator(context.config.seed, context.device)
        ids = [self.text.prompt_ids(prompt) for prompt in prompts]
        drawn = processes.map_sharded(
            lambda rows: sampler.sample(self.model, rows, self.text.ends, generator), ids
        )
        return [self.text.decode(response.ids) for response in drawn]

    @cached_property
    def _size(self) -> AdaptiveBatchSize:
        size = micro_batch(self.context.config.stage.rl)
        return AdaptiveBatchSize(f"log-probabilities of {self.name}", size)


def policies(context: Context, samples: Mapping[str, PolicySamples]) -> Iterator[Policy]:
    """The policies that were sampled; not `prompted`, which is the base model."""
    text = load_text_format(context)
    for name in samples:
        if name != PROMPTED:
            path = _path(context, name)
            yield Policy(name, load_policy(context, path), own_format(context, text, path), context)


def user(text: str) -> Messages:
    """A prompt of one message."""
    return [{"role": "user", "content": text}]


def _path(context: Context, name: str) -> str:
    """What `load_policy` is to load: a run without stage sft compares with the base model."""
    if name == "sft" and context.model_of("sft") is None:
        return "base"
    return context.config.stage.evaluate.opponents.get(name) or name


def decoding_context(context: Context, decoding: str) -> Context:
    """The context whose sampler draws greedily, or as the run does."""
    if decoding != "greedy":
        return context
    sampler = replace(context.config.sampler, temperature=_GREEDY)
    return replace(context, config=replace(context.config, sampler=sampler))
