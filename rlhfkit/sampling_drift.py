"""How far the sampler and the update are apart in the log-probabilities of the same tokens."""

import torch
from torch import Tensor

from rlhfkit import processes


class SamplingDrift:
    """Compares them as long as the update has not changed the policy: on its first mini-batch."""

    def __init__(self) -> None:
        self.on_policy = True
        self._differences: list[Tensor] = []

    def note(self, sampled: Tensor, logprobs: Tensor, mask: Tensor) -> None:
        """Log-probabilities [B, T] taken while sampling, and the update's own."""
        if self.on_policy:
            self._differences.append((logprobs.detach() - sampled)[mask].abs())

    def metrics(self) -> dict[str, float]:
        """In nats, of all processes' tokens; nothing where the policy stood still."""
        differences = processes.gather_tensors(self._differences)
        if not differences:
            return {}
        drift = torch.cat(differences)
        return {
            "sampling/logprob_drift": float(drift.mean()),
            "sampling/logprob_drift_max": float(drift.max()),
        }
