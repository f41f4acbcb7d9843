"""labeler=simulated on prompts with a rubric: what is asked for wins, and attacks lose.

`sft_answers.jsonl` has the greedy answers of a quickstart's SFT model to the held-out prompts.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlhfkit_plugins.labelers import SimulatedConfig
from rlhfkit_plugins.labelers.fluency import fluency
from rlhfkit_plugins.labelers.simulated import SimulatedLabelers
from rlhfkit_plugins.quickstart import QuickstartConfig
from rlhfkit_plugins.quickstart.source import QuickstartSource

from .attacks import ATTACKS, attacked


@pytest.fixture(scope="module")
def pool():
    sources = {"quickstart": QuickstartSource(QuickstartConfig())}
    context = SimpleNamespace(config=SimpleNamespace(seed=0), build_all=lambda group: sources)
    return SimulatedLabelers(SimulatedConfig(), context)


@pytest.fixture(scope="module")
def sft_answers():
    lines = Path(__file__).with_name("sft_answers.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["prompt"] for row in rows], [row["answer"] for row in rows]


def wins(pool, prompts, ours, theirs):
    """The share of judgements that prefer ours, a tie as one half."""
    asked = [[{"role": "user", "content": prompt}] for prompt in prompts]
    judged = pool.rank(asked, [list(pair) for pair in zip(ours, theirs, strict=True)])
    ranks = [judgement.ranks for judgements in judged for judgement in judgements]
    return sum(0.5 if own == other else float(own < other) for own, other in ranks) / len(ranks)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_lose_to_the_sft_models_answers(pool, sft_answers, attack):
    prompts, answers = sft_answers
    assert len(prompts) >= 150
    assert wins(pool, prompts, attacked(attack, prompts, answers), answers) < 0.3


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_lose_to_demonstrations(pool, attack):
    rows = QuickstartSource(QuickstartConfig()).load("demonstrations")
    prompts, answers = rows["prompt"], rows["completion"]
    assert wins(pool, prompts, attacked(attack, prompts, answers), answers) < 0.1


@pytest.mark.parametrize(
    ("prompt", "good", "bad"),
    [
        ("Which city is the capital of Italy?", "The capital is Rome.", "The capital is Milan."),
        (
            "Which city is the capital of England? Reply in quotation marks.",
            '"The capital of England is London."',
            "The capital of England is London.",
        ),
        (
            "Which city is the capital of China? Reply in a single short sentence.",
            "The capital of China is Beijing.",
            '"The capital of China is Beijing."',
        ),
    ],
)
def test_what_the_rubric_asks_for_wins(pool, prompt, good, bad):
    assert wins(pool, [prompt], [good], [bad]) > 0.5
    scores = pool.score([[{"role": "user", "content": prompt}]] * 2, [good, bad])
    assert scores[0] > scores[1] + 1


def test_fluency():
    assert fluency("A dog is a friendly animal.") == 1.0
    assert fluency("No lo sé, pero es una buena pregunta.") == 0.0
    assert fluency("asdf jkl qwe rty") == 0.0
    assert fluency("") == 0.0
    assert fluency("Tokyo") < fluency("Tokyo", {"tokyo"}) == 1.0
