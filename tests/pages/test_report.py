"""The page of a run: what it claims, what it attacks, and text that is nothing but text."""

import json
import re
from contextlib import closing
from dataclasses import asdict

import pytest

from rlhfkit.commands.report import show_report
from rlhfkit.errors import UserError
from rlhfkit.labelling.agreement import measure
from rlhfkit.labelling.items import items_of
from rlhfkit.labelling.judged import Judged
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Submission
from rlhfkit.pages.charts import smoothed
from rlhfkit.pages.contents import read_agreement, read_run
from rlhfkit.pages.page import render, write
from rlhfkit.pages.people import people_lines, win_rows
from rlhfkit.pages.ratings import rating_lines
from rlhfkit.pages.tax import tax_lines, tax_rows
from rlhfkit.pages.verdict import verdict
from rlhfkit.stages.registry import STAGES
from rlhfkit.storage.run_dir import RunDir, StageRecord, write_json, write_jsonl

NASTY = '<script>alert(1)</script><img src=x onerror="alert(2)">'
SETTINGS = {
    "seed": 3, "model.path": "a/model", "loader.name": "lora", "labeler.name": "simulated",
    "optimizer.name": "ppo", "optimizer.ptx_coef": 0.5,
}  # fmt: skip


def rate(value, low, high, count=20):
    return {"win_rate": {"value": value, "low": low, "high": high, "count": count}}


@pytest.fixture
def make_run(tmp_path):
    """`make_run("a", wins=15, ended=12)`: a run with 20 duels, of which so many were won, and so
    many of those that were won had both answers ended by themselves."""

    def make(name="mine", wins=15, ended=12, low=0.55, data="quickstart"):
        run = RunDir(tmp_path / "runs" / name)
        prompts = [[{"role": "user", "content": f"question {number}"}] for number in range(20)]
        samples, rows = [], []
        for number, prompt in enumerate(prompts):
            won, both = number < wins, number < ended or number >= wins
            texts = {"rl": f"rl says {number}", "sft": NASTY if number == 0 else "sft says it all"}
            samples += [
                {"policy": policy, "prompt": prompt, "completion": text, "finished": both}
                for policy, text in texts.items()
            ]
            rows.append(
                {"policy": "rl", "prompt": prompt, "completion": texts["rl"],
                 "sft": texts["sft"], "win_rate": float(won)}
            )  # fmt: skip
        for stage in ("rl", "evaluate"):
            record = StageRecord(stage, SETTINGS, {f"data {data}.prompts": "abc"}, 12.0)
            run.start(record)
            place = run.stage_dir(stage)
            if stage == "rl":
                write_jsonl(
                    place / "metrics.jsonl",
                    [
                        {"episode": 8 * n, "objective/scores": n / 2, "objective/kl": n}
                        for n in range(1, 5)
                    ],
                )
            else:
                numbers = {"sft": {}, "rl": rate(wins / 20, low, 0.9)}
                write_json(place / "metrics.json", numbers)
                write_jsonl(place / "samples.jsonl", samples)
                (place / "rows").mkdir()
                write_jsonl(place / "rows" / "win_rate.jsonl", rows)
            run.complete(record)
        return run

    return make


def test_the_verdict_comes_with_the_attack_on_it(make_run):
    said = verdict(read_run(make_run(), STAGES))
    assert said[0] == (
        "PPO-ptx is preferred to the SFT model: 75.0% [55.0%, 90.0%] of 20 held-out prompts, as "
        "the simulated labelers judge."
    )
    assert said[1].startswith("Where both answers end by themselves it is 70.6% [47.1%, ")
    assert said[1].endswith("of 17: the gain may be no more than answers that end.")
    assert said[2] == "PPO-ptx's answers have 3.0 words on average, the SFT model's 4.0."
    assert "small-scale" in said[-1]


@pytest.mark.parametrize(
    ("wins", "low", "says"),
    [
        (15, 0.4, "Whether PPO-ptx is better than the SFT model cannot be told"),
        (20, 0.95, "PPO-ptx is preferred to the SFT model: 100.0%"),
    ],
)
def test_no_more_is_claimed_than_the_interval_lets(make_run, wins, low, says):
    assert verdict(read_run(make_run(wins=wins, low=low), STAGES))[0].startswith(says)


def test_constraints_and_questions_are_told_in_words(make_run):
    run = make_run()
    place = run.stage_dir("evaluate") / "metrics.json"
    numbers = {
        "rl": {"rubric_greedy": 0.543, "closed_questions_greedy": 0.613},
        "sft": {"rubric_greedy": 0.406},
        "base": {"rubric_greedy": 0.154, "closed_questions_greedy": 0.514},
    }
    for who, found in numbers.items():
        numbers[who] = {
            name: {"value": value, "low": 0.1, "high": 0.7, "count": 111}
            for name, value in found.items()
        }
    numbers["rl"] |= rate(0.75, 0.55, 0.9)
    write_json(place, numbers)
    said = verdict(read_run(run, STAGES))
    assert said[2:4] == [
        "Read greedily, PPO-ptx keeps every constraint of 54% of 111 prompts, SFT of 41%, the "
        "untouched base model of 15%.",
        "Read greedily, PPO-ptx answers 61% of 111 closed questions right, the untouched base "
        "model 51%.",
    ]
    differences = {
        "sft": {"rl": {"value": 0.137, "low": 0.07, "high": 0.204, "count": 111}},
        "base": {"rl": {"value": -0.02, "low": -0.1, "high": 0.06, "count": 111}},
    }
    tax = {"rubric_greedy": {"better": "higher", "deltas": differences}}
    write_json(place.with_name("tax.json"), tax)
    said = verdict(read_run(run, STAGES))
    assert said[2].endswith(
        "of 15%; by pairs PPO-ptx less SFT +14 points [+7, +20] and less the base model -2 points "
        "[-10, +6]."
    )
    assert said[3].endswith("base model 51%.")


def test_a_gain_where_all_end_stands(make_run):
    said = verdict(read_run(make_run(wins=20, ended=20), STAGES))
    assert said[1] == "Where both answers end by themselves it is 100.0% [100.0%, 100.0%] of 20."


def test_metrics_have_words_beside_their_names(make_run):
    page = render([read_run(make_run(), STAGES)])
    beside = '<span class="beside"><br><code>win_rate</code></span>'
    assert f"<td>preferred to SFT{beside}</td>" in page


def test_how_far_labelers_agree_stands_on_the_page(make_run):
    run = make_run()
    run.start(StageRecord("label", SETTINGS, {}))
    judged = [Judged(who, "a", [1, 2, 3 - (who == "ann")]) for who in ("ann", NASTY)]
    details = {"details": asdict(measure(judged))}
    write_json(run.stage_dir("label") / "agreement.json", {"agreement": 1.0, **details})
    write_jsonl(run.stage_dir("label") / "rankings.jsonl", [])
    run.complete(StageRecord("label", SETTINGS, {}))
    page = render([read_run(run, STAGES)])
    assert "two labelers agree, 2 pairs without ties</td><td>100.0 ± 0.0 %" in page
    assert NASTY not in page
    assert read_agreement(make_run("other")) is None


def test_what_people_say_stands_beside_the_simulated_labelers(make_run):
    """Win rates, ratings and agreement of people, on the page and as JSON; the win matrix, too."""
    run = make_run()
    items = items_of(run, "evaluate", "full")
    with closing(Store(run.root / "judgements.sqlite")) as store:
        for place, item in enumerate(items[:4]):
            for name in ("ann", "bob"):
                rated = [{"overall": 7 - place, "flags": ["opinion"]}, {"overall": 1, "flags": []}]
                ranks = [1, 2] if place else [2, 1]
                store.add(item, name, Submission(0, ranks, rated))
    found = read_run(run, STAGES)
    assert [row[:1] + row[2:] for row in win_rows(found.people, found.metrics)] == [
        ["rl", "4", "0.75 [0.55, 0.9]", "20"]
    ]
    page = render([found])
    for words in (
        "<td>rl</td><td>0.75 [0.25, 1]</td><td>4</td><td>0.75 [0.55, 0.9]</td><td>20</td>",
        "2 labelers compared 4 blind pairs of answers",
        "Overall, from 1 to 7</td><td>4</td><td>5.5 [",
        "<td>1 [1, 1]</td><td>4.5 [3.5, 5.5]</td></tr>",
        "Expresses an opinion</td><td>4</td><td>1 [1, 1]</td><td>0 [0, 0]</td><td>1 [1, 1]</td>",
        "<h2>How far people agree</h2>",
        "<tr><th>RL policy</th><td",
        '<td class="good">0.75 [0.55,',
        '<td class="bad">0.25 [',
    ):
        assert words in page, words
    write([found], run.root)
    stored = json.loads((run.root / "report.json").read_text())[0]
    assert stored["people"]["win_rates"]["rl"]["value"] == 0.75
    assert stored["people"]["ratings"]["rl"]["opinion"]["value"] == 1
    assert stored["people"]["differences"]["rl"]["overall"]["value"] == 4.5
    assert stored["win_matrix"]["sft"]["rl"]["value"] == 0.25
    assert "| rl | 0.75 [0.25, 1] | 4 |" in "\n".join(people_lines(found.people, found.metrics))
    (run.root / "judgements.sqlite").write_bytes(b"no database" * 1000)
    assert "judgements.sqlite" in read_run(run, STAGES).missing[-1]


def test_what_a_model_says_of_each_answer_has_the_form_of_what_people_say(make_run):
    run = make_run()
    rows = [
        {
            "policy": policy, "prompt": [{"role": "user", "content": str(place)}],
            "completion": policy, "labeler": NASTY, "judge_overall": overall + place,
            "judge_opinion": 0.0,
        }
        for policy, overall in (("sft", 2.0), ("rl", 4.0)) for place in (0, 1)
    ]  # fmt: skip
    write_jsonl(run.stage_dir("evaluate") / "rows" / "ratings.jsonl", rows)
    found = read_run(run, STAGES)
    page = render([found])
    for words in (
        "<h2>What model judges say of each answer</h2>",
        "<th></th><th>prompts</th><th>SFT</th><th>RL policy</th><th>rl - sft</th>",
        "<td>Overall, from 1 to 7</td><td>2</td><td>2.5 [2, 3]</td><td>4.5 [4, 5]</td>"
        "<td>2 [2, 2]</td>",
        "Expresses an opinion</td><td>2</td><td>0 [0, 0]</td>",
        "rated 4 answers, each alone",
    ):
        assert words in page, words
    assert "violent" not in page  # nobody asked about it
    assert NASTY not in page
    write([found], run.root)
    stored = json.loads((run.root / "report.json").read_text())[0]
    assert stored["rated"]["differences"]["rl"]["overall"]["value"] == 2
    lines = "\n".join(rating_lines(found.rated))
    assert "## What model judges say of each answer" in lines
    assert "| Overall, from 1 to 7 | 2 | 2.5 [2, 3] | 4.5 [4, 5] | 2 [2, 2] |" in lines
    assert read_run(make_run("other"), STAGES).rated is None


def test_rules_of_the_quickstart_that_judge_other_data_are_named_first(make_run):
    said = verdict(read_run(make_run(data="files"), STAGES))
    assert said[0].startswith("These answers were judged by simulated labelers, a few rules that")
    assert said[1].startswith("PPO-ptx is preferred")


def test_the_next_commands_are_of_this_run_and_of_another_seed(make_run):
    run = make_run()
    words = run.root / "invocations" / "one" / ".hydra" / "overrides.yaml"
    words.parent.mkdir(parents=True)
    words.write_text("[recipe=quickstart, run_dir=runs/mine, seed=0, run_name=mine, kl=fixed]")
    page = render([read_run(run, STAGES)])
    assert "rlhfkit recipe=quickstart kl=fixed seed=4 run_name=mine-seed4\n" in page
    assert f"rlhfkit export {run.root} --merged\n" in page


def test_text_of_models_is_text(make_run):
    page = render([read_run(make_run(), STAGES)])
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r'(src|href)="(?!#)', page)  # nothing is fetched


def test_the_page_has_verdict_charts_duels_and_settings(make_run):
    page = render([read_run(make_run(), STAGES)])
    assert page.count("<svg role=") == 3
    assert page.count('<article class="duel"') == 20
    for words in ("wins (15)", "losses (5)", "ties (0)", "model.path", "data quickstart.prompts"):
        assert words in page
    first, last = page.index("rl says 0<"), page.index("rl says 19<")
    assert first < last  # the largest wins first


def test_a_damaged_or_unfinished_run_says_what_is_missing(make_run):
    run = make_run()
    run.begin("sft")
    (run.stage_dir("rl") / "metrics.jsonl").write_text("{broken")
    (run.stage_dir("evaluate") / "metrics.json").unlink()
    found = read_run(run, STAGES)
    assert "Stage sft was started and is not complete." in found.missing
    assert any("metrics.jsonl" in sentence for sentence in found.missing)
    assert any("metrics.json: missing" in sentence for sentence in found.missing)
    page = render([found])
    assert "What is missing" in page
    assert "This run has not been evaluated" in page


def test_the_command_writes_one_page_for_several_runs(make_run, plugins, tmp_path, capsys):
    roots = [str(make_run(name).root) for name in ("a", "b")]
    show_report(roots, plugins)
    folder = tmp_path / "runs"
    assert str(folder / "report.html") in capsys.readouterr().out.replace("\n", "")
    stored = json.loads((folder / "report.json").read_text())
    assert [run["name"] for run in stored] == ["a", "b"]
    assert stored[0]["metrics"]["rl"]["win_rate"]["value"] == 0.75
    assert (folder / "report.html").read_text().count('<section id="run') == 2


@pytest.mark.parametrize("words", [[], ["nowhere"], ["."]])
def test_what_is_no_run_is_refused(plugins, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="report"):
        show_report(words, plugins)


def test_smoothing_starts_at_the_first_value_and_follows():
    assert smoothed([2.0, 2.0]) == pytest.approx([2.0, 2.0])
    assert smoothed([1.0, 0.0]) == pytest.approx([1.0, 0.24 / 0.64])


def test_the_alignment_tax_stands_beside_the_papers(make_run):
    run = make_run()
    folder = run.stage_dir("evaluate")
    number = {"value": 0.7, "low": 0.6, "high": 0.8, "count": 40}
    found = {
        who: {"winogender_entropy_basic": number, "quiz": number} for who in ("base", "sft", "rl")
    }
    write_json(folder / "metrics.json", found)
    loss = {"value": -0.1, "low": -0.2, "high": -0.05, "count": 40, "level": 0.95}
    deltas = {"base": {"rl": loss}, "sft": {"rl": {**loss, "high": 0.05}}}
    entry = {"better": "higher", "deltas": deltas}
    write_json(folder / "tax.json", {"winogender_entropy_basic": entry, "quiz": entry})
    contents = read_run(run, STAGES)
    second, first = tax_rows(contents.metrics, contents.tax)
    assert (first.n, first.to_base, first.mood) == (40, "-0.1 [-0.2, -0.05]", "bad")
    assert first.paper.ppo_ptx == ".760 / .719 / .737"
    assert second.paper is None
    page = render([contents])
    assert '<td class="bad">-0.1 [-0.2, -0.05]</td><td>-0.1 [-0.2, 0.05]</td>' in page
    assert ".698 / .587 / .618" in page
    row = "| quiz | higher | 40 | 0.7 [0.6, 0.8] | 0.7 [0.6, 0.8] | 0.7 [0.6, 0.8] | "
    assert tax_lines([second])[-1] == row + "-0.1 [-0.2, -0.05] | -0.1 [-0.2, 0.05] |"
