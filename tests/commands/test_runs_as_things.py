"""Commands that take a run, or a file, in the place of its options."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rlhfkit.commands.completion import SCRIPTS, complete, show_script
from rlhfkit.commands.remove import remove_runs
from rlhfkit.commands.run_words import changed, expanded, own_flags, words_of_file
from rlhfkit.commands.typed_words import as_hydra_reads
from rlhfkit.errors import UserError
from rlhfkit.runner.run_lock import run_lock
from rlhfkit.storage.find_run import find_run
from rlhfkit.storage.run_dir import RunDir
from rlhfkit.storage.run_record import RunRecord, as_typed

RLHFKIT = Path(sys.executable).with_name("rlhfkit")


def make_run(root, words=("run_name=a",), folder=None):
    (root / "sft").mkdir(parents=True)
    record = {"stage": "sft", "settings": {}, "inputs": {}, "finished_at": "2026-01-01"}
    (root / "sft" / "stage.json").write_text(json.dumps(record))
    RunRecord(list(words), str(folder or root.parent)).write(RunDir(root))
    return root


def rlhfkit(*arguments, cwd):
    return subprocess.run(
        [str(RLHFKIT), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_a_run_is_resumed_shown_and_checked_from_its_record(tmp_path):
    done = rlhfkit("stages=report", "run_name=a", "kl=fixed", "seed=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "runs" / "a" / "run.json").read_text())
    assert stored == {
        "words": ["stages=report", "run_name=a", "kl=fixed", "seed=3"],
        "folder": str(tmp_path),
    }
    below = tmp_path / "notes" / "deep"
    below.mkdir(parents=True)
    again = rlhfkit("resume", "a", cwd=below)
    assert again.stdout.strip() == "report: complete, skipped", again.stderr
    shown = rlhfkit("stages", "../../runs/a", cwd=below)
    assert re.search(r"runs/a .*report +│ complete", shown.stdout, re.DOTALL)
    other = rlhfkit("resume", "a", "kl=adaptive", "kl.target=-3", cwd=below)
    assert "kl.target=-3" in other.stderr
    assert list(below.iterdir()) == []


def test_points_of_a_sweep_have_their_own_words():
    typed = [
        "stages=report",
        "reward=[length,mine.py:score]",
        "seed=1,2",
        "--multirun",
        "reuse=null",
    ]
    point = as_typed(typed, ["stages=[report]", "reward=[length,score]", "seed=2"])
    assert point.words == [
        "stages=[report]", "reward=[length,mine.py:score]", "seed=2", "reuse=null",
        "hydra.mode=RUN",
    ]  # fmt: skip


def test_what_a_recipe_sweeps_is_kept_too():
    record = as_typed(["recipe=ablate_ptx", "-m", "force_from=rl"], ["recipe=ablate_ptx", "seed=4"])
    assert record.words == ["recipe=ablate_ptx", "seed=4", "hydra.mode=RUN"]


def test_paths_are_read_from_where_they_were_typed(tmp_path, monkeypatch, plugins):
    root = make_run(tmp_path / "here" / "runs" / "a", folder=tmp_path / "here")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    found = expanded("export", [str(root), "export.to=out", "export.merged=true"], plugins)
    assert Path.cwd() == tmp_path / "here"
    out = tmp_path / "there" / "out"
    assert found == ["run_name=a", "run_dir=runs/a", f"export.to={out}", "export.merged=true"]


def test_a_point_of_a_sweep_is_a_run_in_spite_of_its_name(tmp_path, monkeypatch, plugins):
    make_run(tmp_path / "runs" / "many" / "kl.kl_coef=0,seed=1", folder=tmp_path)
    monkeypatch.chdir(tmp_path)
    found = expanded("chat", ["many/kl.kl_coef=0,seed=1", "--max-tokens", "9"], plugins)
    assert found == ["run_name=a", "run_dir=runs/many/kl.kl_coef=0,seed=1", "chat.max_tokens=9"]
    options, _ = as_hydra_reads(found, plugins)
    read = OverridesParser.create().parse_override(options[1])
    assert read.value() == "runs/many/kl.kl_coef=0,seed=1"
    monkeypatch.chdir(tmp_path / "runs" / "many")
    assert expanded("run", ["kl.kl_coef=0,seed=1"], plugins) == ["kl.kl_coef=0,seed=1"]


def test_a_mistyped_flag_is_compared_with_those_of_its_command(plugins):
    with pytest.raises(UserError, match=r"--mergd: no such flag, .*; did you mean '--merged'\?$"):
        as_hydra_reads(["--mergd"], plugins, own_flags("export"))
    assert own_flags("plan") == []


def test_a_record_of_a_folder_that_is_gone(tmp_path, monkeypatch, plugins, capsys):
    root = make_run(tmp_path / "runs" / "a", folder="/no/such/folder")
    monkeypatch.chdir(tmp_path)
    assert expanded("stages", ["a"], plugins) == ["run_name=a", f"run_dir={root}"]
    assert "/no/such/folder is gone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "typed", "found"),
    [
        (["seed=1", "kl=fixed"], ["seed=2"], ["kl=fixed", "seed=2"]),
        (["kl=fixed", "kl.kl_coef=1"], ["kl=pid"], ["kl=pid"]),
        (["kl=fixed", "kl.kl_coef=1"], ["kl=fixed"], ["kl.kl_coef=1", "kl=fixed"]),
        (["--config-dir", "x"], ["seed=2"], ["--config-dir", "x", "seed=2"]),
    ],
)  # fmt: skip
def test_what_is_typed_takes_the_place_of_what_is_recorded(words, typed, found):
    assert changed(words, typed) == found


def test_a_run_is_found_from_below_and_the_rest_is_told(tmp_path, monkeypatch):
    root = make_run(tmp_path / "runs" / "first")
    (tmp_path / "x" / "y").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "x" / "y")
    assert find_run("first", "doctor").root == root
    assert find_run("../../runs/first", "doctor").root.resolve() == root
    says = r"frist: no run there; looked at frist, runs/frist, and in the folders above; did you "
    with pytest.raises(UserError, match=rf"doctor {says}mean 'first'\?"):
        find_run("frist", "doctor")


FILE = """
run_name: mine
model: smollm2_135m
data:
  files: {demonstrations: "demos, all.jsonl", columns: {prompt: question}}
kl: fixed
loader: {name: lora, lora_r: 8, lora_target_modules: [q_proj]}
reward: [length]
stages: [sft, rl]
stage: {rl: {total_episodes: 64, reward_clip: null}}
model.stop: ["\\n"]
seed: 3
deterministic: true
"""


def test_a_file_of_options(tmp_path, plugins):
    (tmp_path / "my.yaml").write_text(FILE)
    assert list(words_of_file(tmp_path / "my.yaml", plugins)) == [
        "run_name=mine", "model=smollm2_135m", "data=[files]",
        "data.files.demonstrations=demos, all.jsonl", "data.files.columns={prompt:question}",
        "kl=fixed", "loader=lora", "loader.lora_r=8", "loader.lora_target_modules=[q_proj]",
        "reward=[length]", "stages=[sft,rl]", "stage.rl.total_episodes=64",
        "stage.rl.reward_clip=null", "model.stop=['\n']", "seed=3", "deterministic=true",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n", "has options by name"),
        ("a: [\n", "no YAML"),
        ("loader: {lora_r: 3}\n", "loader: say which, as in loader: {name: NAME"),
        ("defaults: [quickstart]\n", "chosen as recipe=my, in a folder"),
    ],
)
def test_mistakes_in_a_file(tmp_path, plugins, text, says):
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        list(words_of_file(tmp_path / "my.yaml", plugins))


@pytest.mark.parametrize(
    "word", ["reward=mine.py:score", "model.trust_remote_code=True", "reward=[length,a.b:c]"]
)
def test_code_of_a_run_or_file_of_others_runs_when_it_is_trusted(
    tmp_path, plugins, monkeypatch, word
):
    root = make_run(tmp_path / "runs" / "a", words=["run_name=a", word])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"runs/a: .* is code to run; .*add trust=true"):
        expanded("resume", [str(root)], plugins)
    assert word in expanded("resume", [str(root), "trust=true"], plugins)
    name, _, value = word.partition("=")
    (tmp_path / "my.yaml").write_text(f"run_name: b\n{name}: {value}\n")
    with pytest.raises(UserError, match=r"my.yaml: .* is code to run"):
        expanded("run", [str(tmp_path / "my.yaml")], plugins)


def test_what_cfg_job_prints_can_be_run(tmp_path):
    printed = rlhfkit("recipe=quickstart", "kl=fixed", "seed=7", "--cfg", "job", cwd=tmp_path)
    (tmp_path / "again.yaml").write_text(printed.stdout)
    again = rlhfkit("run", "again.yaml", "--cfg", "job", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == printed.stdout


def test_a_run_is_removed_when_someone_says_so(tmp_path, monkeypatch, plugins, capsys):
    root = make_run(tmp_path / "runs" / "a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(UserError, match=r"a: sft, 0.0 MB: nobody to ask here; add --yes"):
        remove_runs(["a"], plugins)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "")
    remove_runs(["a"], plugins)
    assert root.exists()
    remove_runs(["a", "--yes"], plugins)
    assert not root.exists()
    assert "a: kept" in capsys.readouterr().out


def test_nobody_is_asked_about_a_run_at_work(tmp_path, monkeypatch, plugins):
    root = make_run(tmp_path / "runs" / "a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked"))
    with run_lock(root), pytest.raises(UserError, match="is at work in this run directory"):
        remove_runs(["a"], plugins)
    assert root.exists()


@pytest.mark.parametrize("text", ["true", "null", "3", "nan", "a b", "it's", "x:y", "q_proj", ""])
def test_a_text_of_a_file_is_the_same_text_in_words(tmp_path, plugins, text):
    (tmp_path / "my.yaml").write_text(json.dumps({"model.stop": [text]}))
    *_, word = words_of_file(tmp_path / "my.yaml", plugins)
    assert OverridesParser.create().parse_override(word).value() == [text]


def test_nothing_but_a_run_is_removed(tmp_path, monkeypatch, plugins):
    root = make_run(tmp_path / "runs" / "a")
    monkeypatch.chdir(root / "sft")
    with pytest.raises(UserError, match="is where you are"):
        remove_runs([str(root), "--yes"], plugins)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(UserError, match="link: is a link"):
        remove_runs(["link", "--yes"], plugins)
    with pytest.raises(UserError, match="no run there"):
        remove_runs([str(tmp_path), "--yes"], plugins)
    assert root.exists()


@pytest.mark.parametrize("shell", SCRIPTS)
def test_completion_scripts(shell, capsys, plugins):
    show_script([shell], plugins)
    said = capsys.readouterr().out
    assert said.startswith("# ")
    assert "rlhfkit --shell-completion query=bash" in said
    with pytest.raises(UserError, match="did you mean 'bash'"):
        show_script(["bsah"], plugins)


def test_bash_completes_with_the_script(tmp_path, plugins, capsys):
    make_run(tmp_path / "runs" / "mine")
    show_script(["bash"], plugins)
    script = capsys.readouterr().out + (
        'COMP_LINE="rlhfkit report runs/m" COMP_POINT=21 COMP_WORDS=(rlhfkit report runs/m) '
        "COMP_CWORD=2; _rlhfkit; echo ${COMPREPLY[@]}"
    )
    path = {**os.environ, "PATH": f"{RLHFKIT.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "runs/mine", done.stderr


def test_commands_are_completed(monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "rlhfkit re")
    assert complete(["run", "resume", "report"], ["run", "resume"])
    assert capsys.readouterr().out.split() == ["resume", "report"]
