"""The form of the answers: do they all begin alike, at the cost of what they say?"""

import re
from collections import Counter
from collections.abc import Iterator
from math import sqrt

from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.finding import Finding
from rlhfkit.diagnosis.remedies import stronger_kl

MOST_ALIKE = 0.5
"""Share of answers with one beginning: with less, most answers begin in other ways."""

RISE = 0.3
"""How much larger that share must be than the SFT model's: a task may ask for a form, and then
SFT has it as well."""

ERRORS = 3.0
"""Standard errors that the rise must have: two dozen answers may begin alike by chance."""

QUOTATION_MARKS = "\"'`“”„‘’«»「『"
"""One beginning, however it is typed."""


def one_form(evidence: Evidence) -> Finding | None:
    """Far more answers than SFT's have the same beginning, while something measured gets worse."""
    answers = evidence.held_out_answers
    policy, sft = ([*map(beginning, answers[who])] for who in ("rl", "sft"))
    form, count = Counter(policy).most_common(1)[0]
    mine, its = count / len(policy), sft.count(form) / len(sft)
    error = sqrt(mine * (1 - mine) / len(policy) + its * (1 - its) / len(sft))
    losses = [*_losses(evidence)]
    if mine < MOST_ALIKE or mine - its < max(RISE, ERRORS * error) or not losses:
        return None
    half = int(evidence.option("stage.rl.total_episodes", 1024)) // 2
    return Finding(
        f"{mine:.0%} of the policy's {len(policy)} answers to held-out prompts begin with "
        f"{form or 'nothing'}, {its:.0%} of the SFT model's; {losses[0]}",
        "the reward pays for the form of an answer more than for what it says",
        (*stronger_kl(evidence), f"stage.rl.total_episodes={half}"),
        "Skalse et al. 2022, Defining and Characterizing Reward Hacking (arXiv 2209.13085)",
    )


def beginning(answer: str) -> str:
    """The first word or mark: `the` of "The sky", a quotation mark of any kind as `"`."""
    found = re.search(r"\w+|[^\w\s]", answer)
    first = found[0].lower() if found else ""
    return '"' if first in [*QUOTATION_MARKS] else first


def _losses(evidence: Evidence) -> Iterator[str]:
    """A sentence for everything in which the policy is worse than SFT, by whole intervals: what a
    model can do, item by item, and rewards that are not trained on."""
    for name, entry in evidence.tax.items():
        delta = entry["deltas"].get("sft", {}).get("rl")
        if delta and (delta["high"] < 0 if entry["better"] == "higher" else delta["low"] > 0):
            limits = f"[{delta['low']:.2g}, {delta['high']:.2g}]"
            yield f"{name} is {delta['value']:+.2g} {limits} beside SFT's"
    for name, (policy, sft) in evidence.evaluated_rewards.items():
        if policy["high"] < sft["low"]:
            yield (
                f"reward {name}, which is not trained on, is {policy['value']:.2g} "
                f"[{policy['low']:.2g}, {policy['high']:.2g}], SFT's {sft['value']:.2g} "
                f"[{sft['low']:.2g}, {sft['high']:.2g}]"
            )
