"""rlhfkit_plugins.labelers.features: literal cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhfkit_plugins.labelers.features import FEATURES, measure, stem, tokens

CASES = [
    ("words", "", "It's a well-known fact.", 5),
    ("words", "", " ... ", 0),
    ("complete", "", "It rains.", 1),
    ("complete", "", "It rains. \n", 1),
    ("complete", "", 'She said: "It rains!"', 1),
    ("complete", "", "It rains (a lot?)", 1),
    ("complete", "", "It rains. And the", 0),
    ("complete", "", "It rains,", 0),
    ("complete", "", "", 0),
    ("repetition", "", "one two three four five", 0),
    ("repetition", "", "a b c a b c", 1 / 4),  # abc bca cab abc
    ("repetition", "", "No. No. No. Yes.", 2 / 4),
    ("repetition", "", "", 0),
    ("relevance", "Describe a quiet beach at sunset.", "Beaches are quiet.", 2 / 3),
    ("relevance", "Write about baking bread", "She bakes BREAD", 1),
    ("relevance", "Write one sentence.", "Anything.", 1),
    ("relevance", "Describe a dog.", "", 0),
    ("echo", "where is my cat now", "where is my cat now", 1),
    ("echo", "where is my cat now", "so, where is my dog", 1 / 3),
    ("echo", "Hello there", "Hello there", 0),
    ("courtesy", "", "The capital is Paris.", 0),
    ("courtesy", "", "You are welcome.", 0.5),
    ("courtesy", "", "Thank you, please enjoy it!", 1),
    ("directness", "", "Paris is the capital.", 1),
    ("directness", "", "Sure! Paris.", 0),
    ("directness", "", "Here's a poem: roses", 0),
    ("directness", "", "As an AI language model, I like it.", 0),
    ("directness", "", "I'm sorry, but no.", 0),
    ("directness", "", "I am sorry you feel sad.", 1),
    ("directness", "", "Surely it is Paris.", 1),
    ("listing", "", "Buy:\n- milk\n* bread\n3. eggs", 3 / 4),
    ("listing", "", "3.5 metres - at least", 0),
    ("listing", "", "", 0),
    ("concreteness", "", "The river flows.", 0),
    ("concreteness", "", "The river Seine flows. It is long.", 0.5),
    ("concreteness", "", "On day 12 we saw 3 ducks.", 1),
]


@pytest.mark.parametrize(("name", "prompt", "completion", "expected"), CASES)
def test_literal_cases(name, prompt, completion, expected):
    assert FEATURES[name](prompt, completion) == pytest.approx(expected)


def test_every_feature_has_a_case():
    assert {name for name, *_ in CASES} == set(FEATURES)


@given(st.text(), st.text())
def test_any_text_gives_shares(prompt, completion):
    features = measure(prompt, completion)
    assert features.pop("words") == len(tokens(completion))
    assert all(0 <= value <= 1 for value in features.values()), features


def test_stems_join_the_forms_of_a_word():
    assert {stem(word) for word in ("baking", "baked", "bakes", "bake")} == {"bak"}
    assert {stem(word) for word in ("story", "stories")} == {"stor"}
    assert stem("as") == "as"  # what would be left is too short
