"""rlhfkit_plugins.quickstart.tasks: the packaged rows are made of the tables, and nothing leaks."""

import json
from importlib.resources import files

import pytest

from rlhfkit_plugins.quickstart.tasks import rows, tables
from rlhfkit_plugins.rubrics import Rubric, occurs

ROWS = rows()
FOLDER = files("rlhfkit_plugins.quickstart") / "data"
SPLITS = ("demonstrations", "prompts", "eval_prompts")


@pytest.mark.parametrize("split", SPLITS)
def test_the_packaged_files_are_what_the_tables_make(split):
    with (FOLDER / f"{split}.jsonl").open(encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == ROWS[split]


def test_demonstrations_keep_their_rubrics():
    for row in ROWS["demonstrations"]:
        kept = Rubric.of(row["rubric"]).kept(row["completion"])
        assert all(kept.values()), (row["prompt"], row["completion"], kept)


def test_what_is_wanted_does_not_stand_in_the_prompt():
    """But for the topic of a question; so that neither copying nor filling in words helps."""
    for split in SPLITS:
        for row in ROWS[split]:
            if row["category"] != "question":
                wanted = [word for group in row["rubric"]["contains"] for word in group]
                found = [word for word in wanted if occurs(word, row["prompt"])]
                assert found == [], row["prompt"]


def test_held_out_facts_and_topics_are_new():
    found = tables()
    for relation in found["relations"].values():
        assert not relation["facts"]["train"].keys() & relation["facts"]["held_out"].keys()
    assert not found["questions"]["train"].keys() & found["questions"]["held_out"].keys()
    assert not found["topics"]["train"].keys() & found["topics"]["held_out"].keys()
    categories = found["lists"]["categories"]
    assert not categories["train"].keys() & categories["held_out"].keys()


def test_held_out_wordings_are_new():
    found = tables()
    wordings = [*found["relations"].values(), *found["constraints"].values(), found["lists"]]
    wordings += [found["topics"]["sentence"], found["topics"]["question"]]
    for wording in wordings:
        assert not {*wording["train"]} & {*wording["held_out"]}


def test_enough_of_each():
    assert len(ROWS["eval_prompts"]) >= 150
    assert sum(bool(row["accepted"]) for row in ROWS["eval_prompts"]) >= 100
    categories = {row["category"] for row in ROWS["eval_prompts"]}
    assert {row["category"] for row in ROWS["prompts"]} == categories
    assert len({row["prompt"] for split in SPLITS for row in ROWS[split]}) == sum(
        len(ROWS[split]) for split in SPLITS
    )
