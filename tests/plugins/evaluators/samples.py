"""Policies' samples by hand."""

from rlhfkit.types import PolicySamples, Response


def samples(policy, completions, kl=None, prompts=None):
    """One completion a prompt; the first ended by itself, the others were cut off."""
    asked = prompts or [f"Describe animal {index}." for index in range(len(completions))]
    return PolicySamples(
        policy,
        [[{"role": "user", "content": text}] for text in asked],
        list(completions),
        [
            Response(list(range(3, 4 + index)), [-1.0] * (1 + index), index == 0)
            for index in range(len(completions))
        ],
        [[5, 6]] * len(completions),
        kl,
    )
