"""Numbers of a batch of episodes, under TRL's names."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from rlhfkit.online.kl_penalty import KLPenalty
from rlhfkit.online.rollout import Rollout
from rlhfkit.rl.masking import masked_sum

METRICS = {
    "objective/kl": "Summed KL of an episode to the reference, by k1, in nats; mean.",
    "objective/kl_coef": "What a nat of KL costs, as the controller says.",
    "objective/entropy": "Minus the log-probability of an episode, summed over its tokens; mean.",
    "objective/scores": "Weighted, scaled and clipped score of an episode; mean.",
    "objective/non_score_reward": "Minus the KL that the reward is charged for; mean.",
    "objective/rlhf_reward": "The sum of the two numbers before.",
    "response/length": "Tokens of a response; mean.",
    "response/eos_share": "Share of responses that ended by themselves.",
    "response/distinct_share": "Share of different completions in the batch.",
    "reward/*": "A reward function's own number, before its weight; mean.",
    "loss/policy_avg": "The policy's loss without the terms below; mean over the updates.",
    "loss/kl_avg": "KL term of the loss before its coefficient; 0 without kl_in_loss.",
    "loss/ptx": "Loss on pretraining texts before its coefficient; 0 without ptx_coef.",
    "loss/value_avg": "The value model's loss before vf_coef.",
    "policy/approxkl_avg": "Half the mean squared log-ratio to the policy that sampled.",
    "policy/clipfrac_avg": "Share of tokens (of responses, in rloo) whose ratio was clipped.",
    "policy/entropy_avg": "Entropy of the policy's distribution over tokens, in nats.",
    "policy/grad_norm": "Norm of the policy's gradients before they are clipped.",
    "value/grad_norm": "Norm of the value model's gradients before they are clipped.",
    "val/ratio": "Mean ratio of the policy to the one that sampled.",
    "val/clipfrac_avg": "Share of tokens whose value was clipped.",
    "val/explained_variance": "Share of the returns' variance that the values foresee.",
    "sampling/ratio": "Mean ratio before the first step: 1 where the sampler is the policy.",
    "sampling/logprob_drift": "Mean distance of the sampler's log-probabilities from the update's.",
    "sampling/logprob_drift_max": "The largest such distance.",
    "select/score": "The judge's score of the policy that may be kept, with stage.rl.select_by.",
    "select/kl": "Its summed KL to the reference on the same answers; mean.",
    "lr": "Learning rate of the policy.",
    "episode": "Episodes sampled so far.",
    "time/rollout": "Seconds until the batch was sampled and scored.",
    "time/update": "Seconds of the update.",
    "time/select": "Seconds in which the policy that may be kept answered and was scored.",
}
"""What online optimizers log, and what it is; `reward/*` has a name for every reward function."""

_SHOWN = {
    "score": "objective/scores",
    "kl": "objective/kl",
    "tokens": "response/length",
    "eos": "response/eos_share",
}


def rollout_metrics(rollout: Rollout, kl_coef: float, penalty: KLPenalty) -> dict[str, float]:
    """Means over the episodes; kl_coef: what a nat of KL costs."""
    charged = kl_coef * penalty.in_reward(rollout).sum(1)
    ended = [response.ended for response in rollout.responses]
    lengths = rollout.response_mask.sum(1).float()
    return {
        "objective/kl": float(rollout.kl.sum(1).mean()),
        "objective/kl_coef": kl_coef,
        "objective/entropy": float(
            -masked_sum(rollout.logprobs, rollout.response_mask) / len(rollout)
        ),
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


def is_documented(name: str) -> bool:
    """Whether `METRICS` says what a logged number is."""
    return name in METRICS or name.startswith("reward/")


def shown_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those beside the progress bar, by short name."""
    return {short: metrics[name] for short, name in _SHOWN.items()}
