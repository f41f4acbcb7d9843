"""Options that several diagnoses would change, with values taken from the run's own."""

from rlhfkit.diagnosis.evidence import Evidence


def stronger_kl(evidence: Evidence) -> tuple[str, ...]:
    """More weight on staying near the SFT model, by the controller that the run has."""
    target, coef = evidence.option("kl.target", 0.0), evidence.option("kl.kl_coef", 0.0)
    if target:
        return (f"kl.target={target / 2:.3g}",)
    return (f"kl.kl_coef={2 * coef:.3g}",) if coef else ("kl=adaptive",)


def smaller_steps(evidence: Evidence) -> tuple[str, ...]:
    """A lower learning rate of the policy."""
    rate = evidence.option("optimizer.learning_rate", 0.0)
    return (f"optimizer.learning_rate={rate / 3:.2g}",) if rate else ()
