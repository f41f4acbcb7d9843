"""A sweep as a user runs it: common stages once, one table and one plot at the end."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlhfkit.commands.compare import compare
from rlhfkit.commands.sweep import exclude_unswept, point_name
from rlhfkit.errors import UserError
from rlhfkit.figures.paper_curves import PAPER
from rlhfkit.storage.run_dir import RunDir, StageRecord, write_json, write_jsonl
from rlhfkit.testing.tiny import WORDS
from rlhfkit.types import Metric

RLHFKIT = Path(sys.executable).with_name("rlhfkit")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SHORT = ("sft", "rl", "evaluate")
SMALL = (f"stages=[{','.join(SHORT)}]", "optimizer=rloo", "reward=[length]")
COMMON = ("sft", "rl_sft", "sample", "label", "reward_model")


def rlhfkit(*arguments, cwd):
    done = subprocess.run(
        [str(RLHFKIT), *arguments], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture
def tiny_sweep(tmp_path, tiny_overrides):
    """recipe=tiny: two points of ablate_ptx on the tiny model; the recipe's own data is files."""
    config = OmegaConf.create()
    texts = "".join(f'{{"text": "{one} and {other}"}}\n' for one in WORDS for other in WORDS)
    (tmp_path / "texts.jsonl").write_text(texts)
    own = [f"data.files.pretraining={tmp_path / 'texts.jsonl'}", "stage.evaluate.num_prompts=6"]
    for override in [*tiny_overrides, *own]:
        name, value = override.split("=", 1)
        if name != "data":
            OmegaConf.update(config, name, OmegaConf.create({"value": value}).value)
    text = OmegaConf.to_yaml(config)
    text += "hydra:\n  sweeper:\n    params:\n      seed: 0\n      optimizer.ptx_coef: 0,20\n"
    head = "# @package _global_\ndefaults:\n  - ablate_ptx\n  - override /data: [files]\n"
    recipe = tmp_path / "mine" / "recipe" / "tiny.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(f"{head}  - override /loader: lora\n  - _self_\n{text}")
    return ("--config-dir", str(tmp_path / "mine"), "recipe=tiny")


def test_a_sweep_ends_in_table_and_plot_and_runs_common_stages_once(tmp_path, tiny_sweep):
    said = rlhfkit(*tiny_sweep, cwd=tmp_path)
    root = tmp_path / "runs" / "tiny"
    first, second = (root / f"optimizer.ptx_coef={value},seed=0" for value in (0, 20))
    for stage in COMMON:
        assert len(re.findall(rf"(?<!\w){stage}: done in", said)) == 1
        assert re.search(rf"(?<!\w){stage}: taken over from", said)
        files = [path for path in (first / stage).rglob("*") if path.is_file()]
        assert len(files) > 1
        for file in files:
            other = second / file.relative_to(first)
            assert other.read_bytes() == file.read_bytes()
            assert file.name == "stage.json" or other.samefile(file), file
    assert said.count("rl: done in") == said.count("evaluate: done in") == 2
    _check_comparison(root / "comparison", [first, second])
    state = rlhfkit("stages", *tiny_sweep, cwd=tmp_path)
    assert state.count("complete in another run") == 0
    assert state.count("skip") == 16


def test_joblib_runs_points_side_by_side_and_ends_in_the_table(tmp_path, tiny_sweep):
    said = rlhfkit(*tiny_sweep, *SMALL, *JOBLIB, cwd=tmp_path)
    root = tmp_path / "runs" / "tiny"
    table = (root / "comparison" / "comparison.md").read_text().splitlines()
    assert [row.split("|")[1].strip() for row in table[2:5]] == ["SFT", "0.0", "20.0"]
    assert "Sweep: policies" in said
    for place in (path for path in root.iterdir() if path.name != "comparison"):
        assert {file.parent.name for file in place.glob("*/stage.json")} == set(SHORT)
    # side by side: neither had anything yet for the other to take over
    assert said.count("sft: done in") == 2


def test_a_point_that_fails_is_told_before_the_others_run(tmp_path):
    words = ("stages=[report]", "kl=fixed", "kl.kl_coef=-1,0", "run_name=mine", "--multirun")
    done = subprocess.run([str(RLHFKIT), *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    told, ran = (
        done.stdout.index(words)
        for words in (
            "point kl.kl_coef=-1 has failed, the others go on: kl.kl_coef",
            "report: done",
        )
    )
    assert told < ran


def test_a_point_is_named_by_what_differs():
    options = ["recipe=quickstart", "run_name=a", "+x=1", "seed=1,2", "kl.kl_coef=range(1,3)"]
    excluded = exclude_unswept(options)
    assert excluded.endswith(".exclude_keys=[recipe,run_name,x]")
    assert point_name("kl.kl_coef=0.02,seed=1") == "kl.kl_coef=0.02,seed=1"
    assert point_name('model.path="~/my model/ü",stages=[sft,rl]') == (
        "model.path=_my_model_ü,stages=sft,rl"
    )


def test_a_points_name_is_never_too_long():
    long = [point_name(f"model.path={'ü' * 200}{end}") for end in "ab"]
    assert all(len(name.encode()) <= 120 for name in long)
    assert long[0] != long[1]


def _check_comparison(folder, runs):
    with (folder / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    for run, value in zip(runs, ("0.0", "20.0"), strict=True):
        stored = json.loads((run / "evaluate" / "metrics.json").read_text())
        assert {"win_rate", "pretraining_loss", "kl"} <= set(stored["rl"])
        found = {
            (row["policy"], row["metric"]): {
                key: float(row[key]) for key in ("value", "low", "high", "count", "level")
            }
            for row in rows
            if row["optimizer.ptx_coef"] == value
        }
        assert found == {
            (policy, name): metric
            for policy, metrics in stored.items()
            for name, metric in metrics.items()
        }
    page = (folder / "comparison.md").read_text()
    for start in ("| optimizer.ptx_coef |", "| SFT |", "| 0.0 |", "| 20.0 |"):
        assert f"\n{start}" in f"\n{page}"
    assert "gamma of 20 or more" in page
    assert "Paired differences to the first row" in page
    assert (folder / "comparison.png").stat().st_size > 5000


def evaluated(root, settings, **policies):
    """A run directory with an evaluation by hand."""
    run = RunDir(root)
    run.begin("rl")
    run.complete(StageRecord("rl", settings, {}))
    metrics = {
        policy: {name: asdict(Metric(*numbers, 6)) for name, numbers in found.items()}
        for policy, found in policies.items()
    }
    write_json(run.begin("evaluate") / "metrics.json", metrics)
    run.complete(StageRecord("evaluate", {"seed": 0}, {}))
    return root


def sweep(tmp_path, values, option="kl.kl_coef"):
    for index, value in enumerate(values):
        evaluated(
            tmp_path / f"point{index}",
            {option: value, "kl.name": "fixed"},
            sft={"kl": (0.0, 0.0, 0.0)},
            rl={"kl": (2.5, 2, 3), "win_rate": (0.5 + index / 8, 0.5, 0.875)},
        )
    return tmp_path


def test_points_are_in_order_with_their_intervals(tmp_path, capsys):
    compare([sweep(tmp_path, [0.14, 0.0, 0.02])])
    assert (tmp_path / "comparison" / "comparison.md").read_text().splitlines()[:6] == [
        "| kl.kl_coef | kl | win_rate |",
        "| --- | --- | --- |",
        "| SFT | 0 [0, 0] | - |",
        "| 0.0 | 2.5 [2, 3] | 0.625 [0.5, 0.875] |",
        "| 0.02 | 2.5 [2, 3] | 0.75 [0.5, 0.875] |",
        "| 0.14 | 2.5 [2, 3] | 0.5 [0.5, 0.875] |",
    ]
    assert "the best beta is 0.01 to 0.02" in capsys.readouterr().out


def drawn(tmp_path, monkeypatch):
    """The axes of the plot of a sweep's runs, by what their y axis shows."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "close", lambda figure: None)
    compare([tmp_path])
    return {axes.get_ylabel(): axes for axes in plt.gcf().axes}


def test_the_plot_shows_every_point_and_the_papers_on_its_own_axis(tmp_path, monkeypatch):
    axes = drawn(sweep(tmp_path, [0.0, 0.02, 2.0]), monkeypatch)
    here = axes["win rate against SFT"]
    assert here.get_xscale() == "symlog"
    assert here.get_lines()[0].get_xydata().tolist() == [[0, 0.5], [0.02, 0.625], [2, 0.75]]
    paper = axes["Likert score (1 to 7) in the paper, 1.3B"].get_lines()[0]
    points = dict(paper.get_xydata().tolist())
    assert points == PAPER["kl.kl_coef"].points
    assert max(points, key=points.get) == 0.01
    assert set(axes) - {"KL to SFT (nats per completion)"} == {
        "win rate against SFT", "Likert score (1 to 7) in the paper, 1.3B"
    }  # fmt: skip


def test_the_papers_gamma_is_a_line(tmp_path, monkeypatch):
    axes = drawn(sweep(tmp_path, [2.0, 20.0], "optimizer.ptx_coef"), monkeypatch)
    for panel in axes.values():
        assert [20, 20] in [list(line.get_xdata()) for line in panel.get_lines()]


def test_seeds_are_averaged_and_differences_taken_by_pairs(tmp_path, monkeypatch):
    """Two prompts, two seeds: at beta 2 each prompt is 0.25 lower, though the intervals overlap."""
    for beta, below in ((0.0, 0.0), (2.0, 0.25)):
        for seed, won in ((0, (0.9, 0.3)), (1, (1.0, 0.4))):
            root = tmp_path / f"{beta}_{seed}"
            numbers = [value - below for value in won]
            mean = sum(numbers) / 2
            settings = {"kl.kl_coef": beta, "seed": seed}
            evaluated(root, settings, rl={"win_rate": (mean, *numbers[::-1])}, sft={})
            rows = [
                {"policy": "rl", "prompt": [{"role": "user", "content": text}], "win_rate": value}
                for text, value in zip("ab", numbers, strict=True)
            ]
            (root / "evaluate" / "rows").mkdir()
            write_jsonl(root / "evaluate" / "rows" / "win_rate.jsonl", rows)
    axes = drawn(tmp_path, monkeypatch)["win rate against SFT"]
    lines = (tmp_path / "comparison" / "comparison.md").read_text().splitlines()
    assert lines[:4] == [
        "| kl.kl_coef | win_rate |",
        "| --- | --- |",
        "| 0.0 | 0.65 [0.35, 0.95] (0.6, 0.7) |",
        "| 2.0 | 0.4 [0.1, 0.7] (0.35, 0.45) |",
    ]
    start = lines.index("Paired differences to the first row, over the same prompts or texts:")
    assert lines[start + 2 : start + 5] == [
        "| kl.kl_coef | win_rate |",
        "| --- | --- |",
        "| 2.0 | -0.25 [-0.25, -0.25] |",
    ]
    assert [*axes.get_lines()[0].get_xydata().flat] == pytest.approx([0, 0.65, 2, 0.4])
    assert len((tmp_path / "comparison" / "comparison.csv").read_text().splitlines()) == 5


def test_only_metrics_are_compared_each_question_by_itself(tmp_path):
    """Columns of two comparisons under one name, `tie`, are no metric; questions without a prompt
    are told apart by `item`."""
    for beta, seed in product((0.0, 2.0), (0, 1)):
        root = tmp_path / f"{beta}_{seed}"
        metrics = {"win_rate": (0.5, 0.5, 0.5), "win_rate_vs_base": (1, 1, 1), "loss": (3, 2, 4)}
        evaluated(root, {"kl.kl_coef": beta, "seed": seed}, rl=metrics, sft={})
        asked = {"policy": "rl", "prompt": [{"role": "user", "content": "a"}]}
        won = [
            {**asked, "win_rate": 0.5, "tie": 1.0, "both_ended": True, "characters_more": 5},
            {**asked, "win_rate_vs_base": 1.0, "tie": 0.0, "both_ended": False},
        ]
        lost = [
            {"policy": "rl", "item": place, "loss": loss + beta * place}
            for place, loss in ((0, 2.0), (1, 4.0))
        ]
        (root / "evaluate" / "rows").mkdir()
        write_jsonl(root / "evaluate" / "rows" / "win_rate.jsonl", won)
        write_jsonl(root / "evaluate" / "rows" / "loss.jsonl", lost)
    compare([tmp_path])
    lines = (tmp_path / "comparison" / "comparison.md").read_text().splitlines()
    assert lines[0] == "| kl.kl_coef | loss | win_rate | win_rate_vs_base |"
    assert lines[2].startswith("| 0.0 | 3 [2, 4] (3, 3) | 0.5 ")
    assert lines[-3] == "| 2.0 | 1 [0, 2] | 0 [0, 0] | 0 [0, 0] |"


def test_what_is_no_number_has_a_table_and_no_plot(tmp_path):
    compare([sweep(tmp_path, ["a", "b"], "model.path")])
    assert not (tmp_path / "comparison" / "comparison.png").exists()
    assert "| a |" in (tmp_path / "comparison" / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ([], "say at least two runs"),
        (["."], "the same settings"),
        (["point0"], "say at least two runs"),
        (["point0", "nothing"], "nothing: neither a run's directory nor one that holds runs"),
        (["point0", "started"], "started: the stage evaluate has not finished"),
    ],
)
def test_mistakes_are_told(tmp_path, places, says):
    sweep(tmp_path, [0.1, 0.1])
    if "started" in places:
        run = RunDir(tmp_path / "started")
        run.begin("rl")
        run.complete(StageRecord("rl", {}, {}))
    with pytest.raises(UserError, match=says):
        compare([tmp_path / place for place in places])
