"""labeler=reward_model and labeler=imported."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.testing import tiny
from rlhfkit.types import Ranking
from rlhfkit_plugins.labelers import ImportedConfig, RewardModelLabelerConfig
from rlhfkit_plugins.labelers.imported import ImportedRankings
from rlhfkit_plugins.labelers.ranking import ranks_of
from rlhfkit_plugins.labelers.reward_model import RewardModelLabeler
from rlhfkit_plugins.rewards.classifier import load_classifier

PROMPTS = [[{"role": "user", "content": text}] for text in ("what is the best colour", "and you")]
COMPLETIONS = [["red", "it is blue", "red", "the best is green"], ["fine", "I like it"]]


@pytest.fixture
def gold(tmp_path):
    tiny.classifier(tmp_path / "gold")
    return str(tmp_path / "gold")


def test_ranks_follow_the_scores(make_context, gold):
    context = make_context("labeler=reward_model", f"labeler.path={gold}")
    reward = load_classifier(context, gold, 1)
    judged = context.build("labeler").rank(PROMPTS, COMPLETIONS)
    for prompt, texts, judgements in zip(PROMPTS, COMPLETIONS, judged, strict=True):
        (judgement,) = judgements
        assert judgement.labeler == f"reward-model:{gold}"
        scores = [round(score, 4) for score in reward([prompt] * len(texts), texts)]
        assert judgement.ranks == ranks_of(scores)
    assert len(set(judged[0][0].ranks)) == 3


def test_equal_completions_tie_whatever_the_rounding(make_context, gold, monkeypatch):
    """A model may score one text a little differently in another batch, so it is asked once."""
    labeler = make_context("labeler=reward_model", f"labeler.path={gold}").build("labeler")
    monkeypatch.setattr(labeler, "_reward", lambda prompts, texts: [-0.1 * i for i in range(5)])
    judged = labeler.rank(PROMPTS, COMPLETIONS)
    assert [judgement.ranks for (judgement,) in judged] == [[1, 2, 1, 3], [1, 2]]


def test_a_wide_margin_ties_everything(make_context, gold):
    options = ["labeler=reward_model", f"labeler.path={gold}", "labeler.tie_margin=1e6"]
    judged = make_context(*options).build("labeler").rank(PROMPTS, COMPLETIONS)
    assert [judgement.ranks for (judgement,) in judged] == [[1, 1, 1, 1], [1, 1]]


def test_a_negative_margin_is_refused():
    with pytest.raises(UserError, match=r"labeler\.tie_margin=-1"):
        RewardModelLabelerConfig(tie_margin=-1).check("labeler")


def test_it_is_what_the_config_builds(make_context, gold):
    context = make_context("labeler=reward_model", f"labeler.path={gold}")
    assert isinstance(context.build("labeler"), RewardModelLabeler)


def test_imported_rankings_cannot_judge(make_context):
    labeler = make_context("labeler=imported").build("labeler")
    with pytest.raises(UserError, match="imported rankings cannot judge new completions") as caught:
        labeler.rank(PROMPTS, COMPLETIONS)
    assert "\n" not in str(caught.value)


def test_imported_rankings_come_from_the_data(make_context, tmp_path):
    rows = tmp_path / "rankings.jsonl"
    rows.write_text('{"prompt": "Hi", "completions": ["a", "b", "c"], "ranks": [2, 1, 2]}\n')
    context = make_context("data=[files]", f"data.files.rankings={rows}", "labeler=imported")
    prompt = [{"role": "user", "content": "Hi"}]
    assert context.build("labeler").rankings() == [
        Ranking(prompt, ["a", "b", "c"], [2, 1, 2], [True] * 3, "data")
    ]


def test_missing_rankings_are_an_error(make_context, monkeypatch):
    monkeypatch.setattr("rlhfkit.data.sources.rankings", lambda context: [])
    with pytest.raises(UserError, match="no data source has rankings"):
        ImportedRankings(ImportedConfig(), make_context()).rankings()
