"""How far the sampler and the update are apart in the log-probabilities of the same tokens."""

import torch
from torch import Tensor

from rlhfkit.distributed import processes


class SamplingDrift:
    """Compares them as long as the update has not changed the policy: on its first mini-batch."""

    def __init__(self) -> None:
        self.on_policy = True
        self._differences: list[Tensor] = []
        self._masks: list[Tensor] = []

    def note(self, sampled: Tensor, logprobs: Tensor, mask: Tensor) -> None:
        """Log-probabilities [B, T] taken while sampling, and the update's own."""
        if self.on_policy:
            self._differences.append((logprobs.detach() - sampled).flatten())
            self._masks.append(mask.flatten())

    def metrics(self) -> dict[str, float]:
        """Over all processes' tokens: the drift in nats, and the mean ratio of probabilities, which
        is 1 in expectation wherever the sampler told the probabilities that it drew with. Nothing
        where the policy stood still."""
        pairs = zip(self._differences, self._masks, strict=True)
        differences = processes.gather_tensors([row[mask] for row, mask in pairs])
        if not differences:
            return {}
        log_ratio = torch.cat(differences)
        drift = log_ratio.abs()
        return {
            "sampling/ratio": float(log_ratio.exp().mean()),
            "sampling/logprob_drift": float(drift.mean()),
            "sampling/logprob_drift_max": float(drift.max()),
        }
