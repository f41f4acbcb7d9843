"""Numbers of a batch of episodes, under TRL's names."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from rlhfkit.online.kl_penalty import KLPenalty
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.masking import masked_mean

_SHOWN = {
    "score": "objective/scores",
    "kl": "objective/kl",
    "tokens": "response/length",
    "eos": "response/eos_share",
}


def rollout_metrics(rollout: Rollout, kl_coef: float, penalty: KLPenalty) -> dict[str, float]:
    """Means over the episodes; kl_coef: what a nat of KL costs."""
    charged = kl_coef * penalty.in_reward(rollout).sum(1)
    ended = [response.finished for response in rollout.responses]
    lengths = rollout.response_mask.sum(1).float()
    return {
        "objective/kl": float(rollout.kl.sum(1).mean()),
        "objective/kl_coef": kl_coef,
        "objective/entropy": float(-masked_mean(rollout.logprobs, rollout.response_mask)),
        "objective/scores": float(rollout.scores.mean()),
        "objective/non_score_reward": float(-charged.mean()),
        "objective/rlhf_reward": float((rollout.scores - charged).mean()),
        "response/length": float(lengths.mean()),
        "response/eos_share": sum(ended) / len(ended),
        "response/distinct_share": distinct_share(rollout.completions),
        **reward_metrics(rollout.raw_scores),
    }


def reward_metrics(raw_scores: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean and standard deviation of each reward function's own numbers [B] in a batch."""
    return {
        **{f"reward/{name}": float(raw.mean()) for name, raw in raw_scores.items()},
        **{f"reward/{name}_std": float(raw.std(correction=0)) for name, raw in raw_scores.items()},
    }


def distinct_share(completions: Sequence[str]) -> float:
    """How many different completions a batch has, of as many as it could have; 1 is all."""
    return len(set(completions)) / len(completions)


def shown_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those beside the progress bar, by short name."""
    return {short: metrics[name] for short, name in _SHOWN.items()}
