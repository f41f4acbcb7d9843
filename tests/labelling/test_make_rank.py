"""`make rank` end to end: its own lines on a tiny model, with a labeler at the page."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from rlhfkit.commands.label import label_run
from rlhfkit.storage.run_dir import RunDir, read_jsonl
from tests.labelling.serving import Served

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """The words of each command of `make rank` behind the program's name."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    folder = tmp_path_factory.mktemp("venv")
    for name in (".installed", ".installed-label"):
        (folder / name).touch()
    words = ["make", "--no-print-directory", "-n", "rank", f"VENV={folder}"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [shlex.split(line)[1:] for line in told.replace("\\\n", " ").splitlines()]


class Labeler:
    """Ranks by length over HTTP as the page's script does, until nothing is left."""

    def __init__(self, link: str) -> None:
        self._root = link.partition("/join/")[0]
        self._open = build_opener(HTTPCookieProcessor()).open
        self._open(link)

    def rank_all(self) -> int:
        done = 0
        while True:
            page = self._open(self._root)
            if "/judge/" not in page.url:
                return done
            token = page.read().decode().split('data-token="')[1].split('"')[0]
            said = json.dumps({"revision": 0, "ranks": [1, 2, 2], "seconds": 3.0}).encode()
            headers = {"X-Form-Token": token, "Content-Type": "application/json"}
            answer = self._open(Request(page.url, said, headers))
            assert json.load(answer) == {"stored": True}
            done += 1


def test_samples_are_ranked_and_a_reward_model_is_trained(commands, run_tiny, tmp_path, capsys):
    model, sample, label, train, differ = commands
    assert model == ["-m", "rlhfkit_plugins.quickstart.model"]
    own = "stage.sample.num_prompts=8"
    run = RunDir(tmp_path / "run")

    run_tiny(*_overrides(sample), own)
    assert label[:2] == ["label", "runs/rank"]
    assert "--until-done" in label
    with Served(run, *label[2:]) as page:
        ranked = Labeler(page.link).rank_all()
        assert page.ended() == 0
    assert 2 <= ranked <= 9
    with Served(run, *label[2:], waits=False) as again:  # a second `make rank` goes on at once
        assert again.ended() == 0

    run_tiny(*_overrides(train), own)
    rows = read_jsonl(run.stage_dir("label") / "rankings.jsonl")
    people = [row for row in rows if not row["labeler"].startswith("simulated")]
    assert len(people) in (ranked, ranked - 1)  # one may be a planned second look
    assert len(rows) > len(people)
    assert (run.stage_dir("reward_model") / "result.json").exists()

    capsys.readouterr()
    assert differ[:2] == ["label", "runs/rank"]
    label_run([str(run.root), *differ[2:]], None)
    assert "People and the others" in capsys.readouterr().out


def _overrides(words: list[str]) -> list[str]:
    """Without what chooses the quickstart: the tiny run has its own model and data."""
    chosen = [word for word in words if not word.startswith(("recipe=", "run_name=", "reuse="))]
    assert {"recipe=quickstart", "run_name=rank"} <= {*words}
    return [
        f"stages=[{word.removeprefix('stages=')}]" if word.startswith("stages=") else word
        for word in chosen
    ]
