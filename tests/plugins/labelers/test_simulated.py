"""labeler=simulated: consistency, stated error rates, and agreement as among people."""

import math
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhfkit.errors import UserError
from rlhfkit_plugins.labelers import SimulatedConfig
from rlhfkit_plugins.labelers.features import FEATURES, measure
from rlhfkit_plugins.labelers.pool import CORE, POOL
from rlhfkit_plugins.labelers.simulated import TYPICAL_GAP, SimulatedLabelers

from .completions import cut_off, demonstrations, prompts_with_completions

PROMPT = "Describe a quiet beach at sunset."
GOOD = "The quiet beach glowed orange at sunset as small waves slid over the sand."
TEXTS = st.lists(
    st.sampled_from(["", " ", GOOD, cut_off(GOOD), f"{GOOD} {GOOD}", "Sure! It is nice.", "Sand."]),
    min_size=2,
    max_size=6,
)


def pool(seed=0, **options):
    context = SimpleNamespace(config=SimpleNamespace(seed=seed), build_all=lambda group: {})
    return SimulatedLabelers(SimulatedConfig(**options), context)


def rank(labelers, questions):
    """Judgements of (prompt text, completions) pairs."""
    prompts = [[{"role": "user", "content": prompt}] for prompt, _ in questions]
    return labelers.rank(prompts, [texts for _, texts in questions])


def preferences(labelers, questions):
    """Per pair of completions, each labeler's preference: -1, 0 for a tie, 1."""
    for judgements in rank(labelers, questions):
        for i, j in combinations(range(len(judgements[0].ranks)), 2):
            differences = [judgement.ranks[j] - judgement.ranks[i] for judgement in judgements]
            yield [(difference > 0) - (difference < 0) for difference in differences]


def share(outcomes):
    outcomes = list(outcomes)
    return sum(outcomes) / len(outcomes)


def test_the_pool_says_that_it_is_simulated():
    (judgements,) = rank(pool(), [(PROMPT, [GOOD, ""])])
    assert [judgement.labeler for judgement in judgements] == list(POOL)
    assert len(POOL) == 5
    assert all(name.startswith("simulated-") for name in POOL)


def test_weights_name_features():
    known = {*FEATURES, "length"}
    assert all({*CORE, *labeler.taste} <= known for labeler in POOL.values())


@given(TEXTS, st.integers(0, 5), st.randoms())
@settings(deadline=None)
def test_position_does_not_matter(texts, seed, rng):
    order = rng.sample(range(len(texts)), len(texts))
    (straight,) = rank(pool(seed), [(PROMPT, texts)])
    (shuffled,) = rank(pool(seed), [(PROMPT, [texts[i] for i in order])])
    for one, other in zip(straight, shuffled, strict=True):
        assert other.ranks == [one.ranks[i] for i in order]


def test_other_questions_do_not_matter():
    questions = prompts_with_completions(4)[:20]
    alone = [rank(pool(), [question])[0] for question in questions]
    assert rank(pool(), questions) == alone
    assert rank(pool(), questions[::-1]) == alone[::-1]


@given(TEXTS, st.integers(0, 50))
@settings(deadline=None)
def test_an_empty_completion_is_worst(texts, seed):
    (judgements,) = rank(pool(seed), [(PROMPT, ["", *texts])])
    for judgement in judgements:
        assert judgement.ranks[0] == max(judgement.ranks)
        for text, other in zip(texts, judgement.ranks[1:], strict=True):
            assert (other == judgement.ranks[0]) == (not text.strip())


def test_equal_completions_tie():
    for judgement in rank(pool(), [(PROMPT, [GOOD, "Sand.", GOOD])])[0]:
        assert judgement.ranks[0] == judgement.ranks[2] < judgement.ranks[1]


def test_close_scores_tie():
    loyal, brave = (
        "A dog is a loyal friend of its people.",
        "A dog is a brave friend of its people.",
    )
    for judgement in rank(pool(error_rate=0.0), [("Describe a dog.", [loyal, brave])])[0]:
        assert judgement.ranks == [1, 1]


def test_seeds_change_mistakes_only():
    questions = prompts_with_completions(4)[:40]
    assert rank(pool(1), questions) != rank(pool(2), questions)
    assert rank(pool(1, error_rate=0.0), questions) == rank(pool(2, error_rate=0.0), questions)


@pytest.mark.parametrize("stated", [0.05, 0.15, 0.3])
@pytest.mark.parametrize("gaps", [1.0, 2.0])
def test_error_rate_at_a_typical_gap(monkeypatch, stated, gaps):
    """Scores are set by hand, a number of typical gaps apart; 4000 judgements a case."""
    labeler = type(POOL["simulated-warm"])
    points = {"better": gaps * TYPICAL_GAP, "worse": 0.0}
    monkeypatch.setattr(labeler, "score", lambda self, features: points[features])
    monkeypatch.setattr("rlhfkit_plugins.labelers.simulated.measure", lambda prompt, text: text)
    monkeypatch.setattr("rlhfkit_plugins.labelers.simulated.ranks_of", lambda scores, _: scores)
    judged = rank(
        pool(error_rate=stated), [(str(number), ["better", "worse"]) for number in range(800)]
    )
    wrong = share(each.ranks[0] < each.ranks[1] for judgements in judged for each in judgements)
    expected = 1 / (1 + (1 / stated - 1) ** gaps)
    assert wrong == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))


def test_error_rates_on_typical_pairs():
    """Against the same labelers without mistakes: about what is stated, for each of them."""
    questions = [question for seed in range(3) for question in prompts_with_completions(4, seed)]
    made, meant = (
        list(preferences(pool(**options), questions)) for options in ({}, {"error_rate": 0.0})
    )
    for index, labeler in enumerate(POOL.values()):
        judged = [(one[index], other[index]) for one, other in zip(made, meant, strict=True)]
        wrong = share(one != other for one, other in judged if one and other)
        assert wrong == pytest.approx(labeler.error_rate, abs=0.03), labeler.name


def test_labelers_agree_as_people_do():
    """InstructGPT: 73 to 77 % of pairs; AlpacaFarm's people: 66 %."""
    judged = list(preferences(pool(), prompts_with_completions(4)))
    for one, other in combinations(range(len(POOL)), 2):
        agreement = share(pair[one] == pair[other] for pair in judged if pair[one] and pair[other])
        assert 0.6 < agreement < 0.85, (list(POOL)[one], list(POOL)[other])
    ties = share(preference == 0 for pair in judged for preference in pair)
    assert 0.01 < ties < 0.15


@pytest.mark.parametrize(
    "spoil",
    [cut_off, lambda text: f"{text} {text} {text}", lambda text: text.split()[0], lambda text: "."],
)
def test_demonstrations_are_preferred_to_spoiled_ones(spoil):
    questions = [(prompt, [text, spoil(text)]) for prompt, text in demonstrations()]
    assert share(one > 0 for pair in preferences(pool(), questions) for one in pair) > 0.9


def test_demonstrations_are_preferred_to_the_prompt_and_to_other_answers():
    rows = demonstrations()
    parrots = [(prompt, [text, prompt]) for prompt, text in rows]
    strangers = [
        (prompt, [text, other])
        for (prompt, text), (_, other) in zip(rows, rows[7:] + rows[:7], strict=True)
    ]
    for questions in (parrots, strangers):
        assert share(sum(pair) > 0 for pair in preferences(pool(error_rate=0.0), questions)) > 0.85


def test_tastes_differ_as_described():
    """Of all labelers, the one whose taste is met gains most from the first completion."""
    dog = "Describe a dog."
    cases = [
        ("simulated-concise", "A dog is a loyal animal.", "Sure! A dog is a loyal animal."),
        ("simulated-complete", "A dog such as Rex weighs 30 kilograms.", "A dog is an animal."),
        ("simulated-relevant", "A dog is loyal.", "It is a loyal, quiet and clever animal."),
        ("simulated-warm", "A dog is a loyal animal, enjoy it.", "A dog is a loyal animal."),
        ("simulated-careful", "A dog is loyal.", "A dog is loyal. A dog is loyal. A dog is loyal."),
    ]
    for name, liked, other in cases:
        gain = {
            labeler.name: labeler.score(measure(dog, liked)) - labeler.score(measure(dog, other))
            for labeler in POOL.values()
        }
        assert max(gain, key=gain.get) == name, gain


def test_choosing_from_the_pool():
    chosen = pool(labelers=["simulated-warm", "simulated-concise"])
    assert [labeler.name for labeler in chosen.labelers] == ["simulated-warm", "simulated-concise"]
    question = (PROMPT, [GOOD, cut_off(GOOD), "No."])
    (everyone,), (some,) = rank(pool(), [question]), rank(chosen, [question])
    assert some == [everyone[3], everyone[0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labelers": ["simulated-warn"]}, "did you mean 'simulated-warm'"),
        ({"labelers": []}, "at least one"),
        ({"labelers": ["simulated-warm"] * 2}, "none twice"),
        ({"error_rate": 0.5}, "labeler.error_rate=0.5"),
        ({"error_rate": -0.1}, "labeler.error_rate=-0.1"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(UserError, match=message):
        SimulatedConfig(**options).check("labeler")


def test_the_documentation_has_the_pools_numbers():
    text = (Path(__file__).parents[3] / "docs/labelers.md").read_text("utf-8")
    for name, points in CORE.items():
        assert f"| {name} | {points} |" in text
    for labeler in POOL.values():
        fewest, most = labeler.ideal_words
        taste = ", ".join(f"{name} {points}" for name, points in labeler.taste.items())
        assert (
            f"| `{labeler.name}` | {labeler.description} | {fewest} to {most} | {taste} "
            f"| {labeler.tie_margin} | {labeler.error_rate:.0%} |"
        ) in text
