"""Numbers of a batch of episodes, under TRL's names."""

from collections.abc import Mapping

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
        **{f"reward/{name}": float(raw.mean()) for name, raw in rollout.raw_scores.items()},
    }


def shown_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those beside the progress bar, by short name."""
    return {short: metrics[name] for short, name in _SHOWN.items()}
