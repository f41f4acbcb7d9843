"""A run with sampled completions, its store, and the page in this process."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlhfkit.labelling.items import items_of
from rlhfkit.labelling.server import Settings, create_app
from rlhfkit.labelling.store import Store
from rlhfkit.storage.catalogue import COMPLETIONS_FILE, JUDGEMENTS_FILE
from rlhfkit.storage.run_dir import STARTED, RunDir, write_json

HEBREW = "\u202eתפוח הוא פרי טעים"


def write_completions(root: Path, count: int, completions: int = 3) -> RunDir:
    """A run as stage sample leaves it; some texts are hostile."""
    rows: list[dict[str, Any]] = [
        {
            "prompt": [
                {"role": "user", "content": f"what is best <script>alert({place})</script>"}
            ],
            "completions": ["red </textarea>", f"green {HEBREW}", "blue 'and' you"][:completions],
            "finished": [True] * completions,
            "sources": ["sft"] * completions,
        }
        for place in range(count)
    ]
    write_json(RunDir(root).begin("sample") / STARTED, {})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "sample" / COMPLETIONS_FILE).write_text(lines, encoding="utf-8")
    return RunDir(root)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return write_completions(tmp_path / "run", 10)


@pytest.fixture
def store(run: RunDir) -> Iterator[Store]:
    made = Store(run.root / JUDGEMENTS_FILE)
    made.ask(items_of(run, "sample", "rank"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def told(caplog):
    """What was logged, refusals at least."""
    caplog.set_level(logging.INFO, "rlhfkit.labelling")
    return caplog


class Person:
    """A labeler with a client of their own."""

    def __init__(self, store: Store, name: str = "ann", **settings: Any) -> None:
        self.store, self.name = store, name
        app = create_app(store, Settings(**{"kind": "rank", "title": "test", **settings}))
        self.client = TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False)
        self.join(store.invite(name))

    def join(self, token: str) -> None:
        assert self.client.get(f"/join/{token}").status_code == 200

    def next(self) -> str | None:
        """Where the next item is; None when nothing is left."""
        return self.client.get("/").headers.get("location")

    def form_token(self, url: str) -> str:
        page = self.client.get(url).text
        return page.split('data-token="')[1].split('"')[0]

    def judge(self, url: str, token: str | None = None, **said: Any):
        """Send a judgement; without `ranks` a good one."""
        said = {"revision": 0, "ranks": [1, 2, 2], "seconds": 2.5, **said}
        headers = {"X-Form-Token": self.form_token(url) if token is None else token}
        return self.client.post(url, json=said, headers=headers)


@pytest.fixture
def ann(store: Store) -> Person:
    return Person(store)
