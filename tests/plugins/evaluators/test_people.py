"""evaluator=people: ratings, flags and preferences that were given on the page."""

from contextlib import closing
from types import SimpleNamespace

import pytest

from rlhfkit.errors import NotRun
from rlhfkit.labelling.items import Item
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Submission
from rlhfkit.storage.run_dir import RunDir
from rlhfkit_plugins.evaluators import PeopleConfig
from rlhfkit_plugins.evaluators.people import People

from .samples import samples

DRAWN = {
    "sft": samples("sft", ["one", "two", "same"]),
    "rl": samples("rl", ["uno", "dos", "same"]),
}


@pytest.fixture
def people(tmp_path):
    return People(PeopleConfig(), SimpleNamespace(run_dir=RunDir(tmp_path)))


def say(people, labeler, place, ranks, *overall, flags=(), text=None):
    """A labeler judges the pair of answers in one place."""
    texts = [text or DRAWN["rl"].completions[place], DRAWN["sft"].completions[place]]
    item = Item("evaluate", DRAWN["rl"].prompts[place], texts, [True, True], ["rl", "sft"])
    ratings = [{"overall": value, "flags": [*flags], "notes": ""} for value in overall]
    with closing(Store(people._run / "judgements.sqlite")) as store:
        store.add(item, labeler, Submission(0, ranks, ratings))


def test_ratings_flags_and_preferences_of_these_answers(people):
    say(people, "ann", 0, [1, 2], 7, 3, flags=["hallucination"])
    say(people, "bob", 0, [1, 1], 5, 3)
    say(people, "ann", 1, [2, 1])
    say(people, "ann", 2, [1, 2], text="of another run")
    found = people.evaluate(DRAWN)
    rl, sft = found.metrics["rl"], found.metrics["sft"]
    assert (rl["people_win_rate"].value, rl["people_win_rate"].count) == (0.375, 2)
    assert (rl["people_overall"].value, sft["people_overall"].value) == (6.0, 3.0)
    assert (rl["people_hallucination"].value, rl["people_opinion"].value) == (0.5, 0.0)
    above = rl["people_overall_minus_sft"]
    assert (above.value, above.count) == (3.0, 1)
    assert "people_win_rate" not in sft
    assert "people_overall_minus_sft" not in sft
    assert len(found.rows) == 5
    assert [row["people_win_rate"] for row in found.rows if row["policy"] == "rl"] == [1, 0.5, 0]
    assert found.notes == []


def test_pairs_that_nobody_judged_are_counted(people):
    say(people, "ann", 0, [1, 2])
    assert people.evaluate(DRAWN).notes == ["judged by nobody: 1 of 2 pairs of answers"]


def test_nobody_has_judged_these_answers(people):
    with pytest.raises(NotRun, match="nobody has judged these answers: rlhfkit label"):
        people.evaluate(DRAWN)
    say(people, "ann", 0, [1, 2], text="of another run")
    with pytest.raises(NotRun):
        people.evaluate(DRAWN)
