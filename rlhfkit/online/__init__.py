"""The loop that online policy optimizers share: rollouts, scores, KL, metrics."""
