"""Held-out prompts among those that are trained on."""

import re

from rlhfkit.console import count_of
from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding

_DEDUPLICATED = (
    "stages=[prepare,sft,sample,label,reward_model,rl,evaluate,report] "
    "stage.prepare.dedup_prefix=40 stage.prepare.test_fraction=0.1"
)


def leaks(evidence: Evidence) -> Finding | None:
    """Prompts on both sides that differ in nothing but case, punctuation and white space; equal
    ones are refused before a run starts."""
    trained = {_letters(prompt) for prompt in evidence.trained_prompts}
    held_out = {_letters(prompt): prompt for prompt in evidence.held_out_prompts}
    shared = [prompt for letters, prompt in held_out.items() if letters in trained]
    if not shared:
        return None
    return Finding(
        f"trained on, too: {len(shared)} of {count_of(len(held_out), 'held-out prompt')}, as "
        f"'{' '.join(shared[0].split()):.60}'",
        "the same prompts in another spelling, which the check before a run takes for others; what "
        "is measured on them is too good. Spell them alike in the data, or keep one of those that "
        "begin alike",
        (_DEDUPLICATED,),
    )


def _letters(prompt: str) -> str:
    return " ".join(re.findall(r"\w+", prompt.casefold()))
