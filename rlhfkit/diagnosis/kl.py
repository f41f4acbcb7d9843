"""How far the policy has gone from the model it started as, by `objective/kl`."""

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding
from rlhfkit.diagnosis.remedies import smaller_steps, stronger_kl

LEAST_NEGATIVE_KL = 0.1
"""Nats per answer below 0 that are worth a word: a KL is never negative, its estimate may be by
chance while policy and reference are still the same."""

ERRORS = 3.0
"""Standard errors that a mean must be away by: chance does that in one of hundreds of looks."""

KL_LIMIT = 10.0
"""Nats per answer; TRL's FAQ would have them between 0 and 10."""

KL_LIMIT_PER_TOKEN = 0.2
"""Nats: the same 10 over the fifty or so tokens of the answers TRL's FAQ was written for, so that
longer answers may have more."""

KL_LIMIT_TARGETS = 3.0
"""How often `kl.target`: a controller that is there by far has lost hold."""

_FAQ = "TRL documentation, Training FAQ (huggingface.co/docs/trl/how_to_train)"


def kl_negative(evidence: Evidence) -> Finding | None:
    """A KL that no distribution has: the answers were not drawn as their probabilities say."""
    end = evidence.series("objective/kl").end
    if end.mean > -LEAST_NEGATIVE_KL or end.mean > -ERRORS * end.error:
        return None
    return Finding(
        f"KL {end.mean:.2f} nats an answer in {end}; a KL is never below 0",
        "the answers are not drawn from the policy by the log-probabilities that are stored: "
        "another temperature, tokens that are ruled out, or another model in the sampler. The "
        "penalty then pays for unlikely tokens",
        ("sampler=generate", "sampler.temperature=1"),
        _FAQ,
    )


def kl_explodes(evidence: Evidence) -> Finding | None:
    """A policy that has left its reference far behind."""
    end = evidence.series("objective/kl").end
    length = evidence.series("response/length")
    tokens = length.end.mean if len(length) else 0.0
    target = evidence.option("kl.target", 0.0)
    limit = max(KL_LIMIT, KL_LIMIT_PER_TOKEN * tokens, KL_LIMIT_TARGETS * target)
    if end.mean < limit:
        return None
    return Finding(
        f"KL {end.mean:.1f} nats an answer in {end}; more than {limit:.3g} is far",
        "steps too large for the penalty that holds them; so far from the SFT model, the reward "
        "model scores text that it was never trained on",
        (*stronger_kl(evidence), *smaller_steps(evidence)),
        _FAQ,
    )
