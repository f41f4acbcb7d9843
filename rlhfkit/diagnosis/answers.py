"""The answers themselves: do they end, how long are they, how different?"""

from rlhfkit.console import count_of
from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding
from rlhfkit.diagnosis.remedies import stronger_kl

LEAST_ENDED = 0.5
"""Share of answers that end by themselves; below it, most of what is scored is a cut text."""

LEARNED_TO_END = 0.1
"""Rise of that share since the start: so many more answers that end are no chance in batches of a
few dozen, and a policy that is learning to end is left alone."""

LENGTH_CHANGE = 1.5
"""How many times longer or shorter: what people call better is seldom that much longer, and most of
the gain that PPO shows may come of length alone (Singhal et al. 2023)."""

ENTROPY_FLOOR = 0.05
"""Nats a token, as when one token in a hundred is not the likeliest: nothing new is tried."""

ENTROPY_LEFT = 0.2
"""Share of the first entropy; with less the policy has used up most of what it could still try."""

LEAST_DISTINCT = 0.1
"""Share of different answers in a batch: fewer, and the same answer goes to ten prompts."""

LEAST_COMPARABLE = 0.5
"""Share of prompts with two different completions; the others' rankings can say nothing."""

_LENGTH = "Singhal et al. 2023, A Long Way to Go (arXiv 2310.03716)"
_ENDS = "Huang et al. 2024, The N+ Implementation Details of RLHF with PPO (arXiv 2403.17031), EOS"


def ends_missing(evidence: Evidence) -> Finding | None:
    """Answers that run into `sampler.response_length`, and not fewer and fewer of them."""
    ended = evidence.series("response/eos_share")
    learning = ended.end.mean > ended.start.mean + LEARNED_TO_END
    if learning or ended.end.mean >= LEAST_ENDED:
        return None
    limit = int(evidence.option("sampler.response_length", 64))
    longer = f"sampler.response_length={2 * limit}"
    penalty = evidence.option("stage.rl.missing_eos_penalty", 0.0)
    saw = f"{ended.end.mean:.0%} of the answers end within {limit} tokens in {ended.end}"
    if ended.start.mean < LEAST_ENDED:
        return Finding(
            f"{saw}; at the start it was {ended.start.mean:.0%}",
            "the limit is too short for what the SFT model writes, or it has not learned to end",
            (longer, "stage.sft.num_train_epochs=2"),
            _ENDS,
        )
    return Finding(
        f"{saw}, from {ended.start.mean:.0%} in {ended.start}",
        "an answer that is cut is scored as well as one that ends, so the policy writes on",
        (f"stage.rl.missing_eos_penalty={max(1.0, 2 * penalty):.3g}", longer),
        _ENDS,
    )


def length_drifts(evidence: Evidence) -> Finding | None:
    """Answers that have grown or shrunk much."""
    length = evidence.series("response/length")
    start, end = length.start, length.end
    if 1 / LENGTH_CHANGE < end.mean / start.mean < LENGTH_CHANGE:
        return None
    longer = end.mean > start.mean
    words = max(1, round(0.75 * start.mean))  # a token of English is about three quarters of a word
    low, high = (0, words) if longer else (words, 4 * words)
    rewards = ",".join(dict.fromkeys([*evidence.scored, "length"]))
    return Finding(
        f"{start.mean:.1f} tokens an answer in {start}, {end.mean:.1f} in {end}",
        f"the reward pays for {'long' if longer else 'short'} answers, whatever they say",
        (
            f"reward=[{rewards}] reward.length.min={low} reward.length.max={high}",
            *stronger_kl(evidence),
        ),
        _LENGTH,
    )


def entropy_collapses(evidence: Evidence) -> Finding | None:
    """A policy that is sure of every token."""
    entropy = evidence.token_entropy
    start, end = entropy.start, entropy.end
    if end.mean > max(ENTROPY_FLOOR, ENTROPY_LEFT * start.mean):
        return None
    if start.mean <= ENTROPY_FLOOR:
        cause = "the sampler leaves no choice: a low temperature, or an SFT model trained too long"
        temperature = evidence.option("sampler.temperature", 1.0)
        change = ["sampler.temperature=1"] if temperature < 1 else ["stage.sft.num_train_epochs=1"]
    else:
        cause = "the policy repeats what scored well and tries nothing else"
        change = ["optimizer.entropy_coef=0.01"] if _is_ppo(evidence) else []
    return Finding(
        f"{end.mean:.3f} nats a token in {end}; {start.mean:.3f} in {start}",
        cause,
        (*change, *stronger_kl(evidence)),
        "Cui et al. 2025, The Entropy Mechanism of RL for Reasoning LMs (arXiv 2505.22617)",
    )


def answers_repeat(evidence: Evidence) -> Finding | None:
    """The same answer to many prompts."""
    distinct = evidence.series("response/distinct_share")
    end = distinct.end
    if end.mean >= LEAST_DISTINCT:
        return None
    return Finding(
        f"{end.mean:.1%} of a batch's answers are different in {end}; "
        f"{distinct.start.mean:.1%} in {distinct.start}",
        "one answer scores well whatever the prompt is, or the sampler leaves no choice",
        ("sampler.temperature=1", *stronger_kl(evidence)),
    )


def completions_repeat(evidence: Evidence) -> Finding | None:
    """Completions of one prompt with nothing between them to rank."""
    compared = sum(len(set(row)) > 1 for row in evidence.completions)
    count = len(evidence.completions)
    if compared >= LEAST_COMPARABLE * count:
        return None
    return Finding(
        f"equal completions only: {count - compared} of {count_of(count, 'prompt')} in stage "
        "sample",
        "completions are drawn with too little chance for labelers to compare them",
        ("sampler.temperature=1", "stage.sample.models=[sft,base]"),
        "Ouyang et al. 2022 (arXiv 2203.02155), section 3.5: K different outputs are ranked",
    )


def _is_ppo(evidence: Evidence) -> bool:
    return "optimizer.entropy_coef" in evidence.settings
