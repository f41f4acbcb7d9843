"""Figure 1: which policies it shows, under which words and in which order."""

import pytest

from rlhfkit import figures
from rlhfkit.figures import headline
from rlhfkit.types import Metric

LOW, HIGH = Metric(0.2, 0.15, 0.3, 40), Metric(0.6, 0.5, 0.65, 40)
BEST = Metric(0.7, 0.6, 0.75, 40)
METRICS = {
    "sft": {"length": HIGH},
    "base": {"win_rate": LOW},
    "prompted": {"win_rate": LOW},
    "rl": {"win_rate": HIGH, "length": LOW},
    "PPO": {"win_rate": BEST},
    "best-of-2": {"length": LOW},
}


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        (["optimizer=ppo"], "PPO"),
        (["optimizer=ppo", "optimizer.ptx_coef=1"], "PPO-ptx"),
        (["optimizer=dpo"], "DPO"),
    ],
)
def test_words_and_order(make_context, settings, policy):
    metrics = {"other": {"win_rate": BEST}, **METRICS}
    metrics.pop("PPO")
    rates = headline.win_rates(make_context(*settings), metrics)
    assert rates == {"other": BEST, "raw": LOW, "prompted": LOW, "SFT": None, policy: HIGH}
    assert list(rates) == ["raw", "prompted", "SFT", policy, "other"]


def test_the_figure_has_both_panels(make_context, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "save", lambda _, figure, name: [drawn.update({name: figure})])
    context = make_context("optimizer.ptx_coef=1", stage="report")
    headline.draw(context, METRICS)
    own, paper = drawn["figure_1"].axes
    assert [bar.get_height() for bar in own.patches] == [0.2, 0.2, 0.5, 0.6, 0.7]
    assert [label.get_text() for label in own.get_xticklabels()] == [
        "raw", "prompted", "SFT", "PPO-ptx", "PPO",
    ]  # fmt: skip
    ends = [segment[:, 1].tolist() for item in own.collections for segment in item.get_segments()]
    spans = [[0.15, 0.3], [0.15, 0.3], [0.5, 0.5], [0.5, 0.65], [0.6, 0.75]]
    assert ends == [pytest.approx(span) for span in spans]
    smallest = {line.get_label(): line.get_ydata()[0] for line in paper.lines}
    assert {name: smallest[name] for name in headline.PAPER} == {
        "GPT": 0.142, "GPT (prompted)": 0.227, "SFT": 0.348, "PPO": 0.524, "PPO-ptx": 0.527,
    }  # fmt: skip
    assert headline.PAPER["GPT"][2] == 0.240


def test_no_figure_without_a_prompted_model(make_context):
    context = make_context(stage="report")
    without = {name: found for name, found in METRICS.items() if name != "prompted"}
    assert headline.draw(context, without) == []
