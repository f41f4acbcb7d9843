"""A step of an online optimizer without the loop around it: given roles, given episodes."""

import random
from dataclasses import replace
from types import SimpleNamespace

import torch

from rlhfkit.online.ema import WeightAverage
from rlhfkit.online.rollout import Rollout
from rlhfkit.types import Response

PROMPT_IDS = [[1, 2], [3], [4, 5, 1], [2]]
RESPONSES = [[3, 6, 2], [1], [5, 5], [6, 1, 4, 2]]
TEXTS = [[1, 2, 3, 4], [5, 6, 1], [2, 2, 2, 6, 0]]
CONFIG = {
    "learning_rate": 0.05, "value_learning_rate": 0.03, "num_ppo_epochs": 2, "num_mini_batches": 2,
    "cliprange": 0.1, "cliprange_value": 0.15, "vf_coef": 0.7, "gamma": 0.9, "lam": 0.8,
    "max_grad_norm": 0.2, "ptx_coef": 0.5, "ptx_batch_size": 2,
}  # fmt: skip
TEMPERATURE, KL_COEF, SEED = 0.8, 0.3, 5


def make_rollout(roles, noise=0.15):
    torch.manual_seed(9)
    padded = torch.zeros(len(RESPONSES), 4, dtype=torch.bool)
    for row, response in enumerate(RESPONSES):
        padded[row, : len(response)] = True
    scores = torch.tensor([1.0, -0.5, 0.3, 2.0])
    rollout = Rollout(
        prompts=[[{"role": "user", "content": ""}]] * 4,
        prompt_ids=PROMPT_IDS,
        completions=[""] * 4,
        responses=[Response(ids, [0.0] * len(ids), False) for ids in RESPONSES],
        response_mask=padded,
        logprobs=torch.zeros(4, 4),
        ref_logprobs=torch.zeros(4, 4),
        scores=scores,
        raw_scores={},
    )
    batch = rollout.batch(range(4), roles.policy)
    with torch.no_grad():
        old = roles.policy.response_logprobs(batch, TEMPERATURE)[0]
        ref = roles.reference.response_logprobs(batch, TEMPERATURE)[0]
    # not quite the current policy's, so that ratios differ from 1 and some are clipped
    old = (old + noise * torch.randn(4, 4).to(old.dtype)) * padded
    return replace(rollout, logprobs=old, ref_logprobs=ref * padded, scores=scores.to(old.dtype))


def make(kind, config, roles, make_context, micro_batch_size, *options):
    context = make_context(
        f"stage.rl.micro_batch_size={micro_batch_size}", f"seed={SEED}", *options
    )
    optimizer = kind(config, context)
    optimizer.roles = roles
    optimizer.kl = SimpleNamespace(coef=KL_COEF)
    optimizer.sampler = SimpleNamespace(temperature=TEMPERATURE)
    optimizer.accelerator = context.accelerator
    optimizer.optimizer = torch.optim.AdamW(
        optimizer.parameter_groups(), betas=(0.9, 0.95), eps=1e-5, weight_decay=0.0
    )
    optimizer.average = WeightAverage(
        optimizer.optimizer.param_groups[0]["params"], config.ema_decay
    )
    optimizer._random = random.Random(SEED)
    optimizer.pretraining = TEXTS
    return optimizer
