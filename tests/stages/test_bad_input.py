"""Bad input ends in one line or in a counted drop; what is finished stays."""

import json

import pytest
import torch

from rlhfkit.commands.error_lines import one_line
from rlhfkit.errors import UserError
from rlhfkit.runner.runner import Runner
from rlhfkit.storage.run_dir import StageRecord, write_jsonl
from rlhfkit.testing import tiny


@pytest.fixture
def run(plugins, make_raw, tiny_overrides):
    def start(*overrides):
        Runner(make_raw(*tiny_overrides, *overrides), plugins).run()

    return start


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (
            b'{"prompt": "what is red", "reply": "fine"}\n',
            "no column 'completion'.*did you mean 'reply'",
        ),
        (b'{"prompt": "what \xff is red", "completion": "fine"}\n', "UTF-8"),
        (b'{"prompt": "what is red"\n', "JSON"),
        (b'{"prompt": "", "completion": "fine"}\n', "no usable row"),
    ],
    ids=["empty", "missing column", "not UTF-8", "broken JSON", "nothing usable"],
)
def test_files(run, tmp_path, content, says):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        run("stages=[sft]", f"data.files.demonstrations={path}")
    assert "\n" not in str(error.value)


def test_a_missing_column_names_the_nearest(run, tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"promt": "a", "completion": "b"}])
    with pytest.raises(UserError, match=r"no column 'prompt'.*did you mean 'promt'"):
        run("stages=[sft]", f"data.files.demonstrations={path}")


def test_prompts_longer_than_the_context_are_counted(run, tmp_path, capsys):
    rows = [{"prompt": "red " * 40}, {"prompt": "what is red"}, {"prompt": "what is blue"}]
    path = write(tmp_path / "prompts.jsonl", rows)
    run("stages=[sample]", "stage.sample.models=[base]", f"data.files.prompts={path}")
    said = " ".join(capsys.readouterr().out.split())
    assert "prompts: dropped 1 (longer than model.max_prompt_length=24) of 3" in said


def test_all_prompts_too_long(run):
    with pytest.raises(UserError, match=r"no usable prompt in prompts.*max_prompt_length"):
        run("stages=[sample]", "stage.sample.models=[base]", "model.max_prompt_length=2")


@pytest.mark.parametrize("k", [0, 1, 17])
def test_k_outside_2_to_16(run, k):
    with pytest.raises(UserError, match="K must be from 2 to 16"):
        run("stages=[sample]", f"stage.sample.num_completions={k}")


def test_rankings_that_tie_everything(plugins, make_raw, tiny_overrides, tiny_files, tmp_path):
    tied = {"prompt": "what is red", "completions": ["I", "you"], "ranks": [1, 1]}
    useful = {**tied, "prompt": "what is blue", "ranks": [1, 2]}
    path = write(tmp_path / "some.jsonl", [tied, useful, {**useful, "prompt": "red"}])
    overrides = ["labeler=imported", "stages=[label]", f"data.files.rankings={path}"]
    runner = Runner(make_raw(*tiny_overrides, *overrides), plugins)
    runner.run()
    kept = (runner.run_dir.stage_dir("label") / "rankings.jsonl").read_text().splitlines()
    assert len(kept) == 2

    path = write(tmp_path / "all.jsonl", [tied])
    overrides = [*overrides[:2], f"data.files.rankings={path}", "force_from=label"]
    with pytest.raises(UserError, match="no usable row in rankings"):
        Runner(make_raw(*tiny_overrides, *overrides), plugins).run()


def test_rankings_of_too_few_completions(run, plugins, make_raw, tiny_overrides, tmp_path, capsys):
    row = {"prompt": "what is red", "completions": ["I", "you"], "ranks": [1, 2]}
    more = {"prompt": "red", "completions": ["I", "you", "like"], "ranks": [1, 2, 2]}
    path = write(tmp_path / "rankings.jsonl", [row, more, row])
    overrides = ["labeler=imported", "stages=[label]", f"data.files.rankings={path}"]
    with pytest.raises(UserError, match=r"labeler.min_completions=9: .* have at most 3"):
        run(*overrides, "labeler.min_completions=9")
    runner = Runner(make_raw(*tiny_overrides, *overrides, "labeler.min_completions=3"), plugins)
    runner.run()
    kept = (runner.run_dir.stage_dir("label") / "rankings.jsonl").read_text().splitlines()
    assert [json.loads(line)["ranks"] for line in kept] == [[1, 2, 2]]
    said = " ".join(capsys.readouterr().out.split())
    assert "rankings: dropped 2 (fewer than 3 completions) of 3" in said


def test_labels_that_tie_everything(run, plugins, make_raw, tiny_overrides):
    runner = Runner(make_raw(*tiny_overrides, "stages=[sft,reward_model]"), plugins)
    runner.run_dir.begin("label")
    row = {"prompt": [{"role": "user", "content": "red"}], "completions": ["I", "you"]}
    row |= {"ranks": [1, 1], "finished": [True, True], "labeler": "x"}
    write_jsonl(runner.run_dir.stage_dir("label") / "rankings.jsonl", [row])
    runner.run_dir.complete(StageRecord("label", {}, {}))
    with pytest.raises(UserError, match="every ranking ties all its completions"):
        runner.run()
    assert runner.run_dir.record("sft") is None


def test_pad_token_that_is_the_eos_token(run, tmp_path, tiny_overrides, plugins, make_raw):
    """EOS is learnt: it is in the loss, and sampled completions end with it."""
    tiny.language_model(tmp_path / "base", hidden_size=64, intermediate_size=64)
    tiny.tokenizer(tmp_path / "base", chat=True, pad="<eos>")
    overrides = [
        f"model.path={tmp_path / 'base'}", "stages=[sft,sample]", "stage.sft.learning_rate=0.005",
        "stage.sft.num_train_epochs=40", "stage.sft.validation_fraction=0",
    ]  # fmt: skip
    runner = Runner(make_raw(*tiny_overrides, *overrides), plugins)
    runner.run()
    rows = (runner.run_dir.stage_dir("sample") / "completions.jsonl").read_text().splitlines()
    finished = [flag for row in rows for flag in json.loads(row)["finished"]]
    assert sum(finished) / len(finished) > 0.8


def test_a_corrupt_run_directory(run, plugins, make_raw, tiny_overrides):
    run("stages=[sft]")
    runner = Runner(make_raw(*tiny_overrides, "stages=[sft]"), plugins)
    (runner.run_dir.stage_dir("sft") / "stage.json").write_text("{")
    with pytest.raises(UserError, match=r"corrupt record.*force_from=sft"):
        runner.run()


def test_no_disk_space_is_one_line_and_keeps_what_is_finished(
    plugins, make_raw, tiny_overrides, monkeypatch
):
    runner = Runner(make_raw(*tiny_overrides, "stages=[sft,sample]"), plugins)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device", "completions.jsonl")

    monkeypatch.setattr("rlhfkit.stages.sample.write_jsonl", full)
    with pytest.raises(Exception, match="sample") as error:
        runner.run()
    said = one_line(error.value)
    assert (
        said == "no disk space left (completions.jsonl); finished stages and checkpoints are kept"
    )
    assert runner.run_dir.record("sft") is not None
    assert runner.run_dir.record("sample") is None


def test_no_disk_space_for_a_model_is_one_line(run, monkeypatch):
    def full(*_args, **_kwargs):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("rlhfkit.models.language_model.LanguageModel.save", full)
    with pytest.raises(Exception, match="sft") as error:
        run("stages=[sft]")
    said = one_line(error.value)
    assert (
        said
        == "no disk space left (while writing a model); finished stages and checkpoints are kept"
    )


def test_a_read_only_disk(run, monkeypatch):
    def refuse(path, *_args, **_kwargs):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(UserError, match=r"run: cannot be written \(Read-only file system\)"):
        run("stages=[sft]")


def test_models_that_do_not_fit_are_one_line():
    said = one_line(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore."))
    assert said.startswith("out of memory for models and optimizer states: try loader=qlora")


def test_a_read_only_disk_before_the_first_stage_is_one_line():
    said = one_line(OSError(30, "Read-only file system", "runs/x"))
    assert said == "runs/x: Read-only file system; choose another place with run_dir=..."


def test_a_place_that_cannot_hold_a_run(run, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        run("stages=[sft]")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["stages=[rl]", "reward=[reward_model]"], "let the stage 'reward_model' run first"),
        (["stages=[rl]", "reward=[]"], "at least one reward function"),
        (["stages=[rl]", "kl=pid", "kl.target=0", "reward=[length]"], r"kl\.target=0\.0: must be"),
        (
            ["stages=[rl]", "reward=[length]", "optimizer=rloo", "stage.rl.batch_size=6"],
            "must be a multiple of the 4 completions per prompt",
        ),
        (
            ["stages=[rl]", "reward=[length]", "optimizer.ptx_coef=1",
             "data.files.pretraining=null"],
            "optimizer.ptx_coef=1.0 needs pretraining texts",
        ),
        (
            ["stages=[sft]", "stage.sft.pretraining_fraction=0.1",
             "data.files.pretraining=null"],
            "needs pretraining texts",
        ),
        (["stages=[sft]", "stage.sft.pretraining_fraction=1"], "must be at least 0 and below 1"),
        (["stages=[sft]", "data.files.demonstrations=null"], "needs demonstrations"),
        (["stages=[sft]", "model.dtype=float8"], "model.dtype=float8"),
        (["stages=[sft]", "report_to=[tensorbord]"], "report_to="),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_settings_that_cannot_work(run, overrides, says):
    with pytest.raises(UserError, match=says):
        run(*overrides)


@pytest.mark.parametrize(
    ("returned", "says"),
    [([1.0], "returned 1 number for"), ([float("nan")] * 8, "not finite")],
)
def test_a_reward_function_that_is_wrong(run, monkeypatch, returned, says):
    monkeypatch.setattr(
        "rlhfkit_plugins.rewards.length.LengthReward.__call__", lambda *_, **__: returned
    )
    with pytest.raises(UserError, match=says):
        run("stages=[rl]", "reward=[length]")
