"""The value model: does it foresee returns?"""

from statistics import median

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding

LEAST_EXPLAINED = 0.05
"""Share of the returns' variance: with less, a constant would do as well as the value model."""

TIME_TO_LEARN = 20
"""Iterations of value training before it is judged: values start as a reward model's, which has
never seen unfinished text, and are far off at first."""

BATCHES = 10
"""Iterations that it is judged by at least: for one batch of a few dozen answers the number is off
by a tenth or two, and by more where the returns happen to be alike; hence the median too."""


def critic_blind(evidence: Evidence) -> Finding | None:
    """A value model that is no better than a constant when it has had time to learn."""
    explained = evidence.series("val/explained_variance")
    count = max(BATCHES, explained.size)
    middle = median(explained.values[-count:])
    if middle >= LEAST_EXPLAINED:
        return None
    rate = evidence.option("optimizer.value_learning_rate", 0.0)
    faster = f"optimizer.value_learning_rate={3 * rate if rate else 1e-5:.2g}"
    return Finding(
        f"values explain {middle:.2g} of the returns' variance (median of iterations "
        f"{explained.steps[-count]} to {explained.steps[-1]}); 1 is all, 0 what a constant does",
        "the value model does not learn: its steps are too small, or clipped too close. "
        "Advantages are then no better than the returns themselves",
        (faster, "optimizer.cliprange_value=null", "optimizer.critic_warmup=5", "optimizer=rloo"),
        "Stable-Baselines3 documentation, Logger: train/explained_variance",
    )
