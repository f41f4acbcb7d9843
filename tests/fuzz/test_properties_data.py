"""Whatever a row holds it is an item or a drop; whatever is held out is trained on by nobody."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlhfkit.data import sources
from rlhfkit.data.leakage import refuse_leaks
from rlhfkit.data.row_parsing import CONVERT, Unusable
from rlhfkit.data.text_format import TextFormat
from rlhfkit.errors import UserError
from rlhfkit.stages.prepare_steps import PARTS, split_by_user
from rlhfkit.types import SPLITS, Ends
from tests.fuzz.json_values import ROWS
from tests.fuzz.outcome import well_formed
from tests.stages.prepare_rows import ROWS as PREPARED

ONE_FOLDER = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("split", SPLITS)
@given(row=ROWS)
@settings(max_examples=150)
def test_any_row_is_an_item_or_unusable(split, row):
    item, told = None, ""
    try:
        item = CONVERT[split]({"text": None, **row})
    except Unusable as error:
        told = str(error)
    assert told or well_formed(item)


@given(row=ROWS, more=ROWS)
@settings(max_examples=100)
def test_any_ranking_is_the_same_when_it_is_read_again(row, more):
    """As the stage prepare writes it."""
    try:
        first = CONVERT["rankings"]({**row, **more})
    except Unusable:
        return
    assert vars(CONVERT["rankings"](vars(first))) == vars(first)


class Words:
    """A tokenizer of a token a word."""

    eos_token_id, name_or_path = 0, "words"

    def get_added_vocab(self):
        return {}

    def __call__(self, text, add_special_tokens):
        return type("Encoding", (), {"input_ids": [len(word) for word in text.split()]})


TEXT = TextFormat(Words(), chat=False, ends=Ends((0,)))
USERS = st.sampled_from([None, "ann", "bo", "cy"])
PEOPLE = st.lists(
    st.fixed_dictionaries(
        {"prompt": st.text(alphabet="ab ", max_size=4), "completion": st.just("c"), "user": USERS}
    ),
    min_size=1,
    max_size=12,
)


def by_file(tmp_path, **splits):
    options = {}
    for split, rows in splits.items():
        path = tmp_path / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options[split] = str(path)
    return {"files": options}


def keys(rows):
    """Prompts without outer blanks, and users."""
    texts = {" ".join(row["prompt"][-1]["content"].split()) for row in rows}
    return texts | {f"user {row['user']}" for row in rows if row.get("user")}


@given(prompts=PEOPLE, demonstrations=PEOPLE, share=st.floats(0.05, 0.95))
@ONE_FOLDER
def test_nobody_trains_on_what_is_held_out(context, tmp_path, prompts, demonstrations, share):
    files = by_file(tmp_path, prompts=prompts, demonstrations=demonstrations)
    made = context(files, eval_fraction=share)
    try:
        held_out = sources.held_out_prompts(made, TEXT)
        training = sources.training_prompts(made, TEXT)
        shown = [item.prompt for item in sources.demonstrations(made)]
    except UserError:  # nothing is left of one side
        return
    texts = {" ".join(prompt[-1]["content"].split()) for prompt in held_out}
    for prompt in [*training, *shown]:
        assert " ".join(prompt[-1]["content"].split()) not in texts
    users = {row["user"] for row in prompts if row["prompt"] in
             {prompt[-1]["content"] for prompt in held_out} and row["user"]}  # fmt: skip
    trained = {prompt[-1]["content"] for prompt in training}
    alone = {row["user"] for row in prompts if row["prompt"] in trained} - {None}
    shared = {row["prompt"] for row in prompts if row["user"] in users & alone}
    assert not users & alone or shared & texts  # a text of two users counts for both


@given(training=PEOPLE, held_out=PEOPLE)
@ONE_FOLDER
def test_a_leak_is_refused_exactly_where_there_is_one(context, tmp_path, training, held_out):
    made = context(by_file(tmp_path, prompts=training, eval_prompts=held_out))
    try:
        mine, theirs = (keys(sources.rows_of(made, s)) for s in ("prompts", "eval_prompts"))
    except UserError:  # no usable row
        return
    told = ""
    try:
        refuse_leaks(made)
    except UserError as error:
        told = str(error)
    assert ("leaks into training" in told) == bool(mine & theirs)


@given(PREPARED, PREPARED, st.floats(0, 0.5), st.floats(0, 0.49))
@settings(max_examples=60)
def test_a_split_loses_no_row_but_for_its_prompt(prompts, demonstrations, validation, test):
    rows = {"prompts": prompts, "demonstrations": demonstrations}
    parts = split_by_user(rows, validation, test)
    for kind, items in rows.items():
        kept = [row for part in PARTS for row in parts[part][kind]]
        assert all(row in items for row in kept)
        held = keys([row for part in PARTS for rows in parts[part].values() for row in rows])
        assert keys(items) - {key for key in keys(items) if key.startswith("user ")} <= held
    if validation == test == 0:
        assert parts["train"] == rows
