"""From what people said to rankings, to human win rates, and to where others differ."""

import json

import pytest

from rlhfkit.commands.label import is_loopback, label_run
from rlhfkit.errors import UserError
from rlhfkit.labelling.assignment import Plan
from rlhfkit.labelling.disagreements import compare
from rlhfkit.labelling.human_evaluation import read_human_evaluation, win_rates
from rlhfkit.labelling.items import items_of
from rlhfkit.labelling.results import tables
from rlhfkit.labelling.store import Store
from rlhfkit.labelling.submission import Submission
from rlhfkit.labelling.training import fingerprint, rankings_of
from rlhfkit.runner.runner import State
from rlhfkit.storage.run_dir import RunDir, read_jsonl
from rlhfkit.types import Ranking
from tests.labelling.conftest import Person

TRAIN = ("stages=[sft,sample,label]", "labeler=people")


def label(store, name, ranks):
    """Everything that is left, ranked by rule."""
    store.invite(name)
    while (assignment := store.next_assignment(name, Plan(repeats=0.1))) is not None:
        store.judge(assignment, Submission(0, ranks(assignment.item), seconds=1.0))


def by_length(item):
    return [
        1 + sum(len(other) < len(text) for other in item.completions) for text in item.completions
    ]


def test_people_join_the_simulated_labelers(run_tiny, tmp_path):
    run_tiny("stages=[sft,sample]", "stage.sample.num_prompts=8")
    run = RunDir(tmp_path / "run")
    store = Store(run.root / "judgements.sqlite")
    store.ask(items_of(run, "sample", "rank"))
    label(store, "ann", by_length)
    words = (*TRAIN, "stage.sample.num_prompts=8", "labeler.with_simulated=true")
    runner = run_tiny(*words)
    rows = [json.loads(line) for line in (run.root / "label/rankings.jsonl").open()]
    mine = [row for row in rows if row["labeler"] == "ann"]
    assert 1 < len(mine) <= 8
    assert len({row["labeler"] for row in rows}) == 6
    assert all(row["ranks"] == by_length(Item(row)) for row in mine)
    assert json.loads((run.root / "label/agreement.json").read_text())["pairs"] > 0

    # one judgement more, and the stage has to be made again
    assert runner.status(runner.find("label")).state is State.COMPLETE
    _, last = store.history("ann")[0]
    number = store.history("ann")[0][0]
    store.judge(store.assignment(number, "ann"), Submission(1, last.ranks[::-1]))
    store.close()
    assert runner.status(runner.find("label")).state is State.STALE


class Item:
    def __init__(self, row):
        self.completions = row["completions"]


def test_nobody_has_ranked_yet(run_tiny):
    with pytest.raises(UserError, match="nobody has ranked anything"):
        run_tiny(*TRAIN)


def test_what_trains_is_first_looks_of_sampled_items(store):
    label(store, "ann", lambda item: [1, 2, 3])
    found = rankings_of(store.path)
    assert len(found) == 10
    assert len(store.judged()) == 11
    before = fingerprint(store.path)
    store.invite("bob")
    store.judge(store.next_assignment("bob", Plan(overlap=2)), Submission(0, skipped="unclear"))
    assert fingerprint(store.path) == before


def test_labelers_are_compared_with_what_is_known(store):
    label(store, "gold", lambda item: [1, 2, 3])
    label(store, "ann", lambda item: [1, 3, 2])
    found = tables(store)
    assert {row[""]: row["value"] for row in found["How far labelers agree"]}[
        "as the known answers"
    ].startswith("66.7")
    assert [row["labeler"] for row in found["Each labeler"]] == ["ann"]


def test_what_is_imported_tells_nothing_of_the_order_on_the_page(store):
    item = next(iter(store.items().values()))
    store.add(item, "ann", Submission(0, [1, 2, 3]))
    (row,) = tables(store)["Each labeler"]
    assert (row["judged"], row["prefers the earlier"], row["seconds"]) == ("1", "", "")


@pytest.fixture
def evaluated(tmp_path):
    """Two prompts, two answers to each by two policies."""
    rows = [
        {"policy": policy, "prompt": [{"role": "user", "content": f"q{place // 2}"}],
         "completion": f"{policy} {place}", "finished": True}
        for policy in ("sft", "base", "rl") for place in range(4)
    ]  # fmt: skip
    folder = tmp_path / "run" / "evaluate"
    folder.mkdir(parents=True)
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RunDir(tmp_path / "run")


def test_human_win_rates_over_sft(evaluated):
    store = Store(evaluated.root / "judgements.sqlite")
    items = items_of(evaluated, "evaluate", "pairs")
    assert [item.policies for item in items] == [["base", "sft"]] * 4 + [["rl", "sft"]] * 4
    store.ask(items)
    verdicts = {"rl 0": [1, 2], "rl 1": [1, 2], "rl 2": [1, 1], "rl 3": [2, 1]}
    label(store, "ann", lambda item: verdicts.get(item.completions[0], [2, 1]))
    found = win_rates(store.items(), store.judged())
    assert found["rl"].value == pytest.approx((1 + 0.25) / 2)
    assert (found["rl"].count, found["base"].value) == (2, 0.0)
    assert found["rl"].low < found["rl"].value < found["rl"].high
    assert rankings_of(store.path) == []  # held-out answers never train
    store.close()


def test_people_rate_two_policies_answers_too(evaluated):
    """On the page of kind full; what is told of answers that were made anew counts no more."""
    store = Store(evaluated.root / "judgements.sqlite")
    store.ask(items_of(evaluated, "evaluate", "full")[4:])
    for name, good in (("ann", 6), ("bob", 4)):
        person = Person(store, name, kind="full", plan=Plan(overlap=2, repeats=0))
        while (url := person.next()) is not None:
            shown = store.assignment(int(url.rpartition("/")[2]), name).shown
            rl = {"overall": good, "flags": []}
            sft = {"overall": 2, "flags": ["hallucination"] if name == "ann" else []}
            said = {0: rl, 1: sft}
            ranks = [1 + place for place in shown]
            answer = person.judge(url, ranks=ranks, ratings=[said[place] for place in shown])
            assert answer.json() == {"stored": True}
    found = read_human_evaluation(evaluated)
    assert (found.labelers, found.items, found.outdated) == (2, 4, 0)
    assert (found.win_rates["rl"].value, found.win_rates["rl"].count) == (1.0, 2)
    overall = {policy: rated["overall"].value for policy, rated in found.ratings.items()}
    assert overall == {"rl": 5.0, "sft": 2.0}
    assert found.ratings["sft"]["hallucination"].value == 0.5
    assert found.ratings["rl"]["hallucination"].value == 0.0
    assert found.agreement.agreement.value == 1.0
    assert len(tables(store)["What people say of the answers"]) == 24

    file = evaluated.root / "evaluate" / "samples.jsonl"
    file.write_text(file.read_text().replace("rl 0", "another"))
    found = read_human_evaluation(evaluated)
    assert (found.items, found.outdated, found.win_rates["rl"].count) == (3, 2, 2)
    assert tables(store)["Human win rates over SFT"][0]["prompts"] == 2
    store.close()


def test_an_evaluation_made_again_finds_what_people_said_of_it(run_tiny, tmp_path):
    """Answers are the same, so that ratings given in between are of them."""
    run_tiny("stages=[sft,evaluate]")
    run = RunDir(tmp_path / "run")
    store = Store(run.root / "judgements.sqlite")
    store.ask(items_of(run, "evaluate", "pairs"))
    label(store, "ann", lambda item: [1, 2])
    store.close()
    run_tiny(
        "stages=[sft,evaluate,report]",
        "evaluator=[win_rate,policy_statistics,people]",
        "force_from=evaluate",
    )
    metrics = json.loads((run.stage_dir("evaluate") / "metrics.json").read_text())
    assert metrics["base"]["people_win_rate"]["value"] == 1.0
    rows = read_jsonl(run.stage_dir("evaluate") / "rows" / "people.jsonl")
    assert {(row["policy"], row["labeler"]) for row in rows} == {("base", "ann")}
    report = (run.stage_dir("report") / "report.md").read_text("utf-8")
    assert f"1 labeler compared {len(rows)} blind pairs of answers" in report
    assert "| preferred to | base | sft |" in report
    assert "judged by nobody" not in report


def test_every_pair_of_a_prompt_is_an_item_of_its_own(run):
    pairs = items_of(run, "sample", "pairs")
    assert len(pairs) == 30
    assert {len(item.completions) for item in pairs} == {2}


def test_equal_completions_are_not_asked(evaluated):
    file = evaluated.root / "evaluate" / "samples.jsonl"
    file.write_text(file.read_text().replace("rl 0", "sft 0"))
    assert len(items_of(evaluated, "evaluate", "pairs")) == 7


def test_where_people_and_others_differ_comes_first():
    prompts = [[{"role": "user", "content": name}] for name in "xy"]

    def ranking(place, ranks, who):
        return Ranking(prompts[place], ["a", "b", "c"], ranks, [True] * 3, who)

    found = compare(
        [ranking(0, [1, 2, 3], "ann"), ranking(0, [1, 2, 3], "sim"),
         ranking(1, [1, 2, 3], "ann"), ranking(1, [3, 2, 2], "sim"), ranking(1, [1, 2, 3], "sam")],
        {"ann"},
    )  # fmt: skip
    assert [(one.ranking.prompt, one.same, one.pairs) for one in found] == [
        (prompts[1], 3, 5),
        (prompts[0], 3, 3),
    ]


REFUSED = {
    "no run": ([], "say one run's directory"),
    "a run that is not there": (["{run}x"], "label .*runx: no run there"),
    "a directory that is no run": (["{run}/sample", "--invite", "bob"], "no run there"),
    "no run to import into": (["{run}/sample", "--load=none.jsonl"], "no run there"),
    "an unknown flag": (["{run}", "--knd", "rank"], "did you mean '--kind'"),
    "a flag without value": (["{run}", "--kind"], "--kind VALUE"),
    "an unknown kind": (["{run}", "--kind=pair"], "did you mean 'pairs'"),
    "a port that is none": (["{run}", "--port", "http"], "must be a number"),
    "a port too high": (["{run}", "--port=70000"], "from 1 to 65535"),
    "an overlap below one": (["{run}", "--overlap=0.5"], "must be at least 1"),
    "all addresses": (["{run}", "--host=0.0.0.0"], "add --hostname NAME"),
    "an address without invitations": (
        ["{run}", "--host=0.0.0.0", "--hostname=rank.example.org"], "invite each labeler first",
    ),
    "nothing evaluated": (["{run}", "--of=evaluate", "--kind=pairs"], "let the stage evaluate"),
    "a name that is none": (["{run}", "--invite", "<b>"], "1 to 40 letters"),
    "a simulated name": (["{run}", "--name=simulated-warm"], "names of simulated labelers"),
    "nobody to revoke": (["{run}", "--revoke", "bob"], "nobody was asked anything yet"),
    "two things at once": (["{run}", "--results", "--invite=bob"], "one of them at a time"),
    "guidelines that are not there": (["{run}", "--guidelines=none.txt"], "cannot be read"),
    "nothing to import": (["{run}", "--load=none.jsonl"], "cannot be read"),
    "no stage label": (["{run}", "--disagreements"], "nobody was asked anything yet"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_in_the_command_are_one_line(run, name):
    words, said = REFUSED[name]
    with pytest.raises(UserError, match=said.replace("'", ".")) as error:
        label_run([word.format(run=run.root) for word in words], None)
    assert "\n" not in str(error.value)
    assert [file.name for file in run.root.iterdir()] == ["sample"]
    assert not (run.root / "sample" / "judgements.sqlite").exists()


def test_an_invitation_is_a_link_that_works(run, capsys):
    label_run([str(run.root), "--invite", "Bob", "--hostname=rank.example.org", "--https"], None)
    link = capsys.readouterr().out.split()[-1]
    assert link.startswith("https://rank.example.org/join/")
    store = Store(run.root / "judgements.sqlite")
    assert store.labeler(link.rpartition("/")[2]) == "Bob"
    store.close()


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("192.168.1.5", False), ("rank.example.org", False)],
)  # fmt: skip
def test_what_other_computers_reach(host, alone):
    assert is_loopback(host) is alone
