"""Who is asked what: overlap, least covered first, repeats, and abandoned items."""

from rlhfkit.labelling.assignment import Assigned, Choice, Plan, choose, open_for, wanted

QUEUE = [f"{number:08x}" for number in range(20)]
NOW = 10_000.0


def asked(labeler, item, number, *, at=NOW, judged=True, repeat=False, skipped=False):
    return Assigned(number, QUEUE[item], labeler, repeat, at, judged, skipped)


def test_the_least_covered_item_comes_first_and_none_twice():
    plan = Plan(overlap=2, repeats=0)
    done = [asked("ann", 0, 1), asked("bob", 1, 2), asked("ann", 1, 3)]
    assert choose(QUEUE[:3], done, "cat", plan, NOW) == Choice(QUEUE[2])
    assert choose(QUEUE[:2], done, "cat", plan, NOW) == Choice(QUEUE[0])
    assert choose(QUEUE[:2], done, "bob", plan, NOW) == Choice(QUEUE[0])
    assert choose(QUEUE[:2], done, "ann", plan, NOW) is None


def test_an_open_item_stays_until_it_is_judged():
    shown = [asked("ann", 4, 1, judged=False)]
    assert choose(QUEUE, shown, "ann", Plan(), NOW) == Choice(QUEUE[4], open=1)
    assert choose(QUEUE[4:5], shown, "bob", Plan(), NOW) is None


def test_an_abandoned_item_goes_to_somebody_else():
    old = asked("ann", 4, 1, judged=False, at=NOW - 1801)
    assert choose(QUEUE[4:5], [old], "bob", Plan(), NOW) == Choice(QUEUE[4])
    taken = asked("bob", 4, 2)
    assert choose(QUEUE[4:5], [old, taken], "ann", Plan(), NOW) is None


def test_a_skipped_item_goes_to_somebody_else_and_does_not_come_back():
    skipped = [asked("ann", 0, 1, skipped=True)]
    assert choose(QUEUE[:1], skipped, "ann", Plan(), NOW) is None
    assert choose(QUEUE[:1], skipped, "bob", Plan(), NOW) == Choice(QUEUE[0])


def test_one_item_in_ten_is_asked_again_after_at_least_five_others():
    plan, done, repeats = Plan(repeats=0.1), [], []
    while (choice := choose(QUEUE, done, "ann", plan, NOW)) is not None:
        done.append(asked("ann", QUEUE.index(choice.item), len(done), repeat=choice.repeat))
        if choice.repeat:
            repeats.append((choice.item, len(done)))
    assert repeats == [(QUEUE[0], 11), (QUEUE[1], 22)]
    assert len(done) == 22


def test_everybody_is_asked_what_is_known_and_it_covers_nothing():
    known = [asked("gold", 0, 1), asked("gold", 1, 2, skipped=True), asked("ann", 0, 3)]
    for name in ("bob", "cat"):
        assert choose(QUEUE[:1], known, name, Plan(), NOW) == Choice(QUEUE[0])
        assert open_for(QUEUE[:2], known, name, Plan(), NOW) == 2
    assert choose(QUEUE[:1], known, "ann", Plan(), NOW) is None


def test_overlap_may_be_a_fraction():
    items = [f"{number * 2**22:08x}" for number in range(1024)]
    counts = [wanted(item, Plan(overlap=1.25)) for item in items]
    assert (counts.count(1), counts.count(2)) == (768, 256)


def test_what_is_left_counts_each_item_once():
    done = [asked("ann", 0, 1), asked("bob", 1, 2), asked("ann", 2, 3, judged=False)]
    assert open_for(QUEUE[:4], done, "ann", Plan(), NOW) == 2
    assert open_for(QUEUE[:4], done, "cat", Plan(), NOW) == 1


def test_five_others_stand_between_an_item_and_its_repeat():
    plan, done = Plan(repeats=0.5), []
    while not (choice := choose(QUEUE, done, "ann", plan, NOW)).repeat:
        done.append(asked("ann", QUEUE.index(choice.item), len(done)))
    assert (choice.item, len(done)) == (QUEUE[0], 6)
