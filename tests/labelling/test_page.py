"""The page without a browser: what it shows, what it refuses, and that nothing stored is lost."""

import json

import pytest

from rlhfkit.labelling.assignment import Plan
from rlhfkit.labelling.items import Item
from rlhfkit.labelling.submission import FLAGS
from tests.labelling.conftest import HEBREW, Person

RATING = {"overall": 5, "flags": ["opinion"], "notes": ""}

MALFORMED = {
    "a list": ([1], "must be a JSON object"),
    "no revision": ({"ranks": [1, 2, 3], "revision": None}, "revision must be a whole number"),
    "a revision of the future": ({"revision": 7}, "judged meanwhile"),
    "a rank of 0": ({"ranks": [0, 1, 2]}, "from 1 to 3"),
    "a rank above K": ({"ranks": [1, 2, 4]}, "from 1 to 3"),
    "a rank that is a fraction": ({"ranks": [1, 2.5, 3]}, "from 1 to 3"),
    "a rank that is true": ({"ranks": [True, 2, 3]}, "from 1 to 3"),
    "a rank that is text": ({"ranks": ["1", 2, 3]}, "from 1 to 3"),
    "too few ranks": ({"ranks": [1, 2]}, "a list of 3"),
    "no ranks": ({"ranks": None}, "a list of 3"),
    "an unknown reason to skip": ({"skipped": "bored"}, "skipped must be one of"),
    "a reason that is a list": ({"skipped": ["unclear"]}, "skipped must be one of"),
    "notes of 100,000 characters": ({"notes": "n" * 100_000}, "100000 characters; at most 5000"),
    "notes that are a number": ({"notes": 3}, "notes must be text"),
    "half a surrogate pair": ({"notes": "\ud800"}, "half a surrogate pair"),
    "seconds below 0": ({"seconds": -1}, "from 0 to a day"),
    "seconds that are no number": ({"seconds": float("nan")}, "from 0 to a day"),
    "seconds of 400 digits": ({"seconds": 10**400}, "from 0 to a day"),
    "no ratings": ({"ratings": []}, "ratings must be a list of 3"),
    "a rating of 8": ({"ratings": [{**RATING, "overall": 8}] * 3}, "from 1 to 7"),
    "an unknown flag": ({"ratings": [{**RATING, "flags": ["<b>"]}] * 3}, "no flag '<b>'"),
    "ratings that are texts": ({"ratings": ["good"] * 3}, "a rating must be an object"),
}


@pytest.fixture
def full(store):
    return Person(store, kind="full")


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_judgements_are_refused_with_a_reason(full, store, told, name):
    said, reason = MALFORMED[name]
    url = full.next()
    good = {"revision": 0, "ranks": [1, 2, 3], "ratings": [RATING] * 3}
    body = json.dumps({**good, **said} if isinstance(said, dict) else said)
    headers = {"X-Form-Token": full.form_token(url), "Content-Type": "application/json"}
    answer = full.client.post(url, content=body, headers=headers)
    assert answer.status_code in (409, 422)
    assert reason in answer.json()["error"]
    assert f"refused {answer.status_code} POST '{url}'" in told.text
    assert store.judged() == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{", "application/json", 422),
        ("[" * 100_000, "application/json", 422),
        ("revision=0&ranks=1", "application/x-www-form-urlencoded", 415),
        ('{"revision": 0, "ranks": [1, 2, 3]}', "text/plain", 415),
    ],
)
def test_bodies_that_are_no_json_are_refused(ann, store, body, kind, status):
    url = ann.next()
    headers = {"X-Form-Token": ann.form_token(url), "Content-Type": kind}
    assert ann.client.post(url, content=body, headers=headers).status_code == status
    assert store.judged() == []


@pytest.mark.parametrize("number", ["99", "0", str(2**64), "9" * 5000, "-1", "1.0", "²"])
def test_an_unknown_item_is_refused(ann, store, number):
    token = ann.form_token(ann.next())
    assert ann.judge(f"/judge/{number}", token).status_code == 404
    assert ann.client.get(f"/judge/{number}").status_code == 404


def test_ranks_are_stored_in_the_order_of_the_completions(ann, store):
    url = ann.next()
    assignment = store.assignment(1, "ann")
    assert ann.judge(url, ranks=[1, 2, 3]).json() == {"stored": True}
    (judged,) = store.judged()
    assert [judged.ranks[index] for index in assignment.shown] == [1, 2, 3]
    assert judged.shown == assignment.shown
    assert judged.seconds == 2.5


def test_ratings_are_stored_with_their_answer(full, store):
    url = full.next()
    ratings = [{"overall": value, "flags": [], "notes": f"n{value}"} for value in (1, 4, 7)]
    full.judge(url, ranks=[3, 2, 1], ratings=ratings, notes="whole")
    (judged,) = store.judged()
    assert [judged.ratings[index]["overall"] for index in judged.shown] == [1, 4, 7]
    assert judged.notes == "whole"


def test_the_order_shown_is_random_per_labeler(store):
    store.ask([Item("sample", [{"role": "user", "content": "q"}], list("abcdefghij"), [True] * 10)])
    orders = []
    for name in ("ann", "bob", "cat"):
        store.invite(name)
        orders.append(tuple(store.next_assignment(name, Plan(overlap=3)).shown))
    assert len(set(orders)) == 3
    assert all(sorted(order) == list(range(10)) for order in orders)


def test_texts_are_never_markup_and_writers_are_not_named(ann):
    page = ann.client.get(ann.next()).text
    assert "what is best &lt;script&gt;alert(0)&lt;/script&gt;" in page
    assert "red &lt;/textarea&gt;" in page
    assert HEBREW in page
    assert page.count("<script") == 1
    assert "sft" not in page


def test_a_conversation_is_shown_turn_by_turn(store):
    turns = [("system", "be brief"), ("user", "hi"), ("assistant", "hello"), ("user", "why?")]
    prompt = [{"role": role, "content": text} for role, text in turns]
    store.ask([Item("sample", prompt, ["a", "b"], [True, False])])
    person = Person(store)
    page = person.client.get(person.next()).text
    places = [page.index(f'dir="auto">{text}<') for _, text in turns]
    assert places == sorted(places)
    assert page.count('class="role"') == 4
    assert page.count("cut at the length limit") == 1


def test_all_flags_of_the_paper_are_on_the_page(full):
    page = full.client.get(full.next()).text
    for flag in FLAGS:
        assert page.count(f'value="{flag}"') == 3


def test_a_correction_starts_from_what_was_said(full, store):
    url = full.next()
    full.judge(url, ranks=[2, 1, 1], ratings=[RATING] * 3, notes="<i>")
    page = full.client.get(url).text
    assert 'data-revision="1"' in page
    assert 'name="rank-0" value="2" checked' in page
    assert 'name="rank-2" value="1" checked' in page
    assert page.count('value="opinion" data-key="m" checked') == 3
    assert ">&lt;i&gt;</textarea>" in page
    assert full.judge(url, revision=1, ranks=[1, 2, 3], ratings=[RATING] * 3).json()["stored"]
    assert len(store.judged()) == 1


def test_a_skip_has_its_reason_and_the_item_goes_to_another(ann, store):
    url = ann.next()
    item = store.assignment(1, "ann").item.id
    assert ann.judge(url, skipped="unclear", ranks=None).json()["stored"]
    (judged,) = store.judged()
    assert (judged.skipped, judged.ranks) == ("unclear", [])
    ann.next()
    assert store.assignment(2, "ann").item.id != item
    Person(store, "bob").next()
    assert store.assignment(3, "bob").item.id == item


def test_progress_and_pace(ann):
    for _ in range(3):
        ann.judge(ann.next(), seconds=40)
    page = ann.client.get(ann.next()).text
    assert "3 of 10, 40 s each, about 5 min left" in page


def test_the_end_is_told_and_so_is_the_server(store):
    ended = []
    ann = Person(store, on_done=lambda: ended.append(True))
    for _ in range(10):
        assert not ended
        ann.judge(ann.next())
    assert ann.next() is None
    assert "nothing is left" in ann.client.get("/").text
    assert ended


def test_guidelines_of_your_own(store):
    ann = Person(store, guidelines="Be fair & <kind>.")
    assert "Be fair &amp; &lt;kind&gt;." in ann.client.get(ann.next()).text
