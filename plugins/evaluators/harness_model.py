"""A policy as lm-evaluation-harness asks for one. Imported only where the extra is installed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs, resolve_max_length
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor

from rlhfkit.distributed import processes
from rlhfkit.models.batch import TokenBatch
from rlhfkit.models.batch_size import AdaptiveBatchSize, micro_batch
from rlhfkit.models.forward import by_micro_batch
from rlhfkit.models.language_model import CHUNK_LOGITS, LanguageModel
from rlhfkit.models.sampling import fitted
from rlhfkit.types import Ends
from rlhfkit_plugins.evaluators.policies import Policy, decoding_context

MAX_GEN_TOKS = 256
"""The harness's own default, for tasks that do not say."""


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """Tokens as the harness's own transformers model takes them; logits of the continuation alone,
    in chunks, batches halved when memory runs out, answers by the run's sampler."""

    def __init__(self, policy: Policy, decoding: str) -> None:
        """decoding: `greedy` or `sampled`, whatever a task's generation_kwargs say."""
        super().__init__()
        self._policy, self._decoding = policy, decoding
        self.tokenizer = policy.text.tokenizer
        size = micro_batch(policy.context.config.stage.rl)
        self._size = AdaptiveBatchSize(f"lm_eval of {policy.name}", size)
        self.max_length: int = resolve_max_length(policy.model.base.config, self.tokenizer)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        eos: int = self.tokenizer.eos_token_id
        return eos

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context."""
        bos: int | None = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else bos

    @property
    def tokenizer_name(self) -> str:
        """Names the harness's cache of requests."""
        name: str = self.tokenizer.name_or_path
        return name.replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A dialogue as text; an answer that was begun is left open."""
        text: str = self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """With the tokenizer's special tokens, unless told or the text brings them along."""
        prefix: str = self.tokenizer.decode(self.prefix_token_id)
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(prefix)
        ids: list[int] = self.tokenizer.encode(string, add_special_tokens=add_special_tokens)
        return ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """For each context and continuation its log-probability, and whether greedy decoding would
        give it."""
        cut = [
            (before[-max(1, self.max_length + 1 - len(after)) :], after)
            for _, before, after in requests
        ]
        model = self._policy.model
        rows = by_micro_batch(
            model,
            [before for before, _ in cut],
            [after for _, after in cut],
            self._size,
            lambda batch: sums_and_greedy(model, batch),
        )
        return [(float(total), bool(greedy)) for total, greedy in rows]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Of whole texts, in windows that do not overlap."""
        found = []
        for (text,) in (request.args for request in requests):
            windows = get_rolling_token_windows(
                self.tok_encode(text), self.prefix_token_id, self.max_length, context_len=1
            )
            parts = [(None, *make_disjoint_window(window)) for window in windows]
            found.append(sum(total for total, _ in self._loglikelihood_tokens(parts)))
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """An answer to each context, up to the first of the task's stop texts."""
        found: dict[int, str] = {}
        groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for index, (_, options) in enumerate(request.args for request in requests):
            given = normalize_gen_kwargs(options, MAX_GEN_TOKS)
            stops = tuple(stop for stop in given["until"] if stop)
            groups.setdefault((given["max_gen_toks"], stops), []).append(index)
        for (length, stops), indices in groups.items():
            texts = [requests[index].args[0] for index in indices]
            found |= dict(zip(indices, self._answers(texts, length, stops), strict=True))
        return [found[index] for index in range(len(requests))]

    def _answers(self, texts: Sequence[str], length: int, stops: tuple[str, ...]) -> list[str]:
        policy, tokenizer = self._policy, self.tokenizer
        context = decoding_context(policy.context, self._decoding)
        config = replace(context.config.sampler, response_length=length)
        sampler = fitted(context.make("sampler", config), policy.model)
        room = max(1, self.max_length - length)
        prompts = [self.tok_encode(text)[-room:] for text in texts]
        ends = Ends((*policy.text.ends.ids, self.eot_token_id), stops, tokenizer.decode)
        generator = processes.generator(context.config.seed, context.device)
        drawn = processes.map_sharded(
            lambda rows: sampler.sample(policy.model, rows, ends, generator), prompts
        )
        answers = [tokenizer.decode(item.ids, skip_special_tokens=True) for item in drawn]
        for stop in stops:
            answers = [answer.partition(stop)[0] for answer in answers]
        return answers


def sums_and_greedy(model: LanguageModel, batch: TokenBatch) -> Tensor:
    """[N, 2] the summed log-probability of each response, and 1 where all of its tokens are the
    likeliest."""
    index = batch.token_index
    states = batch.before_tokens(model.states(batch)).flatten(0, 1)[index]
    ids = batch.response_ids.flatten()[index]
    chunk = max(1, CHUNK_LOGITS // len(model.head.weight))
    parts = zip(torch.split(states, chunk), torch.split(ids, chunk), strict=True)
    logprobs, likeliest = map(
        torch.cat, zip(*(_chosen(model, *part) for part in parts), strict=True)
    )
    found = torch.stack([logprobs.new_zeros(len(batch.response_ids)) for _ in range(2)], 1)
    rows = index // batch.response_ids.shape[1]
    found.index_add_(0, rows, torch.stack([logprobs, (~likeliest).to(logprobs.dtype)], 1))
    found[:, 1] = (found[:, 1] == 0).to(found.dtype)
    return found


def _chosen(model: LanguageModel, states: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    logprobs = model.logits(states).log_softmax(-1)
    return logprobs.gather(1, ids[:, None])[:, 0], logprobs.argmax(-1) == ids
