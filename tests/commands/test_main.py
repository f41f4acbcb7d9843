"""The command line as a user meets it: real processes, their output and exit status."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from rlhfkit.commands.listing import show_runs
from rlhfkit.storage.run_dir import RunDir, StageRecord

RLHFKIT = Path(sys.executable).with_name("rlhfkit")


def rlhfkit(*arguments, cwd, check=None):
    done = subprocess.run(
        [str(RLHFKIT), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    if check is not None:
        assert done.returncode == check, done.stderr + done.stdout
    return done


def test_help_imports_no_torch(tmp_path):
    done = rlhfkit("--help", cwd=tmp_path, check=0)
    assert "rlhfkit recipe=quickstart" in done.stdout
    assert "\n  export      write a finished model" in done.stdout
    assert "optimizer: consumer, dpo, grpo, headline, " in done.stdout
    code = (
        "import sys; from rlhfkit.commands.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'trl', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]")


def test_plugins_imports_no_hydra():
    code = (
        "import sys; from rlhfkit.commands.main import main; main(['plugins'])\n"
        "print([m for m in ('torch', 'hydra', 'omegaconf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "optimizer=ppo" in done.stdout
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recipe=quikstart"], "recipe=quikstart: no such choice; did you mean 'quickstart'"),
        (["kl=adptive"], "kl=adptive: no such choice; did you mean 'adaptive'?"),
        (["reward=[lenght]"], "reward=lenght: no such choice; did you mean 'length'?"),
        (["kl.targt=3"], "kl.targt: no such option; did you mean 'target'?"),
        (["stage.sft.lerning_rate=1"], "stage.sft.lerning_rate: no such option"),
        (["kl.target=soon"], "kl.target: Value 'soon' of type 'str' could not be converted"),
        (["reward.length.max=3"], "reward.length: no such option; choices: reward_model"),
        (["modle=x"], "modle: no such option; did you mean 'model'"),
        (["seed=0,1"], "seed=0,1: add --multirun for a run with each of the values"),
        (
            ["recipe=ablate_ptx", "optimizer.ptx_coef=0,1", "loader.dtype=x"],
            "loader.dtype: no such option",
        ),
        (["recipe=ablate_ptx", "loader.dtype=x", "--multirun"], "loader.dtype: no such option"),
        (["model.path=a,b"], "one text with commas in it is typed 'model.path=\"a,b\"'"),
        (["--recipe", "quickstart"], "--recipe: options have no dashes; type recipe=quickstart"),
        (["quickstart"], "no command 'quickstart'; did you mean recipe=quickstart?"),
        (["list", "nowhere"], "no directory nowhere"),
        (["seed=[1"], "cannot read 'seed=[1'"),
        (["kl=fixed", "kl.kl_coef=-1,-2", "--multirun"], "kl.kl_coef=-1.0: must be a finite"),
        (["export"], "export.stage=rl: no finished model in runs/x/rl; choices: none, let"),
        (["export", "export.merge=true"], "export.merge: no such option; did you mean 'merged'?"),
        (["stages"], "stages: say which run or recipe, as in rlhfkit stages runs/quickstart or"),
        (["exprt"], "no command 'exprt'; did you mean 'export' or 'report'?"),
        (["runn"], "no command 'runn'; did you mean 'run'?"),
        (
            ["plugins", "reward"],
            "plugins reward: no such plugin or distribution",
        ),
        (["plugins", "--verbos"], "plugins --verbos: no such flag; did you mean '--verbose'?"),
        (["stages=[sft,evalute]"], "no stage 'evalute'; did you mean 'evaluate'?"),
        (["stages=[rl,sft]"], "each once, in the order [prepare,sft,"),
        (["force_from=rll"], "no stage 'rll'; did you mean 'rl' or 'label'?"),
        (["stage.sample.num_completions=1", "stages=[sft,sample]"], "K must be from 2 to 16"),
        (["data=[files]", "data.files.demonstrations=no.jsonl", "stages=[sft]"], "no.jsonl"),
        (["+reward.length=3"], "reward.length: no component of this name is chosen"),
        (["stages=[label]"], "let the stage 'sample' run first"),
        ([], "say what to run, as in `rlhfkit recipe=quickstart`"),
        (["seed=1"], "run_name: without a recipe a run needs a name, as in run_name=mine"),
        (["run_dir=/proc/x"], "/proc/x: No such file or directory; choose another place with"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_give_one_line_and_status_2(tmp_path, arguments, says):
    named = [] if arguments in ([], ["seed=1"], ["stages"]) else ["run_name=x"]
    done = rlhfkit(*arguments, *named, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    started = "stages=[label]" in arguments  # the stage itself looks for what it needs
    assert started or list(tmp_path.iterdir()) == []


def test_cfg_job_prints_every_option(tmp_path):
    done = rlhfkit("recipe=quickstart", "--cfg", "job", cwd=tmp_path, check=0)
    for line in ("lora_r:", "target:", "num_ppo_epochs:", "learning_rate:", "name: ppo"):
        assert line in done.stdout


def test_the_version_is_rlhfkits_and_imports_no_torch(tmp_path):
    for typed in ("version", "--version"):
        done = rlhfkit(typed, cwd=tmp_path, check=0)
        assert re.fullmatch(
            r"rlhfkit 0\.2\.0 \(torch 2\.\S+, trl \S+, transformers 5\.\S+, peft \S+\)\n",
            done.stdout,
        )


def test_help_of_a_command_shows_its_options(tmp_path):
    for typed in (["help", "export"], ["export", "--help"]):
        done = rlhfkit(*typed, cwd=tmp_path, check=0)
        assert "rlhfkit export: write a finished model" in done.stdout
        assert "export.merged=false" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows has no SIGPIPE")
def test_a_reader_who_has_seen_enough(tmp_path):
    """Nobody reads at all, so that the first line fails."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [str(RLHFKIT), "recipe=quickstart", "--cfg", "job"], cwd=tmp_path, stdout=writer,
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_without_unicode_shows_tables_all_the_same(tmp_path, encoding):
    done = subprocess.run(
        [str(RLHFKIT), "stages", "run_name=ünï–码"], cwd=tmp_path, capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not run" in done.stdout.decode(encoding)


def test_list_shows_runs_and_points_of_sweeps(plugins, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place in ("runs/a", "runs/sweep/seed=1"):
        run = RunDir(place)
        run.begin("sft")
        run.complete(StageRecord("sft", {}, {}))
    show_runs([], plugins)
    said = capsys.readouterr().out
    assert "runs/a" in said
    assert "runs/sweep/seed=1" in said


def test_options_of_several_rewards(tmp_path):
    done = rlhfkit(
        "reward=[reward_model,length]", "reward.length.max=50", "reward.length.weight=0.25",
        "--cfg", "job", "--package", "reward", cwd=tmp_path, check=0,
    )  # fmt: skip
    assert "max: 50" in done.stdout
    assert "weight: 0.25" in done.stdout


def test_options_say_what_gives_those_without_a_default(tmp_path):
    shown = rlhfkit("options", "run", "model", cwd=tmp_path, check=0).stdout
    assert "  run_name: the recipe's name\n" in shown
    assert "  stages: sft, sample, label, reward_model, rl, evaluate, report\n" in shown
    assert "=required" not in shown


def test_plugins_lists_distributions_hooks_and_components(tmp_path):
    done = rlhfkit("plugins", cwd=tmp_path, check=0)
    known = version("rlhfkit")
    for word in ("rlhfkit", known, "policy_optimizers", "evaluator=policy_statistics"):
        assert f" {word} " in done.stdout  # whole
    assert "with the component's name: reward.length.weight=0.5" in done.stdout


def test_plugins_verbose_tells_what_options_mean_and_where_parts_come_from(tmp_path):
    done = rlhfkit("plugins", "--verbose", "kl", "rewards", cwd=tmp_path, check=0)
    assert re.search(r"^rlhfkit 0\.2\.0 \(plugin 'kl'\)", done.stdout)
    assert "hooks  kl_controllers\n" in done.stdout
    assert "kl=fixed  A constant coefficient" in done.stdout
    assert "kl.kl_coef=0.02\n      Coefficient of the KL penalty, constant" in done.stdout
    assert "reward.length.weight=1.0\n      Factor of its scores" in done.stdout
    built = re.search(r"built by rlhfkit_plugins.kl.controllers:FixedKL in (\S+)", done.stdout)
    assert "class FixedKL" in Path(built[1]).read_text()
    assert "optimizer=ppo" not in done.stdout


def test_stages_tells_what_would_run_and_leaves_no_trace(tmp_path):
    done = rlhfkit("stages", "recipe=quickstart", cwd=tmp_path, check=0)
    assert "not run" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_mistaken_export_leaves_no_trace(tmp_path):
    rlhfkit("export", "run_name=typo", cwd=tmp_path, check=2)
    assert list(tmp_path.iterdir()) == []


def test_recipe_of_ones_own(tmp_path):
    recipe = tmp_path / "mine" / "recipe" / "terse.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("# @package _global_\ndefaults:\n  - override /kl: fixed\nseed: 7\n")
    done = rlhfkit(
        "--config-dir", str(tmp_path / "mine"), "recipe=terse", "--cfg", "job",
        cwd=tmp_path, check=0,
    )  # fmt: skip
    assert "seed: 7" in done.stdout
    assert "kl_coef: 0.02" in done.stdout


def test_multirun_gives_every_job_its_own_directory(tmp_path):
    arguments = ("stages=[report]", "run_name=sweep", "seed=1,2", "--multirun")
    rlhfkit(*arguments, cwd=tmp_path, check=0)
    found = sorted(path.parent.parent.name for path in tmp_path.rglob("stage.json"))
    assert found == [f"seed={seed}" for seed in (1, 2)]


def test_shell_completion_is_hydras(tmp_path):
    done = rlhfkit("--shell-completion", "install=bash", cwd=tmp_path, check=0)
    assert "complete -o nospace" in done.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rlhfkit kl=", "kl=adaptive"),
        ("rlhfkit stages kl=", "kl=adaptive"),
        ("rlhfkit export export.", "export.merged="),
        ("rlhfkit exp", "export"),
        ("rlhfkit new ", "plugin"),
        ("rlhfkit new plugin mine --kind ev", "evaluator"),
        ("rlhfkit plugins --", "--verbose"),
        ("rlhfkit chat chat.br", "chat.browser="),
    ],
)
def test_shell_completion_knows_components_and_options(tmp_path, line, offered):
    done = subprocess.run(
        [str(RLHFKIT), "--shell-completion", "query=bash"],
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert offered in done.stdout.split()


def test_our_errors_keep_their_traceback_and_name_the_command_that_resumes(tmp_path):
    code = (
        "import sys, rlhfkit.stage\n"
        "def run(self, context): raise ZeroDivisionError('a bug')\n"
        "rlhfkit.stage.Stage.start = run\n"
        "from rlhfkit.commands.main import main\n"
        "main(['recipe=quickstart', 'stages=[sft]', 'run_name=my run', 'force_from=sft'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "ZeroDivisionError: a bug" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        "stage sft failed; resume with: rlhfkit recipe=quickstart 'stages=[sft]' 'run_name=my run'"
    )
