"""Every diagnosis on runs that are really broken in that way, and none on healthy ones, at any
iteration; `record.py` says how each run was made."""

from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from rlhfkit.diagnosis.diagnoses import DIAGNOSES, diagnose
from rlhfkit.diagnosis.evidence import Evidence
from rlhfkit.diagnosis.stored import read_evidence
from rlhfkit.runner.preflight import check_options
from rlhfkit.storage.run_dir import RunDir
from tests.diagnosis.record import RECORDED, RUNS

HEALTHY = [name for name in RUNS if name.startswith("healthy")]

BROKEN = (
    # run, what is wrong, what it must have seen
    ("prompts_leak", "held-out prompts leak", "trained on, too: 3 of 6 held-out prompts, as '"),
    (
        "completions_repeat",
        "completions repeat",
        "equal completions only: 11 of 12 prompts in stage",
    ),
    ("completions_repeat", "answers repeat", "3.1% of a batch's answers are different"),  # 1 of 32
    ("ratio_off", "ratio is not 1", "mean ratio 0.741 before the first step"),  # exp(-0.3)
    ("ratio_off", "sampler drifts", "differ by 0.3 nats a token"),
    ("sampler_drifts", "sampler drifts", "differ by 0.12 nats a token"),
    ("kl_negative", "KL is negative", "a KL is never below 0"),
    ("reward_dead", "reward is dead", "reward length never varies"),
    ("value_model_stuck", "value model is blind", "(median of iterations 21 to 30)"),
    ("ends_missing", "answers do not end", "of the answers end within 4 tokens"),
    ("overoptimised", "answers do not end", "1% of the answers end within 16 tokens"),
    ("kl_explodes", "KL explodes", "more than 10 is far"),
    ("overoptimised", "length drifts", "10.0 tokens an answer in iterations 1 to 3, 15.9 in"),
    ("length_shrinks", "length drifts", "7.6 tokens an answer in iterations 1 to 3, 2.0 in"),
    ("length_shrinks", "reward is saturated", "reward length is 1 for nearly every answer"),
    ("overoptimised", "overoptimised", "reward format, which is not trained on, falls from 0.198"),
    ("sft_preferred", "SFT is preferred", "the policy is preferred to SFT in 3% [0%, 7%]"),
    (
        "one_form",
        "answers take one form",
        "100% of the policy's 36 answers to held-out prompts begin",
    ),
    ("completions_repeat", "entropy collapses", "0.000 nats a token in iterations 25 to 30"),
)


def evidence_of(name: str) -> Evidence:
    """What a recorded run has."""
    return read_evidence(RunDir(RECORDED / name))


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_raises_nothing_at_any_iteration(name):
    evidence = evidence_of(name)
    assert len(evidence.rows) == 30
    for count in range(1, 31):
        assert diagnose(replace(evidence, rows=evidence.rows[:count])) == {}, count


@pytest.mark.parametrize(("name", "wrong", "saw"), BROKEN)
def test_a_broken_run_is_found_out(name, wrong, saw):
    found = diagnose(evidence_of(name))
    assert saw in found[wrong].saw
    assert found[wrong].cause
    assert found[wrong].change


def test_every_diagnosis_has_its_broken_run():
    assert {wrong for _, wrong, _ in BROKEN} == {item.name for item in DIAGNOSES}
    assert {*HEALTHY, *(name for name, _, _ in BROKEN)} == set(RUNS)


def test_a_broken_sampler_is_told_alone():
    assert [*diagnose(evidence_of("sampler_drifts"))] == ["sampler drifts"]
    assert [*diagnose(evidence_of("prompts_leak"))] == ["held-out prompts leak"]


def test_a_measured_reward_that_fell_can_choose_the_policy():
    evidence = evidence_of("overoptimised")
    choice = "stage.rl.select_by=format"
    for by, told in (("last", True), ("format", False)):
        settings = {**evidence.settings, "stage.rl.select_by": by}
        found = diagnose(replace(evidence, settings=settings))["overoptimised"]
        assert (choice in found.change) is told


CONTROLLERS = {
    "kl=none": {},
    "kl=fixed": {"kl.kl_coef": 0.05},
    "kl=adaptive": {"kl.target": 6.0},
}
"""Options that are changed by the controller a run has."""


def changes(controller: str) -> set[str]:
    """What any finding of a broken run would change, were the controller this one."""
    found = set()
    for name in {name for name, _, _ in BROKEN}:
        evidence = evidence_of(name)
        others = {key: item for key, item in evidence.settings.items() if key[:3] != "kl."}
        evidence = replace(evidence, settings=others | CONTROLLERS[controller])
        found |= {change for item in diagnose(evidence).values() for change in item.change}
    return found


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_every_option_that_is_named_exists_and_takes_its_value(make_raw, controller):
    for change in changes(controller):
        check_options(OmegaConf.to_object(make_raw(controller, *change.split())))
