"""evaluator=ratings: a model rates answers alone, behind a server or in this process."""

from types import SimpleNamespace

import pytest
import torch

from rlhfkit.errors import NotRun, Stopped, UserError
from rlhfkit.labelling.ratings import read_judge_ratings
from rlhfkit.storage.answer_cache import ANSWERS, read_answers
from rlhfkit.storage.run_dir import RunDir, write_json, write_jsonl
from rlhfkit.testing import EvaluatorContract, tiny
from tests.plugins.labelers.test_model_judge import QUICK, says
from tests.plugins.rewards.test_server import serving

from .samples import samples

DRAWN = {
    "sft": samples("sft", ["bad", "I think so", "same"]),
    "rl": samples("rl", ["good", "it is so", "same"]),
}
OVERALL = {"bad": 2, "I think so": 4, "same": 5, "good": 7, "it is so": 3}
OWN = {
    "user": "{conversation} got <{answer}>",
    "lines": {"overall": "Overall", "opinion": "Opinion"},
}


def answer_of(asked):
    """The answer that a question is about."""
    return asked["messages"][0]["content"].partition("<")[2].rpartition(">")[0]


def rates(asked):
    """A judge that knows these answers."""
    answer = answer_of(asked)
    return says(f"Overall: {OVERALL[answer]}\nOpinion: {'yes' if 'think' in answer else 'no'}")


@pytest.fixture
def own(tmp_path):
    """The option that names a prompt."""
    write_json(tmp_path / "own.yaml", OWN)
    return f"evaluator.ratings.prompts=[{tmp_path / 'own.yaml'}]"


@pytest.fixture
def make_ratings(make_context, own):
    """`make_ratings(server, "labeler.max_unreadable=1")`"""

    def make(server, *options):
        chosen = ("evaluator=[ratings]", own, *QUICK, f"labeler.url={server.url}")
        return make_context(*chosen, *options).build_all("evaluator")["ratings"]

    return make


def test_means_flags_and_paired_differences(make_ratings, tmp_path):
    with serving(rates) as server:
        found = make_ratings(server).evaluate(DRAWN)
    assert sorted(answer_of(body) for body, _ in server.asked) == sorted(OVERALL)  # each once
    assert {body["max_tokens"] for body, _ in server.asked} == {128}  # two lines
    rl, sft = found.metrics["rl"], found.metrics["sft"]
    assert (rl["judge_overall"].value, rl["judge_overall"].count) == (5, 3)
    assert (sft["judge_overall"].value, sft["judge_opinion"].value) == (11 / 3, 1 / 3)
    above = rl["judge_overall_minus_sft"]
    assert (above.value, above.low, above.high, above.count) == (4 / 3, -1, 5, 3)
    assert rl["judge_opinion_minus_sft"].value == -1 / 3
    assert "judge_overall_minus_sft" not in sft
    assert "judge_violent" not in rl  # nobody asked about it
    assert len(found.rows) == 6
    assert found.rows[1] == {
        "policy": "sft",
        "prompt": DRAWN["sft"].prompts[1],
        "completion": "I think so",
        "labeler": "model-judge:tiny:own",
        "judge_overall": 4.0,
        "judge_opinion": 1.0,
    }
    # the report reads the same numbers from the rows
    folder = RunDir(tmp_path / "stored").begin("evaluate") / "rows"
    folder.mkdir()
    write_jsonl(folder / "ratings.jsonl", found.rows)
    stored = read_judge_ratings(RunDir(tmp_path / "stored"))
    assert stored.metrics("judge") == found.metrics
    assert (stored.judges, stored.answers) == (["model-judge:tiny:own"], 6)


def test_what_was_answered_is_not_asked_again_and_costs_are_told(
    make_ratings, make_context, capsys
):
    with serving(rates) as server:
        ratings = make_ratings(server, "labeler.input_price=2")
        first, again = ratings.evaluate(DRAWN), ratings.evaluate(DRAWN)
        assert make_ratings(server).evaluate(DRAWN).metrics == first.metrics
    assert len(server.asked) == 5
    assert again.metrics == first.metrics
    said = " ".join(capsys.readouterr().out.split())
    assert "tiny: 5 questions asked, 1 answer taken from the run; 450 + 25 tokens, $0.0009" in said
    assert "tiny: 0 questions asked, 6 answers taken from the run; 0 + 0 tokens, $0.0000" in said
    answers = dict(read_answers(make_context().run_dir.root / ANSWERS))
    assert len(answers) == 5


def test_a_judge_is_reminded_once_and_what_it_does_not_rate_is_left_out(make_ratings):
    """What cannot be read is not guessed: a tie of two answers has no counterpart here."""

    def rude(asked):
        if answer_of(asked) == "good":
            return says("Overall: 9\nOpinion: no")
        return says("Hm.") if len(asked["messages"]) == 1 else rates(asked)

    with serving(rude) as server:
        found = make_ratings(server).evaluate(DRAWN)
    assert len(server.asked) == 10
    reminded = [body["messages"][-1]["content"] for body, _ in server.asked][-1]
    assert reminded == (
        "Reply with these lines and with nothing else.\n"
        "Overall: a number from 1 to 7\nOpinion: yes or no"
    )
    assert found.notes == ["no rating and left out: 1 of 6 replies"]
    assert (found.metrics["rl"]["judge_overall"].value, len(found.rows)) == (4, 5)
    assert found.metrics["rl"]["judge_overall_minus_sft"].count == 2


def test_too_many_replies_that_are_no_rating_stop_the_stage(make_ratings):
    many = {
        name: samples(name, [f"{name} {place}" for place in range(10)]) for name in ("sft", "rl")
    }
    with serving(says("I would rather not.")) as server:
        with pytest.raises(Stopped, match=r"mend evaluator\.ratings\.prompts, or raise") as error:
            make_ratings(server).evaluate(many)
        assert str(error.value).startswith("labeler=model_judge: 20 of 20 answers of tiny have no")
        with pytest.raises(NotRun, match="none of 20 replies of model-judge:tiny is a rating"):
            make_ratings(server, "labeler.max_unreadable=1").evaluate(many)


@pytest.mark.parametrize("labeler", ["simulated", "imported", "people"])
def test_labelers_that_do_not_rate_are_refused_before_anything_runs(make_context, own, labeler):
    context = make_context("evaluator=[ratings]", own, f"labeler={labeler}")
    config = context.config.evaluator["ratings"]
    with pytest.raises(UserError, match=f"evaluator=ratings: labeler={labeler} ranks and does not"):
        context.factory("evaluator", config).check_run(config, context)


def test_a_prompt_that_is_not_there_is_found_before_anything_runs(make_context):
    context = make_context("evaluator=[ratings]", "evaluator.ratings.prompts=[ratings]", *QUICK)
    config = context.config.evaluator["ratings"]
    with pytest.raises(UserError, match="no prompt 'ratings'; did you mean 'rating'"):
        context.factory("evaluator", config).check_run(config, context)


class TestLocalJudge(EvaluatorContract):
    """A model in this process."""

    @pytest.fixture(autouse=True)
    def _chosen(self, make_context, own, tmp_path):
        tiny.language_model(tmp_path / "judge")
        self.context = make_context(
            "evaluator=[ratings]", own, "labeler=local_judge",
            f"labeler.path={tmp_path / 'judge'}", "loader=full",
        )  # fmt: skip

    def make(self):
        return self.context.build_all("evaluator")["ratings"]

    def test_each_line_is_the_likeliest_behind_those_above_it(self, monkeypatch):
        """A model that likes a 6 and, behind a 6 alone, an opinion; it reads texts as they are."""

        def liked(model, prompts, replies, *_):
            marks = ("Overall: 6", "Overall: 6\nOpinion: yes", "\nOpinion: no")
            return [torch.tensor([float(sum(mark == text for mark in marks))]) for text in replies]

        evaluator = self.make()
        text = SimpleNamespace(
            prompt_ids=lambda messages: [], completion_ids=lambda text, finished: text
        )
        vars(evaluator._rater).update(_text=text, _model=None)
        monkeypatch.setattr("rlhfkit_plugins.labelers.local_judge.teacher_forced_logprobs", liked)
        found = evaluator.evaluate(DRAWN)
        assert {(row["judge_overall"], row["judge_opinion"]) for row in found.rows} == {(6, 1)}
        assert found.rows[0]["labeler"].endswith("judge:own")
