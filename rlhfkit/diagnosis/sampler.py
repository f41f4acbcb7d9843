"""The log-probabilities that the sampler told, against the update's own for the same weights."""

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding

RATIO_OFF = 0.05
"""Distance of the mean ratio from 1 before the first step. Where the sampler tells the truth about
how it drew, the ratio is 1 on average even with other weights or in another precision."""

MOST_DRIFT = 0.05
"""Nats a token on average. bfloat16 costs 0.01 to 0.02; beyond that something else differs."""

_HUANG = "Huang et al. 2022, The 37 Implementation Details of PPO: the ratio starts at 1"
_YAO = "Yao et al. 2025, Your Efficient RL Framework Secretly Brings You Off-Policy Training"


def ratio_off(evidence: Evidence) -> Finding | None:
    """The policy and the one that sampled are told apart before any step was made."""
    end = evidence.series("sampling/ratio").end
    if abs(end.mean - 1) < RATIO_OFF:
        return None
    return Finding(
        f"mean ratio {end.mean:.3f} before the first step of {end}; it must be 1",
        "the sampler tells other log-probabilities than those it drew with, as for another "
        "temperature or before some tokens were ruled out; every update is wrong by that much",
        _REFERENCE,
        _HUANG,
    )


def sampler_drifts(evidence: Evidence) -> Finding | None:
    """The sampler computes something else than the update does."""
    end = evidence.series("sampling/logprob_drift").end
    if end.mean < MOST_DRIFT:
        return None
    return Finding(
        f"log-probabilities of sampler and update differ by {end.mean:.2g} nats a token in {end}",
        "the sampler has other weights (an adapter that was not loaded anew), another precision "
        "or another template; training is off-policy without being told",
        _REFERENCE,
        _YAO,
    )


_REFERENCE = ("sampler=generate", "model.dtype=float32")
"""transformers' own decoding, with log-probabilities of a second pass; and no rounding."""
