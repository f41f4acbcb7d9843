"""Stage prepare: what it writes and counts, what later stages read of it, what it refuses."""

import json

import pytest

from rlhfkit.data import sources
from rlhfkit.data.prepared import PARTS
from rlhfkit.data.split_keys import keys
from rlhfkit.data.text_format import load_text_format
from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import read_jsonl, write_jsonl
from rlhfkit.testing.tiny_run import PROMPTS

COLOURS = ("red", "green", "blue")
SPLIT = ("stage.prepare.validation_fraction=0.25", "stage.prepare.test_fraction=0.25")


def by_users(texts):
    """Three prompts of each of twelve users, in turn by a labeler and by a customer."""
    sources = ("labeler", "customer")
    return [
        {"prompt": f"{text} {colour}", "user": f"u{index}", "source": sources[index % 2]}
        for index, text in enumerate(texts)
        for colour in COLOURS
    ]


@pytest.fixture
def user_files(tmp_path):
    """Overrides that give data with users; no eval_prompts."""
    prompts = by_users(PROMPTS)
    answers = {"completions": ["it is fine", "red red", "I"], "ranks": [1, 2, 2]}
    rows = {
        "prompts": prompts,
        "demonstrations": [row | {"completion": "I like it fine"} for row in prompts],
        "rankings": [row | answers for row in prompts],
    }
    for split, content in rows.items():
        write_jsonl(tmp_path / f"{split}.jsonl", content)
    given = [f"data.files.{split}={tmp_path / split}.jsonl" for split in rows]
    return [*given, "data.files.eval_prompts=null"]


def written(runner):
    """Rows by part and kind."""
    root = runner.run_dir.stage_dir("prepare")
    return {
        part: {file.stem: read_jsonl(file) for file in (root / part).glob("*.jsonl")}
        for part in PARTS
    }


def counts(runner):
    return json.loads((runner.run_dir.stage_dir("prepare") / "counts.json").read_text())


def test_every_step_is_counted(run_tiny, user_files, capsys):
    runner = run_tiny(
        "stages=[prepare]", *user_files, *SPLIT, "stage.prepare.max_prompt_length=7",
        "stage.prepare.dedup_prefix=13", "stage.prepare.max_per_user=2",
        "stage.prepare.pii=[EMAIL]", "stage.prepare.labeler_share.prompts=0.5",
    )  # fmt: skip
    steps = counts(runner)
    assert [step["step"] for step in steps] == [
        "read", "length limits", "shared prefix", "cap per user", "split by user: test",
        "split by user: validation", "split by user: train", "train: personal data",
        "train: labelers and customers mixed",
    ]  # fmt: skip
    assert steps[0] == {"step": "read", "demonstrations": 36, "prompts": 36, "rankings": 36}
    # Ten users' prompts have 7 tokens, of two 8. "what is red r" tells three prompts apart, as does
    # "is red best r"; the three of each other user begin alike.
    found = [step["prompts"] for step in steps]
    assert found[:4] == [36, 30, 14, 12]
    assert sum(found[4:7]) == 12
    rows = written(runner)
    assert len(rows["train"]["prompts"]) == found[-1] < found[-2]
    assert len(rows["test"]["prompts"]) == found[4]
    sources = [row["source"] for row in rows["train"]["prompts"]]
    assert sources.count("labeler") == sources.count("customer") > 0
    said = capsys.readouterr().out
    assert "rows after" in said
    assert "cap per user" in said


def test_no_user_is_in_two_parts_of_any_kind(run_tiny, user_files):
    rows = written(run_tiny("stages=[prepare]", *user_files, *SPLIT))
    found = {
        part: {key for items in kinds.values() for row in items for key in keys(row, row["prompt"])}
        for part, kinds in rows.items()
    }
    assert all(found.values())
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 12 + 36


def test_later_stages_read_the_parts(run_tiny, user_files, make_context, tiny_overrides):
    stages = "stages=[prepare,sft,label,reward_model,rl,evaluate,report]"
    overrides = [*user_files, *SPLIT, "labeler=imported", "stage.sft.validation_fraction=0"]
    runner = run_tiny(stages, *overrides, "stage.reward_model.validation_fraction=0")
    rows = written(runner)
    context = make_context(*tiny_overrides, *overrides)
    text = load_text_format(context)
    assert sources.training_prompts(context, text) == [
        r["prompt"] for r in rows["train"]["prompts"]
    ]
    assert sources.held_out_prompts(context, text) == [r["prompt"] for r in rows["test"]["prompts"]]
    trained = [item.prompt for item in sources.demonstrations(context)]
    assert trained == [row["prompt"] for row in rows["train"]["demonstrations"]]
    losses = read_jsonl(runner.run_dir.stage_dir("sft") / "metrics.jsonl")
    assert any("eval_loss" in row for row in losses)
    result = json.loads((runner.run_dir.stage_dir("reward_model") / "result.json").read_text())
    assert result["validation_prompts"] == len(rows["validation"]["rankings"]) > 0
    samples = read_jsonl(runner.run_dir.stage_dir("evaluate") / "samples.jsonl")
    tested = [row["prompt"] for row in rows["test"]["prompts"]]
    assert {json.dumps(row["prompt"]) for row in samples} == set(map(json.dumps, tested))
    page = (runner.run_dir.stage_dir("report") / "report.md").read_text()
    assert "| split by user: train |" in page
    assert f"{len(tested)} rows to test on" not in page  # rankings and demonstrations are there too
    assert "rows to test on" in page


def test_sampled_completions_validate_by_user_too(run_tiny, user_files):
    runner = run_tiny(
        "stages=[prepare,sample,label,reward_model]", *user_files, *SPLIT,
        "stage.sample.models=[base]", "stage.reward_model.validation_fraction=0",
    )  # fmt: skip
    rows = written(runner)
    sampled = read_jsonl(runner.run_dir.stage_dir("sample") / "completions.jsonl")
    validation = [row["prompt"] for row in rows["validation"]["prompts"]]
    assert len(sampled) == len(rows["train"]["prompts"]) + len(validation)
    result = json.loads((runner.run_dir.stage_dir("reward_model") / "result.json").read_text())
    assert 0 < result["validation_prompts"] <= len(validation)


def test_with_every_option_off_nothing_changes(run_tiny, tmp_path):
    def numbers(name, stages):
        runner = run_tiny(f"run_dir={tmp_path / name}", f"stages=[{stages}]", "reward=[length]")
        files = [runner.run_dir.stage_dir(stage) / "metrics.jsonl" for stage in ("sft", "rl")]
        return [
            {key: row[key] for key in row if not key.startswith("time/") and "runtime" not in key
             and "per_second" not in key}
            for file in files for row in read_jsonl(file)
        ]  # fmt: skip

    assert numbers("with", "prepare,sft,rl") == numbers("without", "sft,rl")


def test_few_shot_prompts_are_of_their_own_part(run_tiny, user_files, tmp_path):
    rows = read_jsonl(tmp_path / "demonstrations.jsonl")
    write_jsonl(
        tmp_path / "demonstrations.jsonl", [row | {"instruction": "what colour"} for row in rows]
    )
    few_shot = ["stage.prepare.few_shot=1", "model.max_prompt_length=32"]
    parts = written(run_tiny("stages=[prepare]", *user_files, *SPLIT, *few_shot))
    for part in PARTS:
        own = {row["prompt"][0]["content"] for row in parts[part]["prompts"]}
        for row in parts[part]["demonstrations"]:
            instruction, example, query = row["prompt"][0]["content"].split("\n\n")
            assert instruction == "what colour"
            assert example.removesuffix("\nI like it fine") in own - {query}
            assert query in own


def test_prompts_of_the_demonstrations_stand_in_for_prompts(run_tiny, user_files):
    rows = written(run_tiny("stages=[prepare]", *user_files, *SPLIT, "data.files.prompts=null"))
    for part in PARTS:
        of = {kind: [row["prompt"] for row in rows[part][kind]] for kind in rows[part]}
        assert of["prompts"] == of["demonstrations"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["stage.prepare.dedup_prefix=0"], r"stage\.prepare\.dedup_prefix=0: must be .* above 0"),
        (["stage.prepare.few_shot=-1"], r"stage\.prepare\.few_shot=-1"),
        (["stage.prepare.few_shot=1"], "no demonstration has an 'instruction'"),
        (
            ["stage.prepare.test_fraction=1"],
            r"stage\.prepare\.test_fraction=1\.0: must be .* below 1",
        ),
        (
            ["stage.prepare.test_fraction=0.5", "stage.prepare.validation_fraction=0.5"],
            "validation_fraction=0.5 and test_fraction=0.5: their sum must be below 1",
        ),
        (["stage.prepare.labeler_share.prompts=1.5"], r"labeler_share\.prompts=1\.5: must be from"),
        (["stage.prepare.pii=[EMAILS]"], r"stage\.prepare\.pii=.*did you mean 'EMAIL'"),
        (["stage.prepare.max_prompt_length=2"], "length limits leaves no row of demonstrations"),
        (["stage.prepare.max_completion_length=2"], "length limits leaves no row of demonstr"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_options_that_cannot_work(run_tiny, user_files, overrides, says):
    with pytest.raises(UserError, match=says) as error:
        run_tiny("stages=[prepare]", *user_files, *overrides)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("stage.prepare.max_per_user=2", "no row has a 'user'"),
        ("stage.prepare.labeler_share.prompts=0.5", "no row of source 'labeler'; choices: None"),
        ("stage.prepare.test_fraction=0.1", "the data gives eval_prompts"),
    ],
)
def test_options_that_this_data_gives_nothing_to_do(run_tiny, option, says):
    with pytest.raises(UserError, match=says):
        run_tiny("stages=[prepare]", option)


def test_few_shot_wants_held_out_prompts_that_are_apart(run_tiny, user_files, tmp_path):
    rows = read_jsonl(tmp_path / "demonstrations.jsonl")
    write_jsonl(tmp_path / "demonstrations.jsonl", [row | {"instruction": "x"} for row in rows])
    with pytest.raises(UserError, match=r"set stage\.prepare\.test_fraction"):
        run_tiny("stages=[prepare]", *user_files, "stage.prepare.few_shot=1")
