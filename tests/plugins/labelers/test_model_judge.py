"""labeler=model_judge against a real server process with a model, and against servers that are
ill, rude, forgetful or wrong."""

import subprocess
import sys

import pytest

from rlhfkit.errors import Stopped, UserError
from rlhfkit.runner.runner import Runner
from rlhfkit.storage.answer_cache import ANSWERS, Answer, AnswerCache, read_answers
from rlhfkit.storage.run_dir import read_json, read_jsonl, write_json
from rlhfkit.testing import LabelerContract, tiny
from rlhfkit_plugins.labelers import ModelJudgeConfig
from tests.plugins.labelers import judge_server
from tests.plugins.rewards.test_server import serving

PROMPT = [{"role": "user", "content": "Name a fruit."}]
QUICK = [
    "labeler=model_judge", "labeler.model=tiny", "labeler.retry_delay=0.01", "labeler.timeout=5",
    "labeler.retries=2",
]  # fmt: skip


def says(content, prompt_tokens=90, completion_tokens=5):
    """An answer of the protocol."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return 200, {"choices": [{"message": {"content": content}}], "usage": usage}


def shown(asked):
    """The two answers of a question."""
    text = asked["messages"][1]["content"]
    return [text.split(f"[Answer {name}]\n")[1].split("\n[End")[0] for name in "AB"]


def longer(asked):
    """A judge that prefers the longer answer, and ties those of one length."""
    first, second = map(len, shown(asked))
    return says("[[C]]" if first == second else "[[A]]" if first > second else "[[B]]")


@pytest.fixture
def make_judge(make_context):
    """`make_judge(server, "labeler.flip_rate=0.1")`"""

    def make(server, *options):
        return make_context(*QUICK, f"labeler.url={server.url}", *options).build("labeler")

    return make


def ranks(judge, *texts):
    return [found.ranks for found in judge.rank([PROMPT], [list(texts)])[0]]


class TestContract(LabelerContract):
    @pytest.fixture(autouse=True)
    def _served(self, make_judge):
        with serving(longer) as self.server:
            self.make = lambda: make_judge(self.server)
            yield

    def make(self): ...


def test_both_orders_are_asked_and_wins_give_the_ranks(make_judge):
    with serving(longer) as server:
        found = make_judge(server).rank([PROMPT], [["a", "ccc", "bb", "dd"]])
    assert found[0][0].ranks == [3, 1, 2, 2]
    assert found[0][0].labeler == "model-judge:tiny:pairwise"
    orders = [tuple(shown(body)) for body, _ in server.asked]
    assert len(orders) == 12
    assert {order[::-1] for order in orders} == {*orders}
    body = server.asked[0][0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0.0, 64)


def test_who_always_says_the_first_ties_them_all(make_judge, capsys):
    with serving(says("[[A]]")) as server:
        assert ranks(make_judge(server), "a", "bb", "a") == [[1, 1, 1]]
    assert len(server.asked) == 2  # equal texts are one
    assert "both orders agree on 0% of pairs" in capsys.readouterr().out


def test_what_was_answered_is_not_asked_again(make_judge, make_context, capsys):
    with serving(longer) as server:
        assert ranks(make_judge(server), "a", "bb") == [[2, 1]]
        said = " ".join(capsys.readouterr().out.split())
        again = make_judge(server, "labeler.input_price=2", "labeler.output_price=10")
        assert ranks(again, "bb", "a") == [[1, 2]]
        assert len(server.asked) == 2
        ranks(again, "a", "ccc")
    assert "tiny: 2 questions asked, 0 answers taken from the run; 180 + 10 tokens;" in said
    said = " ".join(capsys.readouterr().out.split())
    assert "0 questions asked, 2 answers taken from the run; 0 + 0 tokens, $0.0000" in said
    assert "2 questions asked, 0 answers taken from the run; 180 + 10 tokens, $0.0005" in said
    answers = dict(read_answers(make_context().run_dir.root / ANSWERS)).values()
    assert sorted(answer.text for answer in answers) == ["[[A]]", "[[A]]", "[[B]]", "[[B]]"]


def test_a_pool_of_prompts_some_of_it_for_each_prompt(make_judge):
    prompts = [[{"role": "user", "content": f"question {number}"}] for number in range(40)]
    with serving(says("[[A]] [[1]] [[X]]")) as server:
        judge = make_judge(server, "labeler.prompts=[pairwise,instruction,truthful]")
        assert [len(pool) for pool in judge.rank(prompts[:2], [["a", "b"]] * 2)] == [3, 3]
        some = make_judge(
            server, "labeler.prompts=[pairwise,instruction]", "labeler.judges_per_prompt=1"
        )
        found = some.rank(prompts, [["a", "b"]] * 40)
    names = [pool[0].labeler.rpartition(":")[2] for pool in found]
    assert {len(pool) for pool in found} == {1}
    assert 10 < names.count("pairwise") < 30


def test_flips_turn_the_stated_share_round(make_judge):
    prompts = [[{"role": "user", "content": f"question {number}"}] for number in range(200)]
    with serving(longer) as server:
        judge = make_judge(server, "labeler.flip_rate=0.25", "labeler.requests_at_once=2")
        found = judge.rank(prompts, [["a", "bb"]] * 200)
        assert judge.rank(prompts, [["a", "bb"]] * 200) == found
    turned = sum(pool[0].ranks == [1, 2] for pool in found)
    assert 30 <= turned <= 70  # 50 expected, standard deviation 6


def test_a_judge_is_reminded_once_and_then_ties(make_judge):
    with serving(says("Hm."), says("[[B]]"), says(None)) as server:
        judge = make_judge(server, "labeler.requests_at_once=1")
        assert ranks(judge, "a", "bb") == [[1, 1]]  # B in one order, nothing in the other
        reminded = server.asked[1][0]["messages"]
    assert reminded[2:] == [
        {"role": "assistant", "content": "Hm."},
        {"role": "user", "content": "Reply with [[A]], [[B]] or [[C]] and with nothing else."},
    ]
    assert len(server.asked) == 4


def test_too_many_refusals_stop_the_stage_and_are_not_lost(make_judge, make_context):
    with serving(says("I cannot judge\nthis.")) as server:
        judge = make_judge(server)
        with pytest.raises(Stopped) as error:
            ranks(judge, *"abcdef")
        said = str(error.value)
        assert said.startswith("labeler=model_judge: 20 of 20 answers of tiny have no verdict")
        assert "\n" not in said
        assert len(server.asked) == 60  # 15 pairs, 2 orders, reminded
        lenient = make_judge(server, "labeler.max_unreadable=1")
        assert ranks(lenient, *"abcdef") == [[1] * 6]
        assert len(server.asked) == 60


@pytest.mark.parametrize("ill", [(429, "slow down"), (503, "loading"), "drop"])
def test_a_server_that_is_ill_for_a_while(make_judge, ill):
    with serving(ill, longer) as server:
        assert ranks(make_judge(server), "a", "bb") == [[2, 1]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, "wrong key"), "answered 401: wrong key; the key is read from labeler.api_key_varia"),
        ((429, "quota\nexceeded"), "answered 429: quota exceeded, asked 3 times; does a server"),
        ((404, "no model tiny"), "/v1/chat/completions answered 404: no model tiny"),
        ((200, "<html>"), "answered without choices[0].message.content: '<html>'"),
        ((200, {"choices": []}), "answered without choices[0].message.content"),
        ((200, {"choices": [{"message": "A"}]}), "answered without choices[0].message.content"),
        ((200, []), "answered without choices[0].message.content"),
        ("hang", "no answer: timed out, asked 3 times"),
    ],
    ids=str,
)
def test_a_failure_is_one_line(make_judge, answer, words):
    with serving(answer) as server, pytest.raises(Stopped) as error:
        ranks(make_judge(server, "labeler.timeout=0.2"), "a", "bb")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_after_a_failure_nothing_that_was_paid_for_is_lost(make_judge):
    with serving(longer, longer, longer, (400, "enough")) as server:
        with pytest.raises(Stopped, match="answered 400: enough"):
            ranks(make_judge(server, "labeler.requests_at_once=1"), "a", "bb", "ccc")
        asked = len(server.asked)
        server.answers[:] = [longer]
        assert ranks(make_judge(server), "a", "bb", "ccc") == [[3, 2, 1]]
    assert len(server.asked) == asked + 3  # of six questions


def test_half_a_line_costs_one_answer(tmp_path):
    cache = AnswerCache(tmp_path / "folder", 0)
    assert "a" not in cache
    cache.add("a", Answer("x\ny", 1, 2))
    cache.add("b", Answer("z"))
    file = tmp_path / "folder" / "answers-0.jsonl"
    file.write_text(file.read_text(encoding="utf-8")[:-5], encoding="utf-8")
    again = AnswerCache(tmp_path / "folder", 1)
    assert "b" not in again
    again.add("c", Answer("w"))
    AnswerCache(tmp_path / "folder", 0).add("d", Answer("v"))
    found = dict(read_answers(tmp_path / "folder"))
    assert found == {"a": Answer("x\ny", 1, 2), "d": Answer("v"), "c": Answer("w")}


def test_a_full_disk_stops_in_one_line(tmp_path):
    (tmp_path / "folder").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.raises(Stopped, match=r"folder.*cannot be written"):
        AnswerCache(tmp_path / "folder", 0).add("a", Answer("x"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flip_rate": 0.5}, "labeler.flip_rate=0.5"),
        ({"url": "localhost"}, "must begin with http"),
        ({"max_unreadable": 2}, "labeler.max_unreadable=2"),
        ({"requests_at_once": 0}, "labeler.requests_at_once=0"),
        ({"input_price": -1}, "labeler.input_price=-1"),
        ({"judges_per_prompt": 0}, "labeler.judges_per_prompt=0"),
    ],
    ids=str,
)
def test_wrong_options(options, words):
    with pytest.raises(UserError, match=words):
        ModelJudgeConfig(**options).check("labeler")


def test_a_key_that_is_not_there_is_found_before_anything_runs(make_context):
    context = make_context(*QUICK, "labeler.api_key_variable=NO_SUCH_KEY")
    factory = context.factory("labeler", context.config.labeler)
    with pytest.raises(UserError, match="api_key_variable=NO_SUCH_KEY: no such environment"):
        factory.check_run(context.config.labeler, context)


@pytest.fixture(scope="module")
def served_model(tmp_path_factory):
    """The address of a server process with a tiny model."""
    folder = tmp_path_factory.mktemp("judge")
    tiny.language_model(folder, max_position_embeddings=512, num_hidden_layers=4)
    answers = (*judge_server.VERDICTS, *judge_server.NUMBERS, *judge_server.WORDS)
    tiny.tokenizer(folder, chat=True, words=[*tiny.WORDS, *answers])
    command = [sys.executable, judge_server.__file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.kill()


def test_a_real_server_labels_and_judges_a_run(
    run_tiny, served_model, monkeypatch, tiny_overrides, make_raw, plugins, tmp_path
):
    monkeypatch.setenv("JUDGE_KEY", "secret")
    own = {"user": "{conversation} {first} or {second}"}
    own["verdicts"] = {"first": "[[A]]", "second": "[[B]]"}
    write_json(tmp_path / "own.yaml", own)
    lines = {"overall": "Overall", "opinion": "Opinion"}
    rating = {"user": "{conversation} {answer} Overall: a number Opinion: yes or no"}
    write_json(tmp_path / "rating.yaml", {**rating, "lines": lines})
    options = [
        *QUICK, f"labeler.url={served_model}/v1", "labeler.api_key_variable=JUDGE_KEY",
        "stage.sample.models=[base]", "loader=full",
        "stages=[sample,label,evaluate,report]", "stage.sample.num_prompts=4",
        "+stage.evaluate.opponents.other=base",
        f"labeler.prompts=[{tmp_path / 'own.yaml'}]",
        "evaluator=[win_rate,policy_statistics,ratings]",
        f"evaluator.ratings.prompts=[{tmp_path / 'rating.yaml'}]",
    ]  # fmt: skip
    runner = run_tiny(*options)
    root = runner.run_dir.root
    rows = read_jsonl(root / "label" / "rankings.jsonl")
    assert {row["labeler"] for row in rows} == {"model-judge:tiny:own"}
    assert len({tuple(row["ranks"]) for row in rows}) > 1
    metrics = read_json(root / "evaluate" / "metrics.json")
    assert metrics["other"]["win_rate"]["count"] == 6
    answers = dict(read_answers(root / ANSWERS))
    assert len(answers) > 20
    assert all(answer.prompt_tokens > 0 for answer in answers.values())
    rated = read_jsonl(root / "evaluate" / "rows" / "ratings.jsonl")
    assert len(rated) == 12
    assert {row["labeler"] for row in rated} == {"model-judge:tiny:rating"}
    assert len({row["judge_overall"] for row in rated}) > 1
    assert metrics["other"]["judge_overall_minus_sft"]["count"] == 6
    page = (root / "report.html").read_text(encoding="utf-8")
    assert f"{len(answers)} answers of model judges" in page
    assert "What model judges say of each answer" in page
    assert "## What model judges say" in (root / "report" / "report.md").read_text()
    # everything again: nobody is asked
    kept = [item for item in tiny_overrides if not item.startswith("loader.")]
    again = make_raw(*kept, *options, "force_from=label")
    monkeypatch.setattr("rlhfkit_plugins.json_server.JsonServer.post", None)
    Runner(again, plugins).run()
    assert read_jsonl(root / "label" / "rankings.jsonl") == rows
    # another prompt in the same file makes the rankings stale
    write_json(tmp_path / "own.yaml", own | {"system": "Be strict."})
    with pytest.raises(UserError, match=r"sha256 of .*own.yaml"):
        Runner(make_raw(*kept, *options), plugins).run()
