"""The reward that is trained on: does it tell answers apart, and does it stand for anything?"""

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding
from rlhfkit.diagnosis.remedies import stronger_kl
from rlhfkit.diagnosis.series import Series

DEAD_SPREAD = 1e-4
"""Standard deviation of a reward over a batch that counts as none: below what bfloat16 resolves of
a number near 1, and far below what any reward function here gives."""

SATURATED_SPREAD = 0.05
"""Share of the largest spread a reward had: the answers still differ, the reward hardly does."""

ERRORS = 3.0
"""Standard errors that a rise or a fall must have: the best of several windows is compared."""

LEAST_PROMPTS = 30
"""Held-out prompts: the bootstrap's interval of fewer is too narrow to rely on."""

_GAO = "Gao et al. 2022, Scaling Laws for Reward Model Overoptimization (arXiv 2210.10760)"
_DAPO = "Yu et al. 2025, DAPO (arXiv 2503.14476), section 3.2: equal rewards give no gradient"


def reward_dead(evidence: Evidence) -> Finding | None:
    """Every reward that counts has given every answer of a batch the same, all the time."""
    spreads = evidence.reward_spreads
    if any(max(spread.values) > DEAD_SPREAD for spread in spreads.values()):
        return None
    name = next(iter(spreads))
    end = spreads[name].end
    return Finding(
        f"reward {name} never varies: standard deviation {end.mean:.2g} in {end}, value "
        f"{evidence.series(f'reward/{name}').end.mean:.3g}",
        "the reward is the same for every answer, so nothing is learned but the KL penalty",
        ("reward=[reward_model]", *_wider(evidence)),
        _DAPO,
    )


def reward_saturated(evidence: Evidence) -> Finding | None:
    """Every reward that counts once told answers apart, and no longer does."""
    spreads = evidence.reward_spreads
    if not all(_is_used_up(spread) for spread in spreads.values()):
        return None
    name, spread = next(iter(spreads.items()))
    value = evidence.series(f"reward/{name}").end.mean
    return Finding(
        f"reward {name} is {value:.3g} for nearly every answer: standard deviation "
        f"{spread.end.mean:.2g} in {spread.end}, {max(spread.values):.2g} at most before",
        "the reward has a best value, which is reached; more training only moves the policy",
        (_fewer_episodes(evidence, _used_up_at(spread)), "reward=[reward_model]"),
        _DAPO,
    )


def overoptimised(evidence: Evidence) -> Finding | None:
    """The score rises on while a reward that is only measured falls from its best."""
    for name in evidence.measured:
        gold, score = evidence.series(f"reward/{name}"), evidence.series("objective/scores")
        if len(gold) != len(score):
            continue
        best, end = max(gold.windows(), key=lambda window: window.mean), gold.end
        then, now = score.window(score.steps.index(best.first), score.size), score.end
        fell = best.mean - end.mean > ERRORS * (best.error**2 + end.error**2) ** 0.5
        if fell and now.mean > then.mean:
            return Finding(
                f"reward {name}, which is not trained on, falls from {best.mean:.3g} in {best} to "
                f"{end.mean:.3g} in {end}; the score rises from {then.mean:.3g} to {now.mean:.3g}",
                "the policy has found what the trained reward pays for and nobody wants",
                (
                    _fewer_episodes(evidence, best.last),
                    *_selected_by(evidence, name),
                    *stronger_kl(evidence),
                ),
                _GAO,
            )
    return None


def preferred_less(evidence: Evidence) -> Finding | None:
    """The score has risen, and the held-out comparison prefers the SFT model."""
    rate = evidence.evaluation.get("rl", {}).get("win_rate")
    score = evidence.series("objective/scores")
    if rate is None or rate["count"] < LEAST_PROMPTS or rate["high"] >= 0.5:
        return None
    if score.end.mean <= score.start.mean:
        return None
    return Finding(
        f"the score rose from {score.start.mean:.3g} to {score.end.mean:.3g}, and on held-out "
        f"prompts the policy is preferred to SFT in {rate['value']:.0%} "
        f"[{rate['low']:.0%}, {rate['high']:.0%}]",
        "the reward model is no longer right about what the policy writes now",
        (_fewer_episodes(evidence, score.steps[len(score) // 2]), *stronger_kl(evidence)),
        _GAO,
    )


def _is_used_up(spread: Series) -> bool:
    most = max(spread.values)
    return most > DEAD_SPREAD and spread.end.mean < SATURATED_SPREAD * most


def _used_up_at(spread: Series) -> int:
    """The first iteration from which on the spread stays small."""
    limit = SATURATED_SPREAD * max(spread.values)
    wide = [place for place, value in enumerate(spread.values) if value >= limit]
    return spread.steps[min(wide[-1] + 1, len(spread) - 1)]


def _wider(evidence: Evidence) -> tuple[str, ...]:
    """A range of lengths that answers are within and beyond, where only the length counts."""
    length = evidence.series("response/length")
    if evidence.scored != ["length"] or not len(length):
        return ()
    return (f"reward=[length] reward.length.max={max(1, round(0.75 * length.end.mean))}",)


def _selected_by(evidence: Evidence, reward: str) -> tuple[str, ...]:
    """The best policy by that reward, where the loop that has the option ran."""
    settings = evidence.settings
    can = settings.get("stage.rl.select_by") == "last" and "optimizer.optim" in settings
    return (f"stage.rl.select_by={reward}",) if can else ()


def _fewer_episodes(evidence: Evidence, iterations: int) -> str:
    batch = int(evidence.option("stage.rl.batch_size", 64))
    return f"stage.rl.total_episodes={iterations * batch}"
