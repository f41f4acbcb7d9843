"""Everything that is diagnosed, causes before what follows from them."""

from rlhfkit.diagnosis import answers, critic, form, kl, leakage, reward, sampler
from rlhfkit.diagnosis.evidence import PARTS, Evidence
from rlhfkit.diagnosis.finding import Diagnosis, Finding
from rlhfkit.diagnosis.series import LEAST_WINDOW

TWO_WINDOWS = 2 * LEAST_WINDOW
"""Iterations of a run whose end is compared with its start."""

DIAGNOSES = (
    Diagnosis("held-out prompts leak", ("trained_prompts", "held_out_prompts"), leakage.leaks),
    Diagnosis("completions repeat", ("completions",), answers.completions_repeat),
    Diagnosis("ratio is not 1", ("sampling/ratio",), sampler.ratio_off),
    Diagnosis("sampler drifts", ("sampling/logprob_drift",), sampler.sampler_drifts),
    Diagnosis("KL is negative", ("objective/kl",), kl.kl_negative),
    Diagnosis("reward is dead", ("reward_spreads",), reward.reward_dead),
    Diagnosis(
        "value model is blind",
        ("val/explained_variance",),
        critic.critic_blind,
        critic.TIME_TO_LEARN,
    ),
    Diagnosis("answers do not end", ("response/eos_share",), answers.ends_missing, TWO_WINDOWS),
    Diagnosis("KL explodes", ("objective/kl",), kl.kl_explodes),
    Diagnosis("length drifts", ("response/length",), answers.length_drifts, TWO_WINDOWS),
    Diagnosis("reward is saturated", ("reward_spreads",), reward.reward_saturated),
    Diagnosis("overoptimised", ("measured", "objective/scores"), reward.overoptimised, TWO_WINDOWS),
    Diagnosis(
        "SFT is preferred", ("evaluation", "objective/scores"), reward.preferred_less, TWO_WINDOWS
    ),
    Diagnosis(
        "entropy collapses", ("objective/entropy", "response/length"), answers.entropy_collapses
    ),
    Diagnosis("answers repeat", ("response/distinct_share",), answers.answers_repeat),
    Diagnosis("answers take one form", ("held_out_answers", "second_opinion"), form.one_form),
)


def diagnose(evidence: Evidence) -> dict[str, Finding]:
    """What is wrong, by the diagnosis' name and in its order; nothing where all is well."""
    found = {item.name: item.examine(evidence) for item in DIAGNOSES if not missing(item, evidence)}
    return {name: finding for name, finding in found.items() if finding is not None}


def missing(diagnosis: Diagnosis, evidence: Evidence) -> list[str]:
    """What a diagnosis would need and the run does not have, or too little of."""
    return [
        PARTS.get(need, f"{need} of {diagnosis.iterations} iterations")
        for need in diagnosis.needs
        if not evidence.has(need, diagnosis.iterations)
    ]
