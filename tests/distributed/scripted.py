"""A plugin with sampler=scripted: what it answers depends on the prompt, the stage and how many
samplers it had before, so that one process and several train on the same completions. With
STOP_AFTER in the environment a run is asked to stop."""

import os
import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from rlhfkit import hookimpl
from rlhfkit.component import Component
from rlhfkit.distributed.fsdp import sharded_parts
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.types import Response
from rlhfkit_plugins.samplers import BatchedConfig


@dataclass
class ScriptedConfig(BatchedConfig):
    """Answers of one to `response_length` tokens, every other one ended."""


class ScriptedSampler:
    made: ClassVar[Counter[str]] = Counter()

    def __init__(self, config, context=None):
        self.temperature, self._longest = config.temperature, config.response_length
        stage = context.stage if context else ""
        self.made[stage] += 1  # the checks before a run make some in the main process alone
        self._number = (stage, self.made[stage])

    def sample(self, model, prompts, ends, generator):
        print(f"shares of {len(sharded_parts(model.module))} parts", file=sys.stderr)
        drawn = [self._answer(tuple(prompt), ends.taught) for prompt in prompts]
        logprobs = teacher_forced_logprobs(
            model, prompts, drawn, self.temperature, AdaptiveBatchSize("scripted", 4)
        )
        return [
            Response.from_ids(ids, row.tolist(), ends)
            for ids, row in zip(drawn, logprobs, strict=True)
        ]

    def _answer(self, prompt, end):
        chance = random.Random(repr((self._number, prompt)))
        words = [chance.randrange(5, 20) for _ in range(chance.randint(1, self._longest))]
        return [*words[:-1], end] if chance.random() < 0.5 else words


@hookimpl
def metrics_logged(stage, step, metrics):
    """Called in the main process alone: it gets the signal, and all stop."""
    if f"{stage} {step}" == os.environ.get("STOP_AFTER"):
        os.kill(os.getpid(), signal.SIGTERM)


@hookimpl
def samplers():
    return [Component("scripted", ScriptedConfig, "tests.distributed.scripted:ScriptedSampler")]
