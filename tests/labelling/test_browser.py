"""The real page in headless Chromium, by keys, pointer and touch; the server is killed midway."""

import json
from contextlib import closing

import pytest

from rlhfkit.labelling.items import items_of
from rlhfkit.labelling.store import Store
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE
from tests.labelling.browser import Browser, Page
from tests.labelling.conftest import write_completions
from tests.labelling.serving import Served

READY = "document.querySelector('#step')?.innerText"
SMALL = (  # what a finger would miss
    "[...document.querySelectorAll('button, .scale label')].filter((e) => e.offsetParent"
    " && e.getBoundingClientRect().height < 44).map((e) => e.innerText)"
)
OPEN = "document.querySelector('#judgement')?.dataset.url"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def begin(page: Page, link: str) -> None:
    page.open(link)
    page.click("a.button")
    page.until(READY)


def submitted(page: Page, act) -> None:
    """Do something that sends the form, and wait for the next page."""
    page.value("window.before = true")
    act()
    page.until(f"!window.before && ({READY} || document.body.innerText.includes('Thank you'))")


def judged(run):
    with closing(Store(run.root / JUDGEMENTS_FILE)) as store:
        return store.judged()


def invite(run, name):
    with closing(Store(run.root / JUDGEMENTS_FILE)) as store:
        store.ask(items_of(run, "sample", "rank"))
        return store.invite(name)


def test_two_labelers_rank_ten_items_and_the_server_is_killed_midway(browser, run, run_tiny):
    """Ann by keys, Bob by pointer and touch; then agreement, and a reward model on the result."""
    token = invite(run, "bob")
    flags = ("--kind=rank", "--overlap=2", "--repeats=0", "--name=ann")
    with Served(run, *flags) as first:
        ann, bob = browser.page(), browser.page(390, 800, phone=True)
        begin(ann, first.link)
        begin(bob, f"{first.url}/join/{token}")
        for _ in range(5):
            submitted(ann, lambda: ann.keys("1", "2", "2", "Enter"))
            touch_ranks(bob, (2, 1, 2))
            submitted(bob, lambda: bob.click("#submit", touch=True))
        ann.keys("3", "1")
        touch_ranks(bob, (1, 1))
        first.kill()
    ann.keys("1", "Enter")
    ann.until("document.querySelector('#error').innerText.includes('does not answer')")
    assert len(judged(run)) == 10

    with Served(run, *flags, port=first.port):
        bob.reload()  # the draft is still there
        assert bob.text("#order") == "A = B; still to rank: C"
        touch_ranks(bob, (1, 1, 3))
        submitted(bob, lambda: bob.click("#submit", touch=True))
        submitted(ann, lambda: ann.keys("Enter"))
        for _ in range(4):
            submitted(ann, lambda: ann.keys("1", "2", "2", "Enter"))
            touch_ranks(bob, (2, 1, 2))
            submitted(bob, lambda: bob.click("#submit", touch=True))
        assert "Thank you" in ann.text("main")
        assert "10 of 10" in bob.text("header")

    found = judged(run)
    as_shown = [[one.ranks[index] for index in one.shown] for one in found]
    assert len(found) == len({(one.item, one.labeler) for one in found}) == 20
    assert sorted(as_shown) == sorted([[1, 2, 2]] * 9 + [[2, 1, 2]] * 9 + [[3, 1, 1], [1, 1, 3]])

    run_tiny("stages=[label,reward_model]", "labeler=people")
    agreement = json.loads((run.root / "label" / "agreement.json").read_text())
    assert agreement["pairs"] + agreement["tied_pairs"] == 30
    assert (run.root / "reward_model" / "model").is_dir()


def touch_ranks(page: Page, ranks) -> None:
    for place, rank in enumerate(ranks):
        page.click(f'[name="rank-{place}"][value="{rank}"]', touch=True)


def test_rating_each_answer_and_ranking_them_by_keys_alone(browser, run):
    with Served(run, "--kind=full", "--repeats=0") as served:
        page = browser.page()
        begin(page, served.link)
        assert page.text("#step") == "Step 1 of 4: rate answer A by itself"
        page.keys("Enter")
        assert page.text("#error") == "Rate answer A from 1 to 7 first."
        page.keys("8")  # there is none
        page.keys("6", "m", "d", "d", "n")
        page.type("fine by me")
        page.keys("Escape", "Enter", "2", "Enter", "7", "u", "5", "Enter")
        assert page.text("#step") == "Step 4 of 4: rank all answers; equal ones share a rank"
        page.keys("1", "3", "3", "k", "2", "u")
        assert page.text("#order") == "A > B = C"
        page.keys("p", "p")
        assert page.text("#step") == "Step 2 of 4: rate answer B by itself"
        page.reload()
        assert page.text("#step") == "Step 2 of 4: rate answer B by itself"
        page.keys("Enter", "Enter")
        assert page.text("#order") == "A > B = C"
        submitted(page, lambda: page.keys("Enter"))

        page.keys("s")
        page.until("document.querySelector('#skip').open")
        submitted(page, lambda: page.keys("3"))

        page.keys("b")  # back to the first, and correct it
        page.until("document.querySelector('.history')")
        assert "skipped: I cannot tell what is right here" in page.text(".history")
        page.click(".history li:last-child a")
        page.until(READY)
        assert "You judged this before" in page.text("main")
        page.keys("Enter", "Enter", "Enter", "j", "1")
        submitted(page, lambda: page.keys("Enter"))
    second, first = sorted(judged(run), key=lambda one: not one.skipped)
    assert second.skipped == "expertise"
    assert [first.ranks[index] for index in first.shown] == [1, 1, 3]
    ratings = [first.ratings[index] for index in first.shown]
    assert [one["overall"] for one in ratings] == [6, 2, 5]
    assert ratings[0] == {"overall": 6, "flags": ["opinion"], "notes": "fine by me"}


def test_two_tabs_share_a_draft_and_store_one_judgement(browser, run):
    with Served(run, "--kind=rank") as served:
        one = browser.page()
        begin(one, served.link)
        two = browser.tab(one.person)
        two.open(served.url)
        two.until(READY)
        assert two.value(OPEN) == one.value(OPEN)
        one.keys("2", "1", "2")
        two.until("document.querySelector('#order').innerText === 'B > A = C'")
        submitted(two, lambda: two.keys("Enter"))
        one.keys("k", "3", "Enter")
        one.until("document.querySelector('#error').innerText.includes('in another tab')")
    assert len(judged(run)) == 1


def test_keyboards_of_other_countries(browser, run):
    with Served(run, "--kind=rank") as served:
        page = browser.page()
        begin(page, served.link)
        page.strange_key("é", "Digit2")  # French, without shift
        page.strange_key("о", "KeyJ")  # Russian
        page.keys("n")
        page.type("noted")
        page.keys("Escape", "1")
        assert page.text("#order") == "C > A; still to rank: B"
        page.keys("u")
        assert page.text("#order") == "A; still to rank: B, C"
        assert page.value("document.querySelector('.last textarea').value") == "noted"


def test_pairs_by_one_key_or_one_click(browser, tmp_path):
    run = write_completions(tmp_path / "run", 3, completions=2)
    with Served(run, "--kind=pairs", "--repeats=0", "--until-done") as served:
        page = browser.page()
        begin(page, served.link)
        page.keys("Enter")
        assert page.text("#error") == "Say which answer is better, or that they are equal."
        submitted(page, lambda: page.keys("2", "Enter"))
        submitted(page, lambda: page.keys("0", "Enter"))
        page.click('[name="better"][value="1,2"]')
        submitted(page, lambda: page.click("#submit"))
        assert served._process.wait(10) == 0
    found = judged(run)
    assert [[one.ranks[index] for index in one.shown] for one in found] == [[2, 1], [1, 1], [1, 2]]


def test_a_phone_and_a_screen_reader_get_the_whole_page(browser, run):
    with Served(run, "--kind=full") as served:
        page = browser.page(360, 640, phone=True)
        begin(page, served.link)
        for step in range(4):
            assert page.value("document.documentElement.scrollWidth <= innerWidth"), step
            assert page.value(SMALL) == []
            page.click(f'[name="overall-{min(step, 2)}"][value="4"]' if step < 3 else "#order")
            page.click("#submit", touch=True)
        told = page.accessible()
        for role in ("button", "radio", "textbox", "group", "progressbar", "link"):
            assert all(name for kind, name in told if kind == role), role
        assert ("group", "Rank of answer A, 1 is best") in told
        assert ("group", "Answer B") in told
        page.keys("2")
        assert page.text("#status") == "Answer A has rank 2"
        assert page.value("document.querySelector('#status').getAttribute('aria-live')") == "polite"
        assert page.value("document.activeElement.dataset.letter") == "B"


def test_hostile_texts_stay_texts(browser, run):
    with Served(run, "--kind=rank") as served:
        page = browser.page()
        begin(page, served.link)
        assert page.value("document.querySelectorAll('.text *').length") == 0
        assert page.value("document.scripts.length") == 1
        assert "<script>alert(0)</script>" in page.text(".prompt")
        assert page.value(
            "getComputedStyle(document.querySelector('.answer .text')).unicodeBidi"
        ) == ("isolate")
