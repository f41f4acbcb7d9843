"""The console's table of an evaluation: the main numbers, in words, within 80 columns."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from rlhfkit.reporting import in_order
from rlhfkit.stages.metrics_table import metrics_tables
from rlhfkit.types import Metric

NUMBER = Metric(0.4375, 0.34375, 0.5, 16)


def labels(metrics):
    """The cells of the first column."""
    return [cell for table in metrics_tables(metrics) for cell in table.columns[0].cells]


def printed(metrics):
    console = Console(width=80, record=True, file=StringIO())
    console.print(*metrics_tables(metrics), sep="\n\n")
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    return text


def of_all(*names, who=("base", "sft", "rl")):
    return {policy: dict.fromkeys(names, NUMBER) for policy in who}


def test_what_shares_no_metric_is_apart():
    metrics = of_all("win_rate", "toxicity") | {
        "reward_model": {"attack/copied_prompt_over_sft": NUMBER},
        "nothing": {},
    }
    text = printed(metrics)
    assert text.count("values, 95 % intervals (how many)") == 2
    assert "reward_model" in text
    assert "nothing" not in text
    assert text.count("[0.344, 0.5]") == 7


def test_known_metrics_have_words_over_their_names_and_come_first():
    assert labels(of_all("zebra", "kl", "win_rate")) == [
        "preferred to SFT\nwin_rate (16)",
        "KL to SFT, nats\nkl (16)",
        "zebra (16)",
    ]


def test_parts_of_a_metric_and_paired_differences_are_left_out():
    text = printed(of_all("rubric", "rubric/form", "rubric_minus_sft", "reward/mine"))
    assert "rubric (16)" in text
    assert "reward/mine (16)" in text
    assert "form" not in text
    assert "minus" not in text


def test_a_long_name_is_broken_between_its_words_and_a_count_is_not():
    name = "closed_questions_of_geography_greedy"
    assert labels(of_all(name)) == ["closed_questions_of_\ngeography_greedy (16)"]
    counts = {"sft": {"win_rate_both_ended": NUMBER}}
    counts["rl"] = {"win_rate_both_ended": replace(NUMBER, count=20)}
    assert labels(counts) == [
        "... where both end\nwin_rate_both_ended\n(16\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}20)"
    ]


def test_more_policies_than_fit_have_tables_of_three():
    who = ("rl", "larger_raw", "PPO", "sft", "prompted", "base")
    text = printed(in_order(of_all("win_rate", who=who)))
    heads = [line.split() for line in text.splitlines() if line.startswith("metric")]
    assert heads == [["metric", "base", "prompted", "sft"], ["metric", "larger_raw", "PPO", "rl"]]
