"""evaluator=rubrics: shares against literals, greedy answers, and differences paired by prompt."""

import pytest

from rlhfkit.types import Response
from rlhfkit_plugins.evaluators import RubricsConfig, rubrics
from rlhfkit_plugins.evaluators.rubrics import Rubrics

from .samples import samples

COLUMNS = {
    "rubric": {
        "Italy?": {"contains": [["Rome"]], "form": ["capitals"]},
        "Peru?": {},
        "Hello": None,
    },
    "accepted": {"Italy?": ["Rome"], "Peru?": ["Lima"], "Hello": None},
}
PROMPTS = ["Italy?", "Peru?", "Hello"]


class Columns:
    def of(self, name, prompts):
        return [COLUMNS[name][prompt[-1]["content"]] for prompt in prompts]


@pytest.fixture
def evaluator(make_context, monkeypatch):
    """Greedy answers are given by hand: all are right, the SFT model's not in capitals."""
    said = {"sft": ["Rome", "Lima", "Hi"], "rl": ["ROME", "Lima", "Hi"], "base": ["Oslo", "a", "b"]}

    def greedy(own):
        answers = said[own.policy]
        return samples(own.policy, answers, prompts=PROMPTS)

    made = Rubrics(RubricsConfig(resamples=50), make_context())
    made._columns = Columns()
    monkeypatch.setattr(made, "_greedy", greedy)
    return made


def test_shares_and_paired_differences(evaluator):
    """Of each policy's answers only the first ended, which is a part of a rubric, too."""
    found = evaluator.evaluate(
        {
            "sft": samples("sft", ["Rome", "Oslo", "x"], [0.0] * 3, PROMPTS),
            "rl": samples("rl", ["ROME", "Lima", "x"], [0.1] * 3, PROMPTS),
            "base": samples("base", ["Oslo", "Oslo", "x"], [0.2] * 3, PROMPTS),
            "other": samples("other", ["ROME", "Lima", "x"], None, PROMPTS),
        }
    )
    values = {name: metric.value for name, metric in found.metrics["rl"].items()}
    assert values["rubric"] == 0.5  # of the two prompts with a rubric; the second was cut
    assert values["rubric/form"] == 1.0
    assert values["rubric/ends"] == 0.5
    assert values["closed_questions"] == 1.0
    assert values["rubric_minus_sft"] == 0.5
    assert values["rubric_greedy_minus_sft"] == 0.5
    assert values["closed_questions_minus_sft"] == 0.5
    assert values["closed_questions_greedy_minus_sft"] == 0.0
    names = ("rubric", "rubric_greedy", "closed_questions", "closed_questions_greedy")
    assert found.better == dict.fromkeys(names, "higher")
    assert values["closed_questions_greedy_minus_base"] == 1.0
    assert found.metrics["rl"]["rubric"].count == 2
    assert "rubric_minus_sft" not in found.metrics["sft"]
    assert "rubric_minus_base" in found.metrics["sft"]
    assert not any("minus" in name for name in found.metrics["base"])
    assert "other" not in found.metrics  # reads other tokens


def test_nothing_of_data_without_rubrics(evaluator, monkeypatch):
    monkeypatch.setitem(COLUMNS, "rubric", dict.fromkeys(PROMPTS))
    monkeypatch.setitem(COLUMNS, "accepted", dict.fromkeys(PROMPTS))
    found = evaluator.evaluate({"sft": samples("sft", ["a", "b", "c"], [0.0] * 3, PROMPTS)})
    assert found.metrics == {"sft": {}}


def test_greedy_answers_are_the_likeliest_tokens(make_context, monkeypatch):
    """The sampler gets a temperature of almost 0, and nothing else is changed."""
    context, temperatures = make_context("sampler.temperature=0.7"), []

    class Sampler:
        def __init__(self, context):
            temperatures.append(context.config.sampler.temperature)

        def sample(self, model, prompts, ends, generator):
            return [Response([3], [0.0], True) for _ in prompts]

    monkeypatch.setattr(rubrics, "load_policy", lambda context, policy: policy)
    monkeypatch.setattr(rubrics, "sampler_for", lambda context, model: Sampler(context))
    prompts = [[{"role": "user", "content": "what is a"}]] * 2
    assert len(rubrics.greedy_responses(context, "base", prompts)) == 2
    assert temperatures == [1e-6]
    assert context.config.sampler.temperature == 0.7
