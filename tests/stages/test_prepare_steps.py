"""Each step of the stage prepare: literal examples, and what must hold for all rows."""

import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhfkit.data.split_keys import keys, user_of
from rlhfkit.errors import UserError
from rlhfkit.stages.prepare_steps import (
    capped,
    deduplicated,
    mixed,
    split_by_user,
    with_examples,
    without_pii,
)
from tests.stages.prepare_rows import ROWS, prompt, texts


def test_of_prompts_that_share_a_prefix_the_first_is_kept():
    rows = [prompt("summarise: one"), prompt("summarise: two"), prompt("sum"), prompt("sum")]
    assert texts(deduplicated(rows, 10)) == ["summarise: one", "sum"]
    assert texts(deduplicated(rows, 12)) == ["summarise: one", "summarise: two", "sum"]


def test_white_space_does_not_hide_a_shared_prefix():
    assert texts(deduplicated([prompt("a  b\nc"), prompt("a b c d")], 5)) == ["a  b\nc"]


def test_rankings_of_the_prompt_that_is_kept_all_stay():
    rows = [prompt(text, ranks=[1, 2]) for text in ("red one", "red one", "red two", "blue")]
    assert texts(deduplicated(rows, 3)) == ["red one", "red one", "blue"]


@given(ROWS, st.integers(1, 6))
def test_deduplication_is_idempotent_and_leaves_no_shared_prefix(rows, length):
    kept = deduplicated(rows, length)
    assert deduplicated(kept, length) == kept
    starts = [" ".join(text.split())[:length] for text in texts(kept)]
    assert len(starts) == len(set(starts))
    assert set(starts) == {" ".join(text.split())[:length] for text in texts(rows)}


def test_the_first_rows_of_a_user_are_kept():
    rows = [prompt(text, user=user) for text, user in zip("abcde", "xyxxy", strict=True)]
    assert texts(capped(rows, 2)) == ["a", "b", "c", "e"]
    assert texts(capped([prompt("a"), prompt("b", user=""), prompt("c", user="")], 1)) == list(
        "abc"
    )


@given(ROWS, st.integers(1, 4))
def test_caps_hold(rows, limit):
    kept = capped(rows, limit)
    count = Counter(user_of(row) for row in kept)
    for user, all_rows in Counter(user_of(row) for row in rows).items():
        assert count[user] == (all_rows if user is None else min(limit, all_rows))


def keys_by_part(parts):
    return {
        part: set().union(*(keys(row, row["prompt"]) for rows in kinds.values() for row in rows))
        for part, kinds in parts.items()
    }


@given(ROWS, ROWS, st.floats(0, 0.5), st.floats(0, 0.5))
def test_no_user_and_no_prompt_is_in_two_parts(prompts, demonstrations, validation, test):
    kinds = {"prompts": prompts, "demonstrations": demonstrations}
    parts = split_by_user(kinds, validation, test)
    found = keys_by_part(parts)
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert not found["validation"] & found["test"]
    everything = set().union(*(keys(row, row["prompt"]) for rows in kinds.values() for row in rows))
    wanted = {key for key in everything if key[0] == "prompt"}
    assert {key for part in found.values() for key in part if key[0] == "prompt"} == wanted


def test_users_are_split_by_their_share_and_the_same_in_every_kind():
    kinds = {
        kind: [prompt(f"{kind} {user} {row}", user=user) for user in range(1000) for row in (0, 1)]
        for kind in ("prompts", "rankings")
    }
    parts = split_by_user(kinds, validation=0.2, test=0.1)
    for kind in kinds:
        users = {part: {row["user"] for row in rows[kind]} for part, rows in parts.items()}
        assert sum(map(len, users.values())) == 1000
        assert users == {p: {row["user"] for row in parts[p]["prompts"]} for p in parts}
        assert abs(len(users["validation"]) - 200) < 40
        assert abs(len(users["test"]) - 100) < 30
    assert split_by_user(kinds, 0.2, 0.1) == parts


def test_a_prompt_of_several_users_is_held_out_with_the_one_that_is():
    """With a test share of 0.3 u0 is of the training part and u10 of the test part."""
    rows = [prompt("same", user="u0"), prompt("other", user="u0"), prompt("same", user="u10")]
    place = {user: split_by_user({"p": [prompt("x", user=user)]}, 0, 0.3) for user in ("u0", "u10")}
    sides = {user: next(p for p, k in parts.items() if k["p"]) for user, parts in place.items()}
    assert sides == {"u0": "train", "u10": "test"}
    parts = split_by_user({"p": rows}, 0, 0.3)
    assert texts(parts["train"]["p"]) == ["other"]
    assert texts(parts["test"]["p"]) == ["same"]


def test_rows_with_personal_data_are_left_out():
    rows = [
        prompt("Write to jane.roe@example.org"),
        prompt("Call (555) 867-5309 today"),
        prompt("Who lives at 192.168.0.12?"),
        prompt("What is red?", completion="Ask 078-05-1120"),
        prompt("What is blue?", completions=["fine", "jane@example.org"]),
        prompt("In 1984 there were 12 apples"),
    ]
    kinds = ["EMAIL", "PHONE", "SSN", "IP_ADDRESS"]
    assert texts(without_pii(rows, kinds)) == ["In 1984 there were 12 apples"]
    assert len(without_pii(rows, ["EMAIL"])) == 4


def test_an_unknown_kind_of_personal_data_names_the_nearest():
    with pytest.raises(UserError, match=r"stage\.prepare\.pii=\['EMAILS'\]: did you mean 'EMAIL'"):
        without_pii([], ["EMAILS"])


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datafog", None)
    with pytest.raises(UserError, match=r"pip install 'rlhfkit\[pii\]'"):
        without_pii([], ["EMAIL"])


def test_sources_are_mixed_by_the_surplus_left_out():
    rows = [prompt(str(i), source="labeler" if i < 10 else "customer") for i in range(40)]
    kept = mixed(rows, {"labeler": 0.25, "customer": 0.75}, seed=0)
    assert Counter(row["source"] for row in kept) == {"labeler": 10, "customer": 30}
    kept = mixed(rows, {"labeler": 0.5, "customer": 0.5}, seed=0)
    assert Counter(row["source"] for row in kept) == {"labeler": 10, "customer": 10}
    assert kept == [row for row in rows if row in kept]
    assert kept != mixed(rows, {"labeler": 0.5, "customer": 0.5}, seed=1)
    assert mixed(rows, {"labeler": 0, "customer": 1}, seed=0) == rows[10:]


@given(ROWS, st.sampled_from([0.2, 0.5, 0.9]))
def test_shares_hold_to_a_row_and_no_more_could_be_had(rows, share):
    count = Counter(row["source"] for row in rows)
    if len(count) < 2:
        return
    kept = Counter(
        row["source"] for row in mixed(rows, {"labeler": share, "customer": 1 - share}, 0)
    )
    total = sum(kept.values())
    assert abs(kept["labeler"] - share * total) <= 1
    assert kept["labeler"] == count["labeler"] or kept["customer"] == count["customer"]


def test_a_source_that_no_row_has_is_named():
    with pytest.raises(UserError, match="no row of source 'labelers'; did you mean 'labeler'"):
        mixed([prompt("a", source="labeler")], {"labelers": 1.0}, seed=0)


def demonstration(query, completion, instruction="Sentiment?"):
    return prompt(query, completion=completion, instruction=instruction)


def test_k_pairs_make_k_demonstrations_with_the_others_in_the_context():
    rows = [demonstration("good", "yes"), demonstration("bad", "no"), demonstration("meh", "so")]
    rows.append(prompt("alone", completion="x"))
    made = with_examples(rows, 9, lambda row: True)
    assert texts(made) == [
        "Sentiment?\n\nbad\nno\n\nmeh\nso\n\ngood",
        "Sentiment?\n\ngood\nyes\n\nmeh\nso\n\nbad",
        "Sentiment?\n\ngood\nyes\n\nbad\nno\n\nmeh",
        "alone",
    ]
    assert [row["completion"] for row in made] == ["yes", "no", "so", "x"]
    assert texts(rows)[0] == "good"


def test_examples_are_as_many_as_fit():
    rows = [demonstration(letter, letter) for letter in "abcd"]
    assert texts(with_examples(rows, 1, lambda row: True))[0] == "Sentiment?\n\nb\nb\n\na"
    short = with_examples(rows, 9, lambda row: len(row["prompt"][0]["content"]) < 22)
    assert texts(short)[0] == "Sentiment?\n\nb\nb\n\na"
    assert texts(with_examples(rows, 9, lambda row: False))[0] == "Sentiment?\n\na"
