"""Damaged run directories: told in a line that says what to do, and never taken for finished."""

import json

import pytest

from rlhfkit.commands.export import export
from rlhfkit.reporting import read_metrics
from rlhfkit.stages import label, report, reward_model
from rlhfkit.storage.run_dir import RunDir, StageRecord
from rlhfkit_plugins.optimizers.dpo import DPO
from tests.fuzz.broken_runs import (
    ALTERED,
    DAMAGES,
    METRICS,
    RANKED,
    RANKS,
    RECORDS,
    SAMPLED,
    line_of,
)
from tests.fuzz.outcome import refused


@pytest.fixture
def run_dir(tmp_path):
    made = RunDir(tmp_path / "run")
    path = made.begin("sft")
    (path / "model").mkdir()
    (path / "model" / "weights").write_text("12345")
    made.complete(StageRecord("sft", {"seed": 0}, {}, 1.5))
    return made


@pytest.mark.parametrize("case", DAMAGES, ids=lambda case: case.id)
def test_a_finished_stage(run_dir, case):
    case.do(run_dir.stage_dir("sft"))
    line = refused(run_dir.record, "sft", says=case.says or "corrupt record", names="sft/")
    assert "run again with force_from=sft, or choose another run_name" in line


def test_what_is_damaged_was_whole(run_dir):
    assert run_dir.record("sft").outputs == {"model/weights": 5}


@pytest.mark.parametrize("content", RECORDS.values(), ids=RECORDS)
def test_a_lender(run_dir, context, tmp_path, content):
    """Its damage is nobody else's affair: the stage is run here."""
    from rlhfkit.runner.reuse import Lenders

    wanted = StageRecord("sft", {"seed": 0}, {})
    lenders = Lenders(str(tmp_path), RunDir(tmp_path / "borrower"))
    assert lenders.find(wanted).root == run_dir.root
    (run_dir.stage_dir("sft") / "stage.json").write_bytes(content)
    assert lenders.find(wanted) is None


@pytest.fixture
def altered(context):
    """The context of a later stage, with a finished earlier one that wrote this."""

    def make(earlier, name, content, stage):
        made = context(stage=stage)
        (made.run_dir.begin(earlier) / name).write_text(content)
        made.run_dir.complete(StageRecord(earlier, {}, {}))
        made.run_dir.begin(stage)
        return made

    return make


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_sampled_completions(altered, change):
    content = line_of(SAMPLED, {}) + line_of(SAMPLED, change)
    stage = altered("sample", "completions.jsonl", content, "label")
    refused(label.run, stage, says="altered since it was written", names="sample/completions.jsonl")


@pytest.mark.parametrize("change", [*ALTERED.values(), *RANKS.values()], ids=[*ALTERED, *RANKS])
def test_rankings(altered, change):
    content = line_of(RANKED, {}) + line_of(RANKED, change)
    stage = altered("label", "rankings.jsonl", content, "reward_model")
    for read in (reward_model._read, lambda context: DPO(None, context)._pairs(context, _Text())):
        refused(read, stage, says="altered since it was written", names="label/rankings.jsonl")


class _Text:
    def prompt_text(self, prompt):
        return prompt[-1]["content"]


def test_what_was_altered_could_be_read(altered):
    stage = altered("label", "rankings.jsonl", line_of(RANKED, {}), "reward_model")
    assert reward_model._read(stage)[0].ranks == [1, 2]
    stage = altered("sample", "completions.jsonl", line_of(SAMPLED, {}), "label")
    label.run(stage)
    assert (stage.stage_dir / "rankings.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("content", METRICS.values(), ids=METRICS)
def test_an_evaluation(altered, content):
    stage = altered("evaluate", "metrics.json", content, "report")
    says, names = "altered since it was written", "evaluate/metrics.json"
    refused(read_metrics, stage.run_dir, says=says, names=names)
    refused(report.run, stage, says=says, names=names)


REPORTED = {
    "sft": ("metrics.jsonl", '{"eval_loss": "low"}\n'),
    "sample": ("completions.jsonl", ""),
    "label": ("agreement.json", '{"agreement": "much"}'),
    "reward_model": ("result.json", "{}"),
    "rl": ("metrics.jsonl", '{"objective/scores": 1}\n'),
    "prepare": ("counts.json", "[7]"),
}


@pytest.mark.parametrize("stage", REPORTED)
def test_what_the_report_reads(altered, stage):
    name, content = REPORTED[stage]
    made = altered(stage, name, content, "report")
    if stage == "label":
        (made.run_dir.stage_dir(stage) / "rankings.jsonl").write_text("")
    refused(report.run, made, says="altered since it was written", names=f"run/{stage}")


@pytest.mark.parametrize("missing", ["path", "revision", "chat", "chat_template"])
def test_an_export_of_a_record_without_its_model(context, plugins, missing):
    made = context()
    (made.run_dir.begin("rl") / "model").mkdir()
    names = {"path", "revision", "chat", "chat_template"} - {missing}
    made.run_dir.complete(StageRecord("rl", {f"model.{name}": None for name in names}, {}))
    made.config.run_dir = str(made.run_dir.root)
    refused(export, made.config, plugins, says=f"no model.{missing}", names="rl/stage.json")


PLACES = {
    "a file": lambda path: path.write_text("foreign"),
    "a link to nothing": lambda path: path.symlink_to("nowhere/at/all"),
    "a link to a folder": lambda path: path.symlink_to("."),
}


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
def test_something_else_where_a_stage_writes(run_dir, make):
    make(run_dir.stage_dir("rl"))
    assert run_dir.record("rl") is None
    refused(run_dir.begin, "rl", says="cannot be written (", names=str(run_dir.stage_dir("rl")))


def test_foreign_files_beside_the_outputs_are_let_be(run_dir):
    (run_dir.stage_dir("sft") / "notes.txt").write_text("mine")
    (run_dir.root / "rl").mkdir()
    (run_dir.root / "rl" / "notes.txt").write_text("mine")
    assert run_dir.record("sft") is not None
    assert run_dir.record("rl") is None
    assert json.loads((run_dir.root / "sft" / "stage.json").read_text())["outputs"]
