"""Twenty labelers at once on a real server: no judgement is lost, none is doubled."""

import threading
from contextlib import closing

import httpx2

from rlhfkit.labelling.items import items_of
from rlhfkit.labelling.store import Store
from rlhfkit.storage.catalogue import JUDGEMENTS_FILE
from tests.labelling.conftest import write_completions
from tests.labelling.serving import Served

LABELERS, ITEMS, OVERLAP = 20, 40, 3


def test_twenty_labelers_at_once(tmp_path):
    run = write_completions(tmp_path / "run", ITEMS)
    names = [f"labeler {number}" for number in range(LABELERS)]
    with closing(Store(run.root / JUDGEMENTS_FILE)) as store:
        store.ask(items_of(run, "sample", "rank"))
        tokens = [store.invite(name) for name in names]
    flags = ("--kind=rank", f"--overlap={OVERLAP}", "--repeats=0", "--name=labeler 0")
    acknowledged, errors = [], []
    with Served(run, *flags) as served:
        threads = [
            threading.Thread(target=_work, args=(served.url, token, acknowledged, errors))
            for token in tokens
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    with closing(Store(run.root / JUDGEMENTS_FILE)) as store:
        judged = store.judged()
    assert len(judged) == len(acknowledged) == ITEMS * OVERLAP
    pairs = {(one.item, one.labeler) for one in judged}
    assert len(pairs) == len(judged)
    assert len({labeler for _, labeler in pairs}) == LABELERS


def _work(url, token, acknowledged, errors):
    """One labeler: each form is sent twice, as by an impatient click."""
    try:
        with httpx2.Client(base_url=url, timeout=60) as client:
            assert client.get(f"/join/{token}").status_code == 200
            while "location" in (answer := client.get("/")).headers:
                item = answer.headers["location"]
                page = client.get(item)
                form_token = page.text.split('data-token="')[1].split('"')[0]
                said = {"revision": 0, "ranks": [2, 1, 2], "seconds": 1}
                sent = [
                    client.post(item, json=said, headers={"X-Form-Token": form_token})
                    for _ in range(2)
                ]
                assert [one.json() for one in sent] == [{"stored": True}, {"stored": False}]
                acknowledged.append(item)
    except Exception as error:
        errors.append(error)
