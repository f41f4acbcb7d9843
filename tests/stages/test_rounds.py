"""round=2: a tiny run goes on from another one; and what a round is refused for."""

import json

import pytest

from rlhfkit.commands.compare import compare
from rlhfkit.data.artifacts import training_rankings
from rlhfkit.errors import UserError
from rlhfkit.runner.needs import check_round
from rlhfkit.runner.planned import Planned
from rlhfkit.runner.runner import Runner
from rlhfkit.stages.sample import best_round
from rlhfkit.storage.catalogue import RANKINGS_FILE
from rlhfkit.storage.rounds import (
    earlier_rounds,
    previous_dir,
    record_round,
    round_dir,
    round_of,
    rounds_until,
)
from rlhfkit.storage.run_dir import RunDir, StageRecord, read_json, read_jsonl, write_json

RANKING = {
    "prompt": [{"role": "user", "content": "a"}], "completions": ["b", "c"], "ranks": [1, 2],
    "finished": [True, True], "labeler": "ann",
}  # fmt: skip


def finish(run, stage, settings=None, **files):
    """A complete stage with files."""
    record = StageRecord(stage, settings or {}, {})
    run.start(record)
    for name, rows in files.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (run.stage_dir(stage) / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    run.complete(record)


@pytest.fixture
def chain(tmp_path):
    """Runs `a`, `b` and `c`, each a round after the one before."""
    runs = [RunDir(tmp_path / name) for name in "abc"]
    for number, run in enumerate(runs, start=1):
        finish(run, "label", rankings=[RANKING | {"ranks": [number, 2]}, RANKING])
        finish(run, "rl", {"model.path": "some/model"})
        rate = {"value": 0.9 - number / 10, "low": 0.1, "high": 0.9, "count": 10}
        finish(run, "evaluate")
        write_json(run.stage_dir("evaluate") / "metrics.json", {"rl": {"win_rate": rate}})
        if number > 1:
            record_round(run, number, str(runs[number - 2].root))
    return runs


@pytest.fixture
def make_round(make_context, chain, tmp_path):
    """`make_round(3, "b", ...)`: the context of round 3 after the run `b`."""

    def make(number, previous, *overrides):
        return make_context(
            f"round={number}", f"previous={tmp_path / previous}", "model.path=some/model",
            *overrides, stage="reward_model",
        )  # fmt: skip

    return make


def roots(runs):
    return [run.root.name for run in runs]


def test_where_rounds_lie(make_raw):
    assert (round_dir("mine", 1), round_dir("mine", 2)) == ("runs/mine", "runs/mine-round2")
    assert (previous_dir("mine", 1), previous_dir("mine", 3)) == (None, "runs/mine-round2")
    raw = make_raw("run_name=mine", "round=2")
    assert raw.previous == "runs/mine"


def test_a_round_knows_those_before_it(chain, tmp_path):
    assert [round_of(run) for run in chain] == [1, 2, 3]
    assert roots(rounds_until(chain[2])) == ["a", "b", "c"]
    assert roots(earlier_rounds(3, str(tmp_path / "b"))) == ["a", "b"]
    assert earlier_rounds(1, None) == []
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for run in chain:
        run.root.rename(moved / run.root.name)
    assert roots(rounds_until(RunDir(moved / "c"))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("number", "previous", "words"),
    [
        (2, "nowhere", "round=2 goes on from the run of round 1: previous=.*nowhere is no dir"),
        (2, "b", "round=2: previous=.*b is round 2; say round=3, or name the run of round 1"),
        (3, "a", "round=3: previous=.*a is round 1; say round=2, or name the run of round 2"),
    ],
)
def test_what_is_no_round(chain, tmp_path, number, previous, words):
    with pytest.raises(UserError, match=words):
        earlier_rounds(number, str(tmp_path / previous))


def test_a_run_stays_the_round_it_is(chain, tmp_path):
    with pytest.raises(UserError, match=r"c is round 3 after ../b; choose another run_name"):
        record_round(chain[2], 2, str(tmp_path / "a"))
    write_json(chain[2].root / "round.json", {"round": "three"})
    with pytest.raises(UserError, match=r"round.json: altered"):
        round_of(chain[2])


def test_rankings_of_all_rounds_each_once(make_round):
    context = make_round(3, "b")
    folder = context.run_dir.stage_dir("label")
    folder.mkdir(parents=True)
    (folder / RANKINGS_FILE).write_text(json.dumps(RANKING | {"labeler": "eve"}) + "\n")
    found = [(one.ranks, one.labeler) for one in training_rankings(context)]
    assert found == [([1, 2], "ann"), ([2, 2], "ann"), ([1, 2], "eve")]


def test_the_best_policy_is_that_with_the_highest_win_rate(make_round, chain):
    assert best_round(make_round(4, "c")) == 1
    for run in chain:
        (run.stage_dir("evaluate") / "metrics.json").unlink()
    assert best_round(make_round(4, "c")) == 3


def test_what_a_round_needs(make_round, chain, tmp_path):
    (tmp_path / "a" / "rl" / "stage.json").unlink()

    def mistakes(*overrides):
        return list(check_round(Planned(make_round(3, "b", *overrides), [], frozenset())))

    assert mistakes() == [
        f"round=3 goes on from round 1: stage rl of {tmp_path / 'a'} is not complete"
    ]
    models = "stage.sample.round_models=[best,round2,round3]"
    assert mistakes("model.path=other/model", models)[1:] == [
        "round=3: round 2 had model.path=some/model, this one has other/model",
        "stage.sample.round_models: no 'round3' before round=3",
    ]


def test_two_rounds(run_tiny, tmp_path, plugins, make_raw, tiny_overrides, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where `compare` writes
    few = ["stage.sample.num_prompts=8", "stage.label.overlap_prompts=4"]
    first = run_tiny(*few)
    second = [
        *few, "round=2", f"previous={first.run_dir.root}", f"run_dir={tmp_path / 'second'}",
        "stage.sample.round_models=[best,sft]",
    ]  # fmt: skip
    root = run_tiny(*second).run_dir.root
    # the SFT model is the first round's; what follows is new
    assert (root / "sft" / "stage.json").read_text() == (
        first.run_dir.root / "sft" / "stage.json"
    ).read_text()
    # prompts that were not asked yet come first, answered by the policy and the SFT model
    asked = [
        [row["prompt"][0]["content"] for row in read_jsonl(place / "sample" / "completions.jsonl")]
        for place in (first.run_dir.root, root)
    ]
    assert len({*asked[0], *asked[1]}) == 12
    assert not {*asked[0]} & {*asked[1][:4]}
    rows = read_jsonl(root / "sample" / "completions.jsonl")
    assert all(row["sources"] == ["round1", "round1", "sft"] for row in rows)
    # both rounds' rankings train the reward model, and its record says so
    record = read_json(root / "reward_model" / "stage.json")
    assert record["inputs"]["round 1: label"] == first.run_dir.record("label").digest
    assert read_json(root / "round.json") == {"round": 2, "previous": "../run"}
    # the rounds beside each other
    page = (root / "report" / "report.md").read_text()
    assert "## Rounds\n\n| round | run | new rankings |" in page
    assert "\n| 1 | run | 8 | " in page
    assert "\n| 2 | second | 8 | " in page
    assert (root / "report" / "rounds.png").stat().st_size > 1000
    assert "<h2>Rounds</h2>" in (root / "report.html").read_text()
    compare([first.run_dir.root, root])
    table = (tmp_path / "comparison" / "comparison.md").read_text().splitlines()
    assert table[0].startswith("| round | ")
    assert (tmp_path / "comparison" / "comparison.png").exists()
    # again: nothing is left to do
    again = Runner(make_raw(*tiny_overrides, *second), plugins)
    assert {again.status(stage).state.name for stage in again.chosen} == {"COMPLETE"}
