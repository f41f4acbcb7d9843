"""Curves of gold reward: read from a run's files, fitted, in a table and a figure."""

import math

import pytest

from rlhfkit import figures
from rlhfkit.figures import gold_curves
from rlhfkit.figures.overoptimization import best_of_n_kl, best_of_n_reward, rl_reward
from rlhfkit.storage.run_dir import write_json, write_jsonl

KL = [-0.01, 0.3, 0.9, 2.0, 4.0, 7.0]
START, ALPHA, BETA = 0.5, 2.0, 1.5


@pytest.fixture
def context(make_context):
    """Of a run that follows the paper's two laws without noise; the proxy goes on to rise."""
    made = make_context(
        "reward=[length,gold]", "reward.length.weight=2", "reward.gold.weight=0", stage="report"
    )
    rows = [{"objective/kl": kl, "reward/gold": _rl(kl), "objective/scores": kl} for kl in KL]
    sizes = {"sft": 1, **{f"best-of-{n}": n for n in (2, 4, 8, 16)}, "base": 1}
    metrics = {
        name: {
            "kl": {"value": best_of_n_kl(n)},
            "reward/gold": {"value": best_of_n_reward(best_of_n_kl(n) ** 0.5, START, ALPHA, BETA)},
            "reward/length": {"value": float(n)},
        }
        for name, n in sizes.items()
    }
    for stage in ("rl", "evaluate", "report"):
        made.run_dir.stage_dir(stage).mkdir(parents=True)
    write_jsonl(made.run_dir.stage_dir("rl") / "metrics.jsonl", [{"other": 1}, *rows])
    write_json(made.run_dir.stage_dir("evaluate") / "metrics.json", metrics)
    return made


def _rl(kl):
    return float(rl_reward(max(kl, 0) ** 0.5, START, ALPHA, BETA))


def test_both_curves_are_read_and_fitted(context):
    rl, best = gold_curves.read(context)
    assert (rl.form, best.form) == ("RL", "best-of-n")
    assert rl.d == pytest.approx([0, *map(math.sqrt, KL[1:])])
    assert rl.proxy == KL
    # metrics.json is sorted by name; the SFT model comes first all the same
    assert dict(zip(best.d, best.proxy, strict=True)) == pytest.approx(
        {math.sqrt(best_of_n_kl(n)): 2 * n for n in (1, 16, 2, 4, 8)}
    )
    assert best.d[0] == 0
    for curve in (rl, best):
        found = (curve.fit.start, curve.fit.alpha, curve.fit.beta)
        assert found == pytest.approx((START, ALPHA, BETA), abs=1e-6)


def test_the_table_has_the_parameters(context):
    lines = gold_curves.table(gold_curves.read(context))
    assert any(line.startswith("| run | RL | 6 | 2 ± ") for line in lines)
    assert any(line.startswith("| run | best-of-n | 5 | 2 ± ") for line in lines)
    assert sum("| 1.5 ± " in line for line in lines) == 2


def test_the_figure_has_points_and_the_fitted_curve(context, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "save", lambda _, figure, name: [drawn.update({name: figure})])
    gold_curves.draw(context, gold_curves.read(context))
    rl, best = drawn["overoptimization"].axes
    assert [axes.get_title() for axes in (rl, best)] == ["test: RL", "test: best-of-n"]
    (line,) = rl.lines
    ends = line.get_xydata()[[0, -1]]
    assert ends[0] == pytest.approx([0, 0], abs=1e-6)
    assert ends[1] == pytest.approx([7**0.5, _rl(7.0) - START])
    gold, proxy = (item.get_offsets()[-1].tolist() for item in rl.collections)
    assert gold == pytest.approx([7**0.5, _rl(7.0) - START])
    assert proxy == pytest.approx([7**0.5, 7.01])


def test_a_run_without_gold_has_no_curve(make_context):
    context = make_context(stage="report")
    assert gold_curves.read(context) == []
    assert gold_curves.draw(context, []) == []
    assert gold_curves.table([]) == []
